package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// frameSwitch agrees to an upgrade, sends what it is given, and waits for the consumer's end.
func frameSwitch(text string, end bool) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(conn, switching+text)
		if !end {
			_, _ = io.Copy(io.Discard, r)
		}
	}
}

func TestCutWebSocketsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		sent   string
		retire bool
		want   string
	}{
		"between frames": {"\x81\x02hi", false, "\x81\x02hi\x88\x0a\x03\xe9draining"},
		"another server": {"\x81\x02hi", true, "\x81\x02hi\x88\x0a\x03\xf4draining"},
		"within a frame": {"\x81\x05hi", false, "\x81\x05hi"},
		"after a close":  {"\x88\x02\x03\xe8", false, "\x88\x02\x03\xe8"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newRawDoor(t, Config{ExitWait: time.Minute}, frameSwitch(c.sent, false))
			w := d.upgrade("")
			w.head("GET")
			got := make([]byte, len(c.sent))
			if _, err := io.ReadFull(w.r, got); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			if c.retire {
				d.gateway.Retire(ctx)
			}
			rest := make(chan []byte, 1)
			go func() {
				b, _ := io.ReadAll(w.r)
				_ = w.Close()
				rest <- b
			}()
			_ = d.gateway.Drain(ctx)
			if got := string(got) + string(<-rest); got != c.want {
				t.Errorf("the consumer read %q, want %q", got, c.want)
			}
		})
	}
}

// A WebSocket that is cut before the consumer knows that it is one gets no frame in place of the answer's head.
func TestNoFrameBeforeTheAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	read := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(theirs)
		read <- string(all)
	}()
	f := &farewell{conn: ours}
	f.say(closeGoingAway, wordDraining)
	if f.closed() {
		t.Error("it was closed before it began")
	}
	if err := f.begin(func() error { _, err := io.WriteString(ours, "head "); return err }); err != nil {
		t.Fatal(err)
	}
	f.say(closeGoingAway, "now")
	_ = ours.Close()
	if got, want := <-read, "head \x88\x05\x03\xe9now"; got != want || !f.closed() {
		t.Errorf("the consumer read %q, want %q", got, want)
	}
}

// A program that ends without a word leaves its consumers with the gateway's.
func TestWebSocketOfAProgramThatEnds(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: 10 * time.Millisecond}, frameSwitch("\x81\x02hi", true))
	w := d.upgrade("")
	w.head("GET")
	got, err := io.ReadAll(w.r)
	if want := "\x81\x02hi\x88\x23\x03\xf3the program closed the connection"; err != nil || string(got) != want {
		t.Errorf("the consumer read %q, %v, want %q", got, err, want)
	}
}

// One that ends with its sandbox is in the record with the reason, also where there is no place for the consumer to be told.
func TestWebSocketOfASandboxThatEnds(t *testing.T) {
	for sent, want := range map[string]string{
		"\x81\x02hi": "\x81\x02hi\x88\x0f\x03\xf3out_of_memory",
		"\x81\x05hi": "\x81\x05hi",
	} {
		d := newRawDoor(t, Config{}, frameSwitch(sent, true))
		d.sandboxes.exit = &sandbox.Exit{Reason: sandbox.OutOfMemory}
		w := d.upgrade("")
		w.head("GET")
		if got, err := io.ReadAll(w.r); err != nil || string(got) != want {
			t.Errorf("the consumer read %q, %v, want %q", got, err, want)
		}
		_ = w.Close()
		if u := d.record(); u.Status != 101 || u.Error != string(sandbox.OutOfMemory) {
			t.Errorf("record %+v", u)
		}
	}
}

// A WebSocket that the program has closed in order ends at once: nobody has to find out how the sandbox did.
func TestAClosedWebSocketEndsAtOnce(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: time.Minute}, frameSwitch("\x88\x02\x03\xe8", true))
	w := d.upgrade("")
	w.head("GET")
	if got, err := io.ReadAll(w.r); err != nil || string(got) != "\x88\x02\x03\xe8" {
		t.Errorf("the consumer read %q, %v", got, err)
	}
	_ = w.Close()
	if u := d.record(); u.Status != 101 || u.Error != "" || u.BytesOut != 4 {
		t.Errorf("record %+v", u)
	}
	d.sandboxes.mu.Lock()
	defer d.sandboxes.mu.Unlock()
	if d.sandboxes.asked != 0 {
		t.Error("the sandbox's end was waited for")
	}
}

// One that the gateway ends gives its place back at once, whether there is a place for a close frame or not.
func TestAWebSocketThatIsCutEndsAtOnce(t *testing.T) {
	for sent, want := range map[string]string{"\x81\x02hi": "\x81\x02hi\x88\x0e\x03\xe9idle_timeout", "\x81\x05hi": "\x81\x05hi"} {
		d := newRawDoor(t, Config{ExitWait: time.Minute, Timeouts: Timeouts{Stream: 50 * time.Millisecond}}, frameSwitch(sent, false))
		w := d.upgrade("")
		w.head("GET")
		if got, err := io.ReadAll(w.r); err != nil || string(got) != want {
			t.Errorf("the consumer read %q, %v, want %q", got, err, want)
		}
		if u := d.record(); u.Error != wordIdleTimeout {
			t.Errorf("record %+v", u)
		}
		d.sandboxes.mu.Lock()
		if d.sandboxes.asked != 0 {
			t.Error("the sandbox's end was waited for")
		}
		d.sandboxes.mu.Unlock()
	}
}

// What a program says is passed on to its end, also when the program reads no more while the consumer still sends.
func TestLastWordsOfAProgramThatReadsNoMore(t *testing.T) {
	sent := make(chan struct{})
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_ = conn.(*net.UnixConn).CloseRead()
		_, _ = io.WriteString(conn, switching)
		<-sent
		_, _ = io.WriteString(conn, "\x88\x02\x03\xe8")
	})
	w := d.upgrade("")
	w.head("GET")
	_, err := w.Write(make([]byte, 16<<20)) // more than fits anywhere: somebody has read it
	close(sent)
	if got, _ := io.ReadAll(w.r); err != nil || string(got) != "\x88\x02\x03\xe8" {
		t.Errorf("wrote %v, the consumer read %q", err, got)
	}
	_ = w.Close()
	if u := d.record(); u.Status != 101 || u.BytesIn != 0 || u.BytesOut != 4 {
		t.Errorf("record %+v", u)
	}
}

// FuzzFrames cuts a stream of frames in pieces: where they end does not depend on that.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x02hi\x88\x0a\x03\xe9draining"), uint8(3))
	f.Add(append([]byte("\x82\x7e\x01\x00"), make([]byte, 256)...), uint8(1))
	f.Add([]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff1234"), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		var whole, pieces frames
		whole.pass(stream)
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), int(piece%16)+1)
			pieces.pass(rest[:n])
			rest = rest[n:]
		}
		if whole != pieces {
			t.Errorf("%+v in one piece, %+v in pieces", whole, pieces)
		}
		if between, closed := parseFrames(stream); between != whole.between() || closed != whole.closed {
			t.Errorf("between %v, closed %v; want %v, %v", whole.between(), whole.closed, between, closed)
		}
	})
}

// parseFrames is the same from the text of RFC 6455, with all bytes at hand.
func parseFrames(s []byte) (between, closed bool) {
	for len(s) >= 2 {
		head, size := 2, uint64(s[1]&0x7f)
		switch size {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		if len(s) < head {
			return false, closed
		}
		if head > 2 {
			size = 0
			for _, b := range s[2:head] {
				size = size<<8 | uint64(b)
			}
		}
		closed = closed || s[0]&0x0f == 8
		if s[1]&0x80 != 0 {
			size = min(size, 1<<63) + 4
		}
		s = s[head:]
		if uint64(len(s)) < size {
			return false, closed
		}
		s = s[size:]
	}
	return bytes.Equal(s, nil), closed
}
