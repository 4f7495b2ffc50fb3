package gateway

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestWindows: no more is sent than the consumer takes, of a stream, of all and after it has changed its mind; and it may send as much as was read.
func TestWindows(t *testing.T) {
	const size = 100_000
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.Copy(w, &pattern{left: size})
		_, _ = fmt.Fprint(w, n)
	})
	c := d.dial()
	c.send(http2.ClientPreface)
	s := &second{Framer: http2.NewFramer(c.Conn, c.r), t: t}
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.encoder = hpack.NewEncoder(&s.block)
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}); err != nil {
		t.Fatal(err)
	}
	data := func(want int) (ended bool) {
		t.Helper()
		for want > 0 {
			frame := s.frame()
			if f, ok := frame.(*http2.DataFrame); ok {
				if want -= len(f.Data()); want < 0 {
					t.Fatalf("%d bytes too many", -want)
				}
				ended = f.StreamEnded()
			}
		}
		return ended
	}
	quiet := func() {
		t.Helper()
		if err := s.WritePing(false, [8]byte{1}); err != nil {
			t.Fatal(err)
		}
		for {
			frame := s.frame()
			switch frame.(type) {
			case *http2.DataFrame:
				t.Fatal("more than the window")
			case *http2.PingFrame:
				return
			}
		}
	}
	s.open(1, true, "GET")
	data(10)
	quiet()
	_ = s.WriteWindowUpdate(1, 5)
	data(5)
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2}) // eight less: it is negative
	quiet()
	_ = s.WriteWindowUpdate(1, 9)
	data(1)
	quiet()
	_ = s.WriteWindowUpdate(1, 1<<20) // now the connection's holds it up
	data(65535 - 16)
	quiet()
	_ = s.WriteWindowUpdate(0, 1<<20)
	if !data(size + 1 - 65535) {
		if got := s.outcome(1); got != "" {
			t.Errorf("ended by %q", got)
		}
	}
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	room := map[uint32]int{0: http2ConnWindow, 3: http2Window, 5: 3 << 20}
	upload := func(id uint32) {
		t.Helper()
		for left := 3 << 20; left > 0; {
			n := min(left, room[0], room[id], http2Frame)
			if n == 0 {
				frame := s.frame()
				if f, ok := frame.(*http2.WindowUpdateFrame); ok {
					room[f.StreamID] += int(f.Increment)
				}
				continue
			}
			if err := s.WriteData(id, n == left, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			left -= n
			room[0] -= n
			room[id] -= n
		}
	}
	s.open(3, false, "POST")
	upload(3)
	if got := s.outcome(3); got != "200" {
		t.Errorf("the upload: %s", got)
	}
	s.raw(http2.FrameHeaders, endHeaders, 5, s.encoded(":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/run/unknown/"))
	if got := s.outcome(5); got != "404" {
		t.Errorf("an unknown API: %s", got)
	}
	upload(5) // was on its way, and is given back
	s.open(7, true, "GET")
	if got := s.outcome(7); got != "200" {
		t.Errorf("behind it: %s", got)
	}
}

// TestMoreThanTheWindow is an error where nobody reads.
func TestMoreThanTheWindow(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d.sandboxes.block = true
	s := d.second()
	s.open(1, false, "POST")
	for range http2Window/http2Frame + 1 {
		_ = s.WriteData(1, false, make([]byte, http2Frame)) // it may have ended before
	}
	if got := s.outcome(1); got != "reset FLOW_CONTROL_ERROR" {
		t.Error(got)
	}
}

// TestHTTP2RecordsFirst: the record is kept before the consumer can know that the answer is whole.
func TestHTTP2RecordsFirst(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.Header().Set("Content-Length", "0")
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/stream":
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
		default:
			_, _ = io.WriteString(w, "hello")
		}
	})
	s := d.second()
	id := uint32(1)
	for _, path := range []string{"/", "/empty", "/none", "/stream"} {
		for _, method := range []string{"GET", "HEAD"} {
			for range 20 {
				before := d.journal.len()
				s.raw(http2.FrameHeaders, endHeaders|endStream, id, s.encoded(":method", method, ":scheme", "http", ":authority", "h", ":path", "/run/public"+path))
				if got := s.outcome(id); !strings.HasPrefix(got, "20") {
					t.Fatalf("%s %s: %s", method, path, got)
				}
				if d.journal.len() != before+1 {
					t.Fatalf("%s %s: the answer is whole and has no record", method, path)
				}
				id += 2
			}
		}
	}
}

// TestHTTP2Trailers pass both ways, where they may.
func TestHTTP2Trailers(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = fmt.Fprintf(w, "%s %s", text, r.Trailer.Get("X-End"))
		w.Header().Set("X-Sum", "1")
	})
	s := d.second()
	s.open(1, false, "POST", "trailer", "x-end")
	s.raw(http2.FrameData, 0, 1, "body")
	s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded("x-end", "yes", "x-other", "no"))
	text, sum := "", ""
	for sum == "" {
		frame := s.frame()
		switch f := frame.(type) {
		case *http2.DataFrame:
			text += string(f.Data())
		case *http2.MetaHeadersFrame:
			for _, field := range f.RegularFields() {
				if field.Name == "x-sum" {
					sum = field.Value
				}
			}
			if sum != "" && !f.StreamEnded() {
				t.Error("a trailer before the end")
			}
		}
	}
	if text != "body yes" || sum != "1" {
		t.Errorf("%q, %q", text, sum)
	}
}

// TestNobodyIsHeldUpByAWindow: a consumer that takes nothing of an answer holds no place and no sandbox with one that is small.
func TestNobodyIsHeldUpByAWindow(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: time.Millisecond}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "no HTTP\r\n\r\n")
	})
	s := d.second()
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	for id := uint32(1); id < 20; id += 2 {
		s.open(id, true, "GET")
	}
	for range 10 {
		if u := d.record(); u.Status != 502 {
			t.Errorf("record %+v", u)
		}
	}
	d.left(0, "places are held")
	_ = s.WriteWindowUpdate(1, 1<<16)
	if got := s.outcome(1); got != "502" {
		t.Error(got)
	}
}

// TestOneWindowForAll: streams that wait for the connection's window get it one after the other, also when one of them ends meanwhile.
func TestOneWindowForAll(t *testing.T) {
	const size = 100_000
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, &pattern{left: size}) })
	s := d.second()
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	left, first := map[uint32]int{}, map[uint32]int{}
	for id := uint32(1); id < 13; id += 2 {
		s.open(id, true, "GET")
		left[id] = size
	}
	seen, all, begun := 0, false, 0
	for len(left) > 0 {
		frame := s.frame()
		if _, ok := frame.(*http2.MetaHeadersFrame); ok {
			if begun++; begun == len(left) {
				_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			}
		}
		f, ok := frame.(*http2.DataFrame)
		if !ok {
			continue
		}
		seen += len(f.Data())
		if left[f.StreamID] -= len(f.Data()); f.StreamEnded() {
			if left[f.StreamID] != 0 {
				t.Errorf("stream %d lacks %d bytes", f.StreamID, left[f.StreamID])
			}
			delete(left, f.StreamID)
		}
		if seen == 65535 { // all wait
			first = maps.Clone(left)
			time.Sleep(10 * time.Millisecond)
			_ = s.WriteRSTStream(3, http2.ErrCodeCancel)
			delete(left, 3)
		}
		switch {
		case len(f.Data()) == 0 || seen < 65535 || seen > 200_000 && all:
		case seen > 200_000:
			all = true
			for id, n := range left {
				if got := first[id] - n; got == 0 {
					t.Errorf("stream %d got %d bytes while all together got %d", id, got, seen-65535)
				}
			}
			_ = s.WriteWindowUpdate(0, 1<<24) // once for all that wait
		default:
			_ = s.WriteWindowUpdate(0, uint32(min(len(f.Data())+7, 9000))) //nolint:gosec // a frame's
		}
	}
}

// TestNobodyIsHeldUpByWhatWaits: where much waits for a consumer that takes nothing, a small answer holds its request up no more than a large one's
// end would, and when all is read the connection holds little.
func TestNobodyIsHeldUpByWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var large, small atomic.Int32
		l, server, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/small" {
				w.WriteHeader(http.StatusForbidden)
				small.Add(1)
				return
			}
			_, _ = w.Write(make([]byte, 4*http2Pending)) // more than waits and is being sent together
			large.Add(1)
		})
		conn := l.dial()
		s := &second{Framer: http2.NewFramer(conn, conn), t: t}
		s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.encoder = hpack.NewEncoder(&s.block)
		_, _ = io.WriteString(conn, http2.ClientPreface)
		for range 2 { // what greets
			if _, err := s.ReadFrame(); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		_ = s.WriteWindowUpdate(0, 1<<24)
		const requests = 8
		for i := range uint32(requests + 1) {
			path := "/"
			if i == requests {
				path = "/small"
			}
			s.raw(http2.FrameHeaders, endHeaders|endStream, 2*i+1, s.encoded(":method", "GET", ":scheme", "http", ":authority", "h", ":path", path))
		}
		synctest.Wait()
		if small.Load() != 1 || large.Load() != 0 {
			t.Errorf("%d small and %d large answers are over", small.Load(), large.Load())
		}
		for ended := 0; ended <= requests; {
			frame := s.frame()
			if h := frame.Header(); (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(endStream) {
				ended++
			}
		}
		synctest.Wait()
		server.mu.Lock()
		for c := range server.conns {
			h := c.second.Load()
			h.mu.Lock()
			if n := cap(h.out) + cap(h.sent); n > together {
				t.Errorf("an idle connection holds %d bytes", n)
			}
			h.mu.Unlock()
		}
		server.mu.Unlock()
		_ = conn.Close()
		end()
		synctest.Wait()
	})
}

// TestOthersMayHoldTheWindow: what is read of one body is given back although others hold nearly all of the window.
func TestOthersMayHoldTheWindow(t *testing.T) {
	const size = 600_000
	for name, c := range map[string]struct{ first, held int }{ // what is read before, and what the others hold
		"nearly all":                   {0, 3*http2Window + 1},
		"all but a little":             {0, 4*http2Window - 10},
		"all but what was read before": {200_000, http2ConnWindow - 200_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var read atomic.Int64
				l, _, end := serveHTTP1(func(_ http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/stuck" {
						<-r.Context().Done()
						return
					}
					n, _ := io.Copy(io.Discard, r.Body)
					read.Store(n)
				})
				conn := l.dial()
				s := &second{Framer: http2.NewFramer(conn, conn), t: t}
				s.encoder = hpack.NewEncoder(&s.block)
				var mu sync.Mutex
				room := map[uint32]int{0: 65535}
				go func() {
					for {
						frame, err := s.ReadFrame()
						if err != nil {
							return
						}
						if f, ok := frame.(*http2.WindowUpdateFrame); ok {
							mu.Lock()
							room[f.StreamID] += int(f.Increment)
							mu.Unlock()
						}
					}
				}()
				_, _ = io.WriteString(conn, http2.ClientPreface)
				_ = s.WriteSettings()
				open := func(id uint32, path string) {
					s.raw(http2.FrameHeaders, endHeaders, id, s.encoded(":method", "POST", ":scheme", "http", ":authority", "h", ":path", path))
					mu.Lock()
					room[id] = http2Window
					mu.Unlock()
				}
				send := func(id uint32, n int) {
					for n > 0 {
						synctest.Wait()
						mu.Lock()
						now := min(n, http2Frame, room[0], room[id])
						room[0], room[id] = room[0]-now, room[id]-now
						mu.Unlock()
						if now == 0 {
							t.Fatalf("with %d bytes left there is no window", n)
						}
						_ = s.WriteData(id, false, make([]byte, now))
						n -= now
					}
				}
				open(1, "/")
				send(1, c.first)
				id := uint32(3)
				for left := c.held; left > 0; left -= min(left, http2Window) {
					open(id, "/stuck")
					send(id, min(left, http2Window))
					id += 2
				}
				send(1, size-c.first)
				_ = s.WriteData(1, true, nil)
				synctest.Wait()
				if read.Load() != size {
					t.Errorf("%d bytes were read", read.Load())
				}
				_ = conn.Close()
				end()
				synctest.Wait()
			})
		})
	}
}

// TestASlowConsumerIsNotLeft: who takes something all the time is not left, though no write ends, and who takes nothing is.
func TestASlowConsumerIsNotLeft(t *testing.T) {
	for name, outlives := range map[string]bool{"a connection that outlives timeouts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				g := &Gateway{config: Config{}.withDefaults()}
				c := newHTTP2Conn(&http1{server: newConsumerServer(g, nil), conn: newConsumerConn(ours, g), ctx: t.Context(), r: bufio.NewReader(ours)})
				if outlives {
					c.watch = nil
				}
				began := time.Now()
				const takes = 10 * time.Minute
				c.acknowledged = func() (int64, bool) { return int64(min(time.Since(began), takes)/time.Second) * 600, true }
				err := c.write([]byte("which nobody reads"))
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took < takes || took > takes+2*takeTime {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// TestWhatAConsumerHasTaken: it is known of a socket, inside of TLS as well, although nothing is read of it.
func TestWhatAConsumerHasTaken(t *testing.T) {
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ours, theirs := connected(t, socketListener{l})
		outside := ours
		if secure {
			outside = tls.Server(ours, &tls.Config{})
		}
		c := newConsumerConn(outside, &Gateway{config: Config{}.withDefaults()})
		taken := func() int64 {
			n, ok := c.acknowledged()
			if !ok {
				t.Fatal("it is not known")
			}
			return n
		}
		if n := taken(); n > 1 { // which the handshake counts as
			t.Fatalf("%d bytes before any was sent", n)
		}
		much := make([]byte, 64<<20)
		size := 0
		for size == 0 { // this goroutine may be late
			_ = ours.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			if size, err = ours.Write(much); err == nil {
				t.Fatal("nothing holds it up")
			}
		}
		if n := taken(); n >= int64(size) {
			t.Fatalf("%d bytes of %d, of which none was read", n, size)
		}
		if _, err := io.CopyN(io.Discard, theirs, int64(size)); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); taken() < int64(size); time.Sleep(time.Millisecond) { // nothing tells of it
			if time.Since(begin) > patience {
				t.Fatalf("%d bytes of %d that were read", taken(), size)
			}
		}
		_ = ours.Close()
		if n, ok := c.acknowledged(); ok {
			t.Errorf("%d bytes of a connection that is closed", n)
		}
	}
}
