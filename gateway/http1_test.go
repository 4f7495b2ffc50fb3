package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// pipeListener accepts one end of each pipe.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// serveHTTP1 serves a handler on pipes, until end is called.
func serveHTTP1(handler http.HandlerFunc) (l *pipeListener, s *consumerServer, end func()) {
	g := &Gateway{config: Config{}.withDefaults()}
	g.log = g.config.Log
	l = newPipeListener()
	s = newConsumerServer(g, handler)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(consumerListener{l, g})
	}()
	return l, s, func() {
		_ = l.Close()
		<-done
		s.Close()
	}
}

// talk sends text and returns all that comes until the connection ends.
func talk(t *testing.T, l *pipeListener, text string) string {
	t.Helper()
	c := l.dial()
	defer c.Close()
	go func() { _, _ = io.WriteString(c, text) }()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	return string(got)
}

// failingListener has errors between what it accepts, for which nil stands.
type failingListener struct {
	net.Listener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	if err == nil {
		return l.Listener.Accept()
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

// A moment without memory, or what one consumer's connection has met, ends no server; its operator is told, and not for each.
func TestErrorsOfAcceptingPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.WarnLevel)
		g := &Gateway{config: Config{}.withDefaults(), log: zap.New(core)}
		l := newPipeListener()
		failing := &failingListener{l, []error{
			syscall.EMFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EPERM, syscall.EPROTO, syscall.EHOSTUNREACH, nil, syscall.EINVAL,
		}}
		s := newConsumerServer(g, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		done := make(chan error, 1)
		go func() { done <- s.Serve(consumerListener{failing, g}) }()
		if got := talk(t, l, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
			t.Errorf("after them: %q", got)
		}
		if n := logged.Len(); n != 1 {
			t.Errorf("%d log lines", n)
		}
		if err := <-done; !errors.Is(err, syscall.EINVAL) {
			t.Errorf("an error that does not pass: %v", err)
		}
		s.Close()
	})
}

func TestFramingOfAnswers(t *testing.T) {
	l, _, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = []string{"now"}
		switch r.URL.Path {
		case "/sized":
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ok")
		case "/chunked":
			_, _ = io.WriteString(w, "one")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, strings.Repeat("2", 5000))
		case "/none":
		case "/204":
			w.WriteHeader(204)
		case "/split":
			w.Header().Set("X-A", "1\r\nX-B: 2")
		case "/early":
			w.Header().Set("X-Hint", "1")
			w.WriteHeader(103)
			w.Header().Del("X-Hint")
			w.Header().Set("Content-Length", "0")
		case "/less":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "less")
		case "/more":
			w.Header().Set("Content-Length", "2")
			_, err := io.WriteString(w, "more")
			_, _ = io.WriteString(w, "ok")
			if err != http.ErrContentLength { //nolint:errorlint // returned as it is
				t.Errorf("more than declared: %v", err)
			}
		}
	})
	defer end()
	const date = "Date: now\r\n"
	for request, want := range map[string]string{
		"GET /sized HTTP/1.1":   "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\nok",
		"GET /sized HTTP/1.0":   "HTTP/1.0 200 OK\r\n" + date + "Content-Length: 2\r\n\r\nok",
		"HEAD /sized HTTP/1.1":  "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\n",
		"GET /chunked HTTP/1.1": "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n1388\r\n" + strings.Repeat("2", 5000) + "\r\n0\r\n\r\n",
		"GET /chunked HTTP/1.0": "HTTP/1.0 200 OK\r\n" + date + "\r\none" + strings.Repeat("2", 5000),
		"HEAD /none HTTP/1.1":   "HTTP/1.1 200 OK\r\n" + date + "\r\n",
		"GET /none HTTP/1.1":    "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n",
		"GET /204 HTTP/1.1":     "HTTP/1.1 204 No Content\r\n" + date + "\r\n",
		"GET /split HTTP/1.1":   "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n",
		"GET /early HTTP/1.1":   "HTTP/1.1 103 Early Hints\r\n" + date + "X-Hint: 1\r\n\r\nHTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n",
		"GET /more HTTP/1.1":    "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\nok",
	} {
		got := talk(t, l, request+"\r\nHost: h\r\nConnection: close\r\n\r\n")
		if sorted(got) != sorted(strings.ReplaceAll(want, "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n")) &&
			sorted(got) != sorted(strings.ReplaceAll(want, "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n")) &&
			sorted(got) != sorted(want) {
			t.Errorf("%s:\n got %q\nwant %q", request, got, want)
		}
	}
	if got := talk(t, l, "GET /less HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.HasSuffix(got, "less") {
		t.Errorf("a body that is too short: %q", got)
	}
	if got := talk(t, l, "GET /204 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /204 HTTP/1.0\r\n\r\n"); strings.Count(got, "HTTP/1.0 204") != 2 ||
		strings.Count(got, "keep-alive") != 1 {
		t.Errorf("keep-alive of HTTP/1.0: %q", got)
	}
}

// sorted takes the order of fields, which means nothing, out of a text.
func sorted(text string) string {
	lines := strings.SplitAfter(text, "\r\n")
	for i := range lines {
		for j := i + 1; j < len(lines); j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "")
}

func TestRequestsFollowEachOther(t *testing.T) {
	l, _, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/read":
			text, _ := io.ReadAll(r.Body)
			_, _ = w.Write(text)
			for name := range r.Trailer {
				_, _ = io.WriteString(w, "+"+name)
			}
		default: // does not read its body
			w.Header().Set("Content-Length", "1")
			_, _ = io.WriteString(w, ".")
		}
	})
	defer end()
	for name, c := range map[string]struct {
		text    string
		answers int
		within  string
	}{
		"pipelined": {"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 2, "."},
		"a small body that nobody reads": {
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 2, ".",
		},
		"an unannounced trailer": {
			"POST /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n", 1, "+X-Late",
		},
		"HTTP/2 in the middle":             {"GET / HTTP/1.1\r\nHost: h\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 2, "bad_request"},
		"the line of HTTP/2 in the middle": {"GET / HTTP/1.1\r\nHost: h\r\n\r\nPRI * HTTP/2.0\r\n", 2, "bad_request"},
		"the line of HTTP/2 alone":         {"PRI * HTTP/2.0\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 1, "bad_request"},
		"no HTTP":                          {"\x16\x03\x01\r\n\r\n", 1, "bad_request"},
		"an impossible host":               {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 1, "bad_request"},
		"a wrong expectation":              {"POST /read HTTP/1.1\r\nHost: h\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 1, "expectation_failed"},
		"behind a refused WebSocket": {
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 1, ".",
		},
	} {
		got := talk(t, l, c.text)
		if strings.Count(got, "HTTP/1.1 ") != c.answers || !strings.Contains(got, c.within) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestALeavingConsumerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan time.Duration, 1)
		l, _, end := serveHTTP1(func(_ http.ResponseWriter, r *http.Request) {
			begin := time.Now()
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			cancelled <- time.Since(begin)
		})
		defer end()
		for _, request := range []string{
			"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhi",
		} {
			c := l.dial()
			_, _ = io.WriteString(c, request)
			time.Sleep(time.Second)
			_ = c.Close()
			if took := <-cancelled; took < time.Second || took > 2*time.Second {
				t.Errorf("%q cancelled after %v", request, took)
			}
		}
	})
}

func TestShutdownEndsIdleConnectionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		l, s, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-goOn
			}
			_, _ = io.WriteString(w, "ok")
		})
		defer end()
		idle, busy := l.dial(), l.dial()
		_, _ = io.WriteString(busy, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		_ = l.Close()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(t.Context()) }()
		if _, err := idle.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // of a pipe
			t.Errorf("the idle one: %v", err)
		}
		synctest.Wait()
		select {
		case <-ended:
			t.Error("it did not wait")
		default:
		}
		close(goOn)
		if text, err := io.ReadAll(busy); err != nil || !bytes.Contains(text, []byte("ok")) {
			t.Errorf("the busy one: %q, %v", text, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = s.Shutdown(ctx)
	})
}

// Whatever comes, a connection ends, and what the handler sees was watched by the guard.
func FuzzHTTP1(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n",
		"HEAD * HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\nx",
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, reads bool) {
		g := &Gateway{config: Config{}.withDefaults()}
		g.log = g.config.Log
		s := newConsumerServer(g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor > 2 || !possibleHost(r.Host) {
				t.Errorf("the handler sees %+v", r)
			}
			if reads {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(w, "ok")
		}))
		conn := &scriptConn{text: text}
		newHTTP1(s, newConsumerConn(conn, g)).serve()
		if !conn.closed {
			t.Error("the connection is open still")
		}
	})
}

// scriptConn is a connection on which a text comes in pieces, and then the end.
type scriptConn struct {
	text   []byte
	closed bool
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if len(c.text) == 0 || c.closed {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], c.text)
	c.text = c.text[n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }
func (c *scriptConn) Close() error {
	c.closed = true
	return nil
}

// TestWhatComesWhileARequestIsUnderWay is the next request's beginning, although nobody holds a buffer for it then.
func TestWhatComesWhileARequestIsUnderWay(t *testing.T) {
	for name, first := range map[string]int{"a byte": 1, "half of it": 20, "all of it": 1 << 10} {
		t.Run(name, func(t *testing.T) {
			goOn, inside := make(chan struct{}), make(chan struct{}, 2)
			d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				inside <- struct{}{}
				<-goOn
				_, _ = io.WriteString(w, r.URL.Path)
			})
			conn := d.dial()
			conn.send("GET /run/public/one HTTP/1.1\r\nHost: h\r\n\r\n")
			within(t, "the first request", inside)
			time.Sleep(2 * lookAfter) // no event tells that somebody looks; when nobody does yet, the test says less
			next := "GET /run/public/two HTTP/1.1\r\nHost: h\r\n\r\n"
			first = min(first, len(next))
			conn.send("%s", next[:first])
			time.Sleep(lookAfter)
			close(goOn)
			if got := conn.answer("GET"); got.text != "/one" {
				t.Errorf("status %d: %q", got.StatusCode, got.text)
			}
			conn.send("%s", next[first:])
			if got := conn.answer("GET"); got.text != "/two" {
				t.Errorf("status %d: %q", got.StatusCode, got.text)
			}
		})
	}
}

// TestAnEmptyLineBeforeARequestIsNothing sends one before the first request, and behind a body whose length does not count it, as clients of
// old did (RFC 9112, 2.2), in one piece, byte by byte, and with a pause. Alone it is no request, and keeps nobody from ending the connection.
func TestAnEmptyLineBeforeARequestIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served []string
		l, s, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			served = append(served, r.Method+" "+r.RequestURI+" "+string(body))
		})
		defer end()
		const text = "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab\r\n" +
			"GET /b HTTP/1.1\r\nHost: h\r\n\r\n\r\n" + "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
		for name, say := range map[string]func(c net.Conn){
			"whole": func(c net.Conn) { _, _ = io.WriteString(c, text) },
			"bytes": func(c net.Conn) {
				for i := range len(text) {
					_, _ = io.WriteString(c, text[i:i+1])
				}
			},
			"pauses": func(c net.Conn) { // longer than a buffer and than a request's head may take
				for _, piece := range strings.SplitAfter(text, "\n") {
					time.Sleep(2 * bufferTime)
					_, _ = io.WriteString(c, piece)
				}
			},
		} {
			served = nil
			c := l.dial()
			var group sync.WaitGroup
			group.Go(func() { say(c) })
			got, err := io.ReadAll(c)
			group.Wait()
			if err != nil || strings.Count(string(got), "HTTP/1.1 200 OK") != 3 {
				t.Errorf("%s: %v after %q", name, err, got)
			}
			if all := strings.Join(served, ", "); all != "POST /a ab, GET /b , GET /c " {
				t.Errorf("%s: it served %s", name, all)
			}
			_ = c.Close()
		}
		c := l.dial()
		defer c.Close()
		_, _ = io.WriteString(c, "\r\n")
		synctest.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			t.Errorf("a line alone: %q, %v", got, err)
		}
	})
}
