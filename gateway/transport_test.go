package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// rawProgram answers each request whose head it has read with fixed bytes, and counts its connections.
func rawProgram(t *testing.T, answers func(target string) (text string, end bool)) (*Transport, *atomic.Int32) {
	t.Helper()
	l := listenUnix(t)
	var conns atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					head, err := readHead(r)
					if err != nil {
						return
					}
					text, end := answers(strings.Fields(head)[1])
					if _, err := io.WriteString(conn, text); err != nil || end {
						return
					}
				}
			}()
		}
	}()
	tr := NewTransport(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	})
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = l.Close()
		<-done
	})
	return tr, &conns
}

func fetch(t *testing.T, tr *Transport, method, target string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://h"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// What a program may do to make two readers disagree about where its answer ends, or what is in it.
var unclearAnswers = map[string]string{
	"both lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
	"the same length twice":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
	"a list of lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
	"a signed length":         "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
	"a negative length":       "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
	"a hexadecimal length":    "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nab",
	"a huge length":           "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
	"an empty length":         "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nab",
	"another coding":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"two codings":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a strange coding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"chunked in HTTP/1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"bare LF":                 "HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
	"one bare LF":             "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 2\r\n\r\nab",
	"bare CR":                 "HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\nContent-Length: 2\r\n\r\nab",
	"a folded line":           "HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length: 3\r\nContent-Length: 2\r\n\r\nab",
	"space before the colon":  "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
	"no colon":                "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nab",
	"no name":                 "HTTP/1.1 200 OK\r\n: 2\r\n\r\nab",
	"NUL in a value":          "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nab",
	"NUL in a name":           "HTTP/1.1 200 OK\r\nX\x00: b\r\nContent-Length: 2\r\n\r\nab",
	"no HTTP":                 "hello\r\n\r\n",
	"HTTP/2":                  "HTTP/2 200 OK\r\n\r\n",
	"an empty line before":    "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
	"a short status":          "HTTP/1.1 20 OK\r\n\r\n",
	"a long status":           "HTTP/1.1 2000 OK\r\n\r\n",
	"a status of letters":     "HTTP/1.1 abc OK\r\n\r\n",
	"status 0":                "HTTP/1.1 000 OK\r\n\r\n",
	"two spaces":              "HTTP/1.1  200 OK\r\n\r\n",
	"endless fields":          "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: 1\r\n", mostProgramFields+1) + "\r\n",
	"an endless field":        "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", programHeaderBytes) + "\r\n\r\n",
	"an endless status line":  "HTTP/1.1 200 " + strings.Repeat("x", 2*programHeaderBytes),
	"a body too short":        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
	"no end of the chunks":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
	"a chunk too short":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
	"a chunk too long":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
	"a signed chunk size":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
	"a prefixed chunk size":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
	"a huge chunk size":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000000000002\r\nab\r\n0\r\n\r\n",
	"no chunk size":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nab\r\n0\r\n\r\n",
	"a space before the size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nab\r\n0\r\n\r\n",
	"bare LF after a size":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
	"bare LF after a chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\n0\r\n\r\n",
	"LF in an extension":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nab\r\n0\r\n\r\n",
	"an endless extension":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 300) + "\r\nab\r\n0\r\n\r\n",
	"a folded trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n Y: 2\r\n\r\n",
	"an endless trailer":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: 1\r\n", 2000) + "\r\n",
}

func TestUnclearAnswersAreErrors(t *testing.T) {
	for name, answer := range unclearAnswers {
		t.Run(name, func(t *testing.T) {
			tr, conns := rawProgram(t, func(target string) (string, bool) {
				if target == "/good" {
					return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false
				}
				return answer, strings.Contains(name, "short") || strings.HasPrefix(name, "no end")
			})
			status, text, err := fetch(t, tr, "GET", "/bad")
			if err == nil {
				t.Fatalf("taken for status %d, %q", status, text)
			}
			if !errors.Is(err, errMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
			if _, text, err := fetch(t, tr, "GET", "/good"); err != nil || text != "ok" || conns.Load() != 2 {
				t.Errorf("the next answer is %q, %v, on connection %d", text, err, conns.Load())
			}
		})
	}
}

// After these the connection is left, because what follows could be taken for another answer.
func TestConnectionsAreLeftWhenAnythingIsUnclear(t *testing.T) {
	const split = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, c := range map[string]struct{ method, answer, want string }{
		"two answers to one request": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab" + split, "ab"},
		"a body after 204":           {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n" + split, ""},
		"a body after 304":           {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n" + split, ""},
		"a body after HEAD":          {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n" + split, ""},
		"more after the chunks":      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + split, "ab"},
		"Connection: close":          {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", "ab"},
		"HTTP/1.0":                   {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab", "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, conns := rawProgram(t, func(target string) (string, bool) {
				if target == "/good" {
					return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false
				}
				return c.answer, false
			})
			if _, text, err := fetch(t, tr, c.method, "/first"); err != nil || text != c.want {
				t.Fatalf("first: %q, %v", text, err)
			}
			if _, text, err := fetch(t, tr, "GET", "/good"); err != nil || text != "ok" || conns.Load() != 2 {
				t.Errorf("second: %q, %v, on connection %d", text, err, conns.Load())
			}
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	tr, conns := rawProgram(t, func(target string) (string, bool) {
		switch target {
		case "/chunks":
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=\"y\"\r\nab\r\n01\r\nc\r\n0\r\nX: 1\r\n\r\n", false
		case "/head":
			return "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n", false
		}
		return "HTTP/1.1 200 OK\r\ncontent-length:2\r\nx:\t \xe9 \t\r\n\r\nab", false
	})
	for range 3 {
		for target, want := range map[string]string{"/": "ab", "/chunks": "abc"} {
			if status, text, err := fetch(t, tr, "GET", target); status != 200 || text != want || err != nil {
				t.Errorf("%s: status %d, %q, %v", target, status, text, err)
			}
		}
		if status, text, err := fetch(t, tr, "HEAD", "/head"); status != 200 || text != "" || err != nil {
			t.Errorf("HEAD: status %d, %q, %v", status, text, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A connection that the program closed between two requests costs nothing when the request may be repeated.
func TestAClosedConnectionIsReplaced(t *testing.T) {
	var count atomic.Int32
	tr, conns := rawProgram(t, func(string) (string, bool) {
		if count.Add(1) == 2 {
			return "", true // takes the request and closes
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false
	})
	for range 2 {
		if _, text, err := fetch(t, tr, "GET", "/"); err != nil || text != "ab" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	count.Store(1)
	if _, _, err := fetch(t, tr, "POST", "/"); !errors.Is(err, errNoAnswer) {
		t.Errorf("a POST was repeated, or %v", err)
	}
}

// TestARequestIsRepeatedOnce has a program take every request and close, when many connections wait.
func TestARequestIsRepeatedOnce(t *testing.T) {
	const many = 8
	var heads, closes atomic.Int32
	var together sync.WaitGroup // so that each has a connection of its own
	together.Add(many)
	tr, _ := rawProgram(t, func(string) (string, bool) {
		if heads.Add(1); closes.Load() > 0 {
			return "", true
		}
		together.Done()
		together.Wait()
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false
	})
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			if _, text, err := fetch(t, tr, "GET", "/"); err != nil || text != "ab" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	group.Wait()
	heads.Store(0)
	closes.Store(1)
	if _, _, err := fetch(t, tr, "GET", "/"); !errors.Is(err, errNoAnswer) || heads.Load() != 2 {
		t.Errorf("it was sent %d times, and then %v", heads.Load(), err)
	}
}

// panics is a body whose reader is broken.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("no body") }
func (panics) Close() error             { return nil }

// TestAPanicOfABodyIsItsRequests: a goroutine that sends a body has nobody above it who would catch a panic, which would end the process.
func TestAPanicOfABodyIsItsRequests(t *testing.T) {
	tr, _ := rawProgram(t, func(string) (string, bool) { return "", false })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://program/", panics{})
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = -1
	res, err := tr.RoundTrip(r)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, errPanic) || !strings.Contains(err.Error(), "no body") {
		t.Errorf("%v", err)
	}
}

// TestWhatWasInformedIsNotRepeated has a program say something before it closes.
func TestWhatWasInformedIsNotRepeated(t *testing.T) {
	var heads atomic.Int32
	tr, _ := rawProgram(t, func(string) (string, bool) {
		if heads.Add(1) == 1 {
			return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false
		}
		return "HTTP/1.1 103 Early Hints\r\n\r\n", true
	})
	if _, _, err := fetch(t, tr, "GET", "/"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(t, tr, "GET", "/"); err == nil || errors.Is(err, errNoAnswer) || heads.Load() != 2 {
		t.Errorf("%v after %d requests", err, heads.Load())
	}
}

func TestNothingIsSentThatCouldBeTwoRequests(t *testing.T) {
	tr := NewTransport(func(context.Context) (net.Conn, error) {
		conn, other := net.Pipe()
		_ = other.Close()
		return conn, nil
	})
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.URL.Opaque = "/a b" },
		func(r *http.Request) { r.URL.Opaque = "/a\r\nX: 1" },
		func(r *http.Request) { r.URL.Opaque = "/a\x00" },
		func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\n\r\nGET" },
		func(r *http.Request) { r.Method = "" },
		func(r *http.Request) { r.Host = "h\r\nX: 1" },
		func(r *http.Request) { r.Header["X"] = []string{"a\nb"} },
		func(r *http.Request) { r.Header["X: 1\r\nY"] = []string{"a"} },
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://h/", nil)
		change(r)
		if _, err := tr.RoundTrip(r); !errors.Is(err, errUnsendable) {
			t.Errorf("%q %q %q: %v", r.Method, r.URL.Opaque, r.Header, err)
		}
	}
}

// FuzzResponse compares with http.ReadResponse, which guesses more: what is accepted here must mean the same there.
func FuzzResponse(f *testing.F) {
	for _, answer := range unclearAnswers {
		f.Add([]byte(answer), false)
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nX: 1\r\n\r\nrest"), false)
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nrest"), true)
	f.Fuzz(func(t *testing.T, input []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		request := &http.Request{Method: method}
		ours := bufio.NewReader(strings.NewReader(string(input)))
		res, fields := new(http.Response), new(fieldList)
		if readResponseHead(ours, new([]byte), res, fields) != nil {
			return
		}
		c := &programConn{conn: nopConn{}, r: ours, pool: NewTransport(nil)}
		trip := &trip{c: c, r: request, fields: fields, parts: 2, reusable: true, stop: func() bool { return false }}
		if res.StatusCode < 200 || trip.frame(res) != nil {
			return
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return
		}
		peer := bufio.NewReader(strings.NewReader(string(input)))
		want, err := http.ReadResponse(peer, request)
		if err != nil {
			t.Fatalf("net/http does not take it: %v", err)
		}
		wantText, err := io.ReadAll(want.Body)
		if err != nil || string(wantText) != string(text) || want.StatusCode != res.StatusCode {
			t.Fatalf("status %d %q here; status %d %q, %v there", res.StatusCode, text, want.StatusCode, wantText, err)
		}
		for name, values := range want.Header { // but those that net/http moves or makes up
			if name != "Cache-Control" && !slices.Equal(fields.values(name), values) {
				t.Fatalf("%s is %q here, %q there", name, fields.values(name), values)
			}
		}
		left, _ := io.ReadAll(ours)
		wantLeft, _ := io.ReadAll(peer)
		if string(left) != string(wantLeft) {
			t.Fatalf("%q is left here, %q there", left, wantLeft)
		}
	})
}

type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }

func TestFrameChunk(t *testing.T) {
	buffer := make([]byte, copyBytes)
	for _, n := range []int{1, 15, 16, 4095, copyBytes - 12} {
		piece := frameChunk(buffer, 10, n)
		if size := fmt.Sprintf("%x\r\n", n); !strings.HasPrefix(string(piece), size) || len(piece) != len(size)+n+2 {
			t.Errorf("%d bytes: %.20q", n, piece)
		}
	}
}
