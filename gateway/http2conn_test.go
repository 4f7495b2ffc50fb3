package gateway

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestRapidReset: requests that are taken back at once do not add up (CVE-2023-44487), and cannot be had without end.
func TestRapidReset(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := d.second()
	for id := uint32(1); id < 6000; id += 2 {
		s.open(id, true, "GET")
		if err := s.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
	s.open(6001, true, "HEAD")
	if err := s.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	for {
		frame := s.frame()
		if _, ok := frame.(*http2.PingFrame); ok {
			break
		}
	}
	d.left(1, "requests that were taken back hold places")
}

// TestStreamsAreCounted: a stream above the limit may be tried again, and can be as soon as another has ended.
func TestStreamsAreCounted(t *testing.T) {
	end := make(chan struct{})
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { <-end })
	s := d.second()
	id := uint32(1)
	for ; id < 2*http2Streams; id += 2 {
		s.open(id, true, "GET")
	}
	s.open(id, true, "GET")
	if got := s.outcome(id); got != "reset REFUSED_STREAM" {
		t.Errorf("one more: %s", got)
	}
	close(end)
	if got := s.outcome(1); got != "200" {
		t.Fatalf("the first: %s", got)
	}
	s.open(id+2, true, "GET")
	if got := s.outcome(id + 2); got != "200" {
		t.Errorf("one after the first: %s", got)
	}
}

// TestHTTP2Drain: what is under way is answered, nothing else is served, and the connection ends.
func TestHTTP2Drain(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 2)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	})
	s, idle := d.second(), d.second()
	s.open(1, true, "GET")
	within(t, "arrival", arrived)
	drained := make(chan error, 1)
	go func() { drained <- d.gateway.Drain(t.Context()) }()
	for gone := false; !gone; {
		frame := s.frame()
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			gone = f.LastStreamID == 1 && f.ErrCode == http2.ErrCodeNo
		}
	}
	s.open(3, false, "POST") // before it knows; what follows is nobody's fault either
	_ = s.WriteData(3, false, []byte("abc"))
	_ = s.WriteWindowUpdate(3, 10)
	s.raw(http2.FrameHeaders, endHeaders|endStream, 3, s.encoded("x-end", "1"))
	_ = s.WriteRSTStream(3, http2.ErrCodeCancel)
	close(release)
	if got := s.outcome(1); got != "200" {
		t.Errorf("what was under way: %s", got)
	}
	if got := s.outcome(3); got != "closed" {
		t.Errorf("what came later: %s", got)
	}
	if got := idle.outcome(1); got != "closed" {
		t.Errorf("an idle one: %s", got)
	}
	if err := within(t, "Drain", drained); err != nil || len(arrived) > 0 {
		t.Errorf("%v, %d more requests", err, len(arrived))
	}
}

// TestGoAwayIsBehindTheAnswers: a consumer may take nothing more of a connection that is to end.
func TestGoAwayIsBehindTheAnswers(t *testing.T) {
	first, second, arrived := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.Header.Get("X-Second") == "" {
			<-first
		} else {
			<-second
		}
		_, _ = io.WriteString(w, "done")
	})
	s := d.second()
	s.open(1, true, "GET")
	s.open(3, true, "GET", "x-second", "1")
	within(t, "arrival", arrived)
	within(t, "arrival", arrived)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.gateway.Retire(t.Context())
	}()
	for begin := time.Now(); !d.gateway.traffic.isRetiring(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("it does not retire")
		}
	}
	close(first)
	answered := 0
	for gone := false; !gone; {
		frame := s.frame()
		switch h := frame.Header(); {
		case h.Type == http2.FrameGoAway:
			gone = true
			if last := frame.(*http2.GoAwayFrame).LastStreamID; answered < 2 || last != 3 {
				t.Errorf("it comes behind %d answers, and names %d", answered, last)
			}
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(endStream):
			if answered++; answered == 1 {
				close(second)
			}
		}
	}
	if got := s.outcome(5); got != "closed" {
		t.Errorf("then: %s", got)
	}
	within(t, "Retire", ended)
}

// TestHTTP2Silence: a connection on which nothing is under way ends after a time, and one with a request when its consumer does not answer.
func TestHTTP2Silence(t *testing.T) {
	for name, c := range map[string]struct {
		request, answers, drain bool
		answer, took            time.Duration
	}{
		"idle":                            {took: keepAlive},
		"a consumer is there":             {request: true, answers: true, took: 10 * time.Minute},
		"a consumer has left":             {request: true, took: keepAlive + pingTimeout},
		"one is there while it drains":    {request: true, answers: true, drain: true, took: 10 * time.Minute},
		"one has left while it drains":    {request: true, drain: true, took: keepAlive + pingTimeout},
		"nothing is asked for, it drains": {drain: true, took: time.Minute + lastWords},
		"idle after a long answer":        {request: true, answer: keepAlive - time.Second, took: 2*keepAlive - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, server, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-r.Context().Done():
					case <-time.After(cmp.Or(c.answer, 10*time.Minute)):
					}
				})
				conn := l.dial()
				framer := http2.NewFramer(conn, conn)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(conn, http2.ClientPreface)
					_ = framer.WriteSettings()
					if c.request {
						var block bytes.Buffer
						e := hpack.NewEncoder(&block)
						for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}} {
							_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
						}
						_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
					}
				}()
				began := time.Now()
				if c.drain {
					go func() {
						time.Sleep(time.Minute)
						_ = server.Shutdown(context.Background())
					}()
				}
				for {
					frame, err := framer.ReadFrame()
					if err != nil {
						break
					}
					if p, ok := frame.(*http2.PingFrame); ok && c.answers {
						<-sent
						_ = framer.WritePing(true, p.Data)
					}
					if frame.Header().Type == http2.FrameHeaders && c.answer == 0 {
						break
					}
				}
				if took := time.Since(began); took < c.took || took > c.took+2*time.Second {
					t.Errorf("it took %v", took)
				}
				_ = conn.Close()
				end()
				synctest.Wait()
			})
		})
	}
}

// TestWhoTakesBytesIsThere: a consumer that takes its answer slowly is not left because it cannot answer what is behind that.
func TestWhoTakesBytesIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 600 << 10
		l, _, end := serveHTTP1(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, size))
		})
		conn := l.dial()
		s := &second{Framer: http2.NewFramer(conn, nil), t: t}
		s.encoder = hpack.NewEncoder(&s.block)
		go func() {
			_, _ = io.WriteString(conn, http2.ClientPreface)
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			_ = s.WriteWindowUpdate(0, 1<<30)
			s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/"))
		}()
		for n := 0; n < size; {
			k, err := io.ReadFull(conn, make([]byte, 1<<10))
			if n += k; err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
			time.Sleep(time.Second / 2)
		}
		_ = conn.Close()
		end()
		synctest.Wait()
	})
}

// TestABodyIsWholeByItsLength: a stream that does not end holds nothing once its body has come.
func TestABodyIsWholeByItsLength(t *testing.T) {
	d := newDoor(t, Config{}, echo)
	s := d.second()
	s.open(1, false, "POST", "content-length", "4")
	s.raw(http2.FrameData, 0, 1, "body")
	if got := s.outcome(1); got != "200" {
		t.Fatal(got)
	}
	d.left(0, "a place is held")
	s.open(3, false, "POST", "content-length", "4")
	s.raw(http2.FrameData, 0, 3, "body")
	time.Sleep(endGrace / 20) // while the body has come
	s.raw(http2.FrameData, endStream, 3, "")
	s.open(5, false, "POST", "content-length", "0") // nobody reads it
	s.open(7, true, "GET")
	for answered := 0; answered < 3; {
		frame := s.frame()
		switch h := frame.Header(); {
		case h.Type == http2.FrameRSTStream && h.StreamID > 1:
			t.Errorf("stream %d was reset", h.StreamID)
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.StreamID > 1 && h.Flags.Has(endStream):
			answered++
		}
	}
}

// TestHTTP2Requests: crumbs of a cookie are one, a consumer that waits to be asked for a body is, and one that expects anything else is told.
func TestHTTP2Requests(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if string(text) == "break" {
			_, _ = io.WriteString(w, "begin")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Seen", fmt.Sprintf("%q %q", r.Header["Cookie"], text))
	})
	s := d.second()
	s.open(1, true, "GET", "cookie", "a=1", "x-a", "b", "cookie", "b=2", "cookie", "c=3")
	for seen := ""; seen == ""; {
		frame := s.frame()
		if f, ok := frame.(*http2.MetaHeadersFrame); ok {
			for _, field := range f.RegularFields() {
				if field.Name == "x-seen" {
					seen = field.Value
				}
			}
			if want := `["a=1; b=2; c=3"] ""`; seen != want {
				t.Errorf("the program saw %s, want %s", seen, want)
			}
		}
	}
	s.open(3, false, "POST", "expect", "100-continue")
	for asked := false; !asked; {
		frame := s.frame()
		if f, ok := frame.(*http2.MetaHeadersFrame); ok && f.StreamID == 3 {
			asked = f.PseudoValue("status") == "100"
		}
	}
	s.raw(http2.FrameData, endStream, 3, "body")
	if got := s.outcome(3); got != "200" {
		t.Errorf("one that waited: %s", got)
	}
	s.open(5, true, "POST", "expect", "more")
	if got := s.outcome(5); got != "417" {
		t.Errorf("one that expects more: %s", got)
	}
	s.open(7, false, "POST")
	s.raw(http2.FrameData, endStream, 7, "break")
	if got := s.outcome(7); got != "200 reset INTERNAL_ERROR" {
		t.Errorf("an answer that broke off: %s", got)
	}
}

// TestWhatWasOnItsWay to a stream that the gateway has reset ends nothing else (RFC 9113, 5.1).
func TestWhatWasOnItsWay(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: time.Millisecond}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
	})
	s := d.second()
	s.open(1, false, "POST", "trailer", "x-end")
	if got := s.outcome(1); got != "200 reset INTERNAL_ERROR" {
		t.Fatal(got)
	}
	_ = s.WriteData(1, false, []byte("more"))
	_ = s.WriteWindowUpdate(1, 10)
	s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded("x-end", "1"))
	s.open(3, true, "GET")
	if got := s.outcome(3); got != "200 reset INTERNAL_ERROR" {
		t.Errorf("the next one: %s", got)
	}
}
