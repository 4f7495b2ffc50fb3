package endtoend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"
)

// wire is a consumer's connection to an API, on which tests write bytes.
type wire struct {
	net.Conn
	t    *testing.T
	r    *bufio.Reader
	path string // of the API
	key  string
}

// path is where the API is on its server.
func (d deployed) path(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

func (d deployed) dial(t *testing.T) *wire {
	t.Helper()
	return d.dialFrom(t, "127.0.0.1")
}

// dialFrom connects from an address of this machine.
func (d deployed) dialFrom(t *testing.T, source string) *wire {
	t.Helper()
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}).Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{conn, t, bufio.NewReader(conn), u.Path, d.Key}
}

func (w *wire) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		w.t.Fatal(err)
	}
}

// request sends a request whose fields and body are written as they are.
func (w *wire) request(method, target, rest string) {
	w.t.Helper()
	w.write(fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n%s", method, w.path, target, w.key, rest))
}

// head reads the header of the answer to a method.
func (w *wire) head(method string) *http.Response {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *wire) answer(method string) (*http.Response, string) {
	w.t.Helper()
	res := w.head(method)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(text)
}

// ask sends a whole request on a connection of its own.
func (d deployed) ask(t *testing.T, method, target, rest string) (*http.Response, string) {
	t.Helper()
	w := d.dial(t)
	w.request(method, target, rest)
	return w.answer(method)
}

func (w *wire) want(text string) {
	w.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(w.r, got); err != nil || string(got) != text {
		w.t.Fatalf("came %q, %v; want %q", got[:n], err, text)
	}
}

// TestTheWire holds the gateway's HTTP to the byte, with a program in a real sandbox on the other end.
func TestTheWire(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("wire", sample(t, "wire/app.py"), sample(t, "wire/requirements.txt"))
	t.Run("uploads", func(t *testing.T) { testWireUploads(t, d) })
	t.Run("answers", func(t *testing.T) { testWireAnswers(t, d) })
	t.Run("streams", func(t *testing.T) { testWireStreams(t, d) })
	t.Run("leaving", func(t *testing.T) { testWireLeaving(t, d) })
	t.Run("connections", func(t *testing.T) { testWireConnections(t, d) })
	t.Run("hostile answers", func(t *testing.T) { testWireHostileAnswers(t, d) })
	t.Run("hostile requests", func(t *testing.T) { testWireHostileRequests(t, d) })
	t.Run("websockets", func(t *testing.T) { testWireWebSockets(t, d) })
}

func testWireUploads(t *testing.T, d deployed) {
	for name, framing := range map[string][3]string{
		"sized":   {"Content-Length: 6\r\n\r\n", "abc", "def"},
		"chunked": {"Transfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"},
	} {
		t.Run(name+" pieces arrive at once", func(t *testing.T) {
			w := d.dial(t)
			w.request("POST", "/pieces", framing[0]+framing[1])
			if res := w.head("POST"); res.StatusCode != 200 {
				t.Fatalf("status %d", res.StatusCode)
			}
			w.want("3\r\nABC\r\n") // while the rest of the upload is not sent
			w.write(framing[2])
			w.want("3\r\nDEF\r\n")
		})
	}
	// uvicorn gives programs no trailer fields; they must do no harm, and the connection must go on.
	rest := "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Late: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
	w := d.dial(t)
	for range 2 {
		w.request("POST", "/head", rest)
		if res, text := w.answer("POST"); res.StatusCode != 200 || !strings.HasSuffix(text, "\n\na") || strings.Contains(text, "6.6.6.6") {
			t.Errorf("an upload with a trailer: status %d, %q", res.StatusCode, text)
		}
	}
	w = d.dial(t)
	w.request("POST", "/head", "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	w.want("HTTP/1.1 100 Continue\r\n\r\n")
	w.write("body")
	if _, text := w.answer("POST"); !strings.HasSuffix(text, "\n\nbody") {
		t.Errorf("after 100 came %q", text)
	}
	w = d.dial(t)
	w.request("POST", "/early", "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	w.want("HTTP/1.1 403")
	reads, refuses, began := d.dial(t), d.dial(t), time.Now()
	reads.request("POST", "/late/head", "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	refuses.request("POST", "/late/early", "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	reads.want("HTTP/1.1 100 Continue\r\n\r\n")
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("asked for a body after %v, by whom?", took)
	}
	reads.write("body")
	if _, text := reads.answer("POST"); !strings.HasSuffix(text, "\n\nbody") {
		t.Errorf("after a late 100 came %q", text)
	}
	refuses.want("HTTP/1.1 403")
	w = d.dial(t)
	w.request("POST", "/early", "Content-Length: 1000000\r\n\r\nabc") // and never more
	if res, text := w.answer("POST"); res.StatusCode != 403 || text != "no" || !res.Close {
		t.Errorf("an early answer: status %d, %q, close %v", res.StatusCode, text, res.Close)
	}
	for name, framing := range map[string][2]string{
		"sized": {"Content-Length: 67108864\r\n\r\n", strings.Repeat("x", 1<<20)}, "chunked": {"Transfer-Encoding: chunked\r\n\r\n", "100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n"},
	} {
		w := d.dial(t)
		w.request("POST", "/early", framing[0])
		sent := make(chan struct{})
		go func() { // on and on, as clients do that look for no answer before all is sent
			defer close(sent)
			for range 64 {
				if _, err := io.WriteString(w.Conn, framing[1]); err != nil {
					return
				}
			}
		}()
		if res, text := w.answer("POST"); res.StatusCode != 403 || text != "no" {
			t.Errorf("an early answer to who goes on, %s: status %d, %q", name, res.StatusCode, text)
		}
		_ = w.Close()
		<-sent
	}
}

func testWireAnswers(t *testing.T, d deployed) {
	if res, text := d.ask(t, "HEAD", "/range", "\r\n"); res.ContentLength != 2 || text != "" {
		t.Errorf("HEAD: length %d, %q", res.ContentLength, text)
	}
	if res, text := d.ask(t, "GET", "/range", "Range: bytes=1-2\r\n\r\n"); res.StatusCode != 206 ||
		res.Header.Get("Content-Range") != "bytes 1-2/5" || text != "el" {
		t.Errorf("range: status %d, %v", res.StatusCode, res.Header)
	}
	if res, text := d.ask(t, "GET", "/gzip", "Accept-Encoding: gzip\r\n\r\n"); res.Header.Get("Content-Encoding") != "gzip" ||
		!strings.HasPrefix(text, "\x1f\x8b") {
		t.Errorf("compressed: %v, %q", res.Header, text)
	}
	if res, _ := d.ask(t, "GET", "/double", "\r\n"); fmt.Sprint(res.Header["Set-Cookie"], res.Header["X"]) != fmt.Sprintf("[a=1; Path=/run/%[1]s/ b=2; Path=/run/%[1]s/] [1 2]", d.ID) {
		t.Errorf("repeated fields: %v", res.Header)
	}
	if res, _ := d.ask(t, "GET", "/raw/trailer", "\r\n"); res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("a trailer that nobody announced: %v", res.Trailer)
	}
	w := d.dial(t)
	w.request("GET", "/raw/hints", "\r\n")
	if hints := w.head("GET"); hints.StatusCode != 103 || hints.Header.Get("Link") != "</x>" {
		t.Errorf("hints: status %d, %v", hints.StatusCode, hints.Header)
	}
	if res, text := w.answer("GET"); res.StatusCode != 200 || text != "ab" {
		t.Errorf("after the hints: status %d, %q", res.StatusCode, text)
	}
	w = d.dial(t)
	w.write("OPTIONS " + w.path + "/preflight HTTP/1.1\r\nHost: h\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n\r\n")
	if res, _ := w.answer("OPTIONS"); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: status %d, %v", res.StatusCode, res.Header)
	}
}

func testWireStreams(t *testing.T, d deployed) {
	w := d.dial(t)
	w.request("GET", "/events", "\r\n")
	body := bufio.NewReader(w.head("GET").Body)
	if line, err := body.ReadString('\n'); err != nil || line != "data: one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	d.ask(t, "POST", "/step", "Content-Length: 0\r\n\r\n")
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "\ndata: two\n\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// testWireLeaving has consumers leave in each way that there is: the program is told.
func testWireLeaving(t *testing.T, d deployed) {
	leave := func(w *wire) { _ = w.Close() }
	for name, c := range map[string]struct {
		method, rest string
		leave        func(*wire)
	}{
		"a-request": {"GET", "\r\n", leave},
		"reset":     {"GET", "\r\n", func(w *wire) { _ = w.Conn.(*net.TCPConn).SetLinger(0); leave(w) }},
		"sized":     {"POST", "Content-Length: 100\r\n\r\nabc", leave},
		"chunked":   {"POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", leave},
		"answered":  {"POST", "Content-Length: 3\r\n\r\nabc", leave},
	} {
		w := d.dial(t)
		w.request(c.method, "/hang?"+name, c.rest)
		w.head(c.method)
		c.leave(w)
		if _, text := d.ask(t, "GET", "/gone", "\r\n"); text != name {
			t.Errorf("%s: the program was not told that its consumer left: %q", name, text)
		}
	}
	client := overHTTP2(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", d.URL+"/hang?stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", d.Key)
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // resets the stream, not the connection
	_ = res.Body.Close()
	if _, text := d.ask(t, "GET", "/gone", "\r\n"); text != "stream" {
		t.Errorf("the program was not told that a stream of HTTP/2 was reset: %q", text)
	}
}

// overHTTP2 is a client that speaks HTTP/2 without TLS.
func overHTTP2(t *testing.T) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func testWireConnections(t *testing.T, d deployed) {
	w := d.dial(t)
	for _, target := range []string{
		"", "/", "/a/", "//a//", "/a%2Fb//c/", "/..%2f../x", "/./a/../b", "/%00", "/a%20b+c;d=e", "/%E4%ff", "/~!$&'()*,:@", "/x?a=%2F&a=/b//&&c;d=?e", "/x?%zz%00",
	} {
		w.request("GET", "/echo"+target, "\r\n")
		if !strings.Contains(target, "?") {
			target += "?"
		}
		if res, text := w.answer("GET"); res.StatusCode != 200 || text != d.path(t)+"/echo"+target {
			t.Errorf("%s: status %d, %q", target, res.StatusCode, text)
		}
	}
	w.request("GET", "/head", "One: 1\r\nTwo: a, b\r\nOne: 2\r\nCookie: a=1\r\none: 1\r\nCookie: b=2\r\nVia: 1.0 p\r\n\r\n")
	_, text := w.answer("GET")
	for _, want := range []string{"\none: 1\none: 2\none: 1\n", "\ncookie: a=1\ncookie: b=2\n", "\ntwo: a, b\n", "\nvia: 1.0 p\n", "\nvia: 1.1 apibuilder\n"} {
		if !strings.Contains(text, want) || strings.Contains(text, d.Key) {
			t.Errorf("of repeated fields the program got %q", text)
		}
	}
	w.request("OPTIONS", "/head", "Max-Forwards: 2\r\n\r\n")
	if _, text := w.answer("OPTIONS"); !strings.Contains(text, "\nmax-forwards: 1\n") {
		t.Errorf("OPTIONS that may go on: the program got %q", text)
	}
	w.request("OPTIONS", "/head", "Max-Forwards: 0\r\n\r\n")
	if res, text := w.answer("OPTIONS"); res.StatusCode != 204 || text != "" {
		t.Errorf("OPTIONS that may not: status %d, %q", res.StatusCode, text)
	}
	w = d.dial(t)
	w.write("GET " + w.path + "/head HTTP/1.0\r\nX-API-Key: " + w.key + "\r\n\r\n")
	res, text := w.answer("GET")
	if _, err := w.r.ReadByte(); res.StatusCode != 200 || !strings.Contains(text, "\nvia: 1.0 apibuilder\n") || err != io.EOF {
		t.Errorf("HTTP/1.0: status %d, %q, then %v", res.StatusCode, text, err)
	}
	w = d.dial(t)
	for range 2 {
		w.write("GET " + w.path + "/range HTTP/1.0\r\nConnection: keep-alive\r\nX-API-Key: " + w.key + "\r\n\r\n")
		if res, text := w.answer("GET"); res.Proto != "HTTP/1.0" || res.StatusCode != 206 || text != "el" || res.Header.Get("Connection") != "keep-alive" {
			t.Errorf("HTTP/1.0 that stays: %s, status %d, %v, %q", res.Proto, res.StatusCode, res.Header, text)
		}
	}
	testWireHTTP2(t, d)
}

func testWireHTTP2(t *testing.T, d deployed) {
	client := overHTTP2(t)
	var hints http.Header
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { hints = http.Header(h); return nil },
	})
	do := func(method, target, body string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, d.URL+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", d.Key)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil || res.ProtoMajor != 2 {
			t.Errorf("%s: %s, %v", target, res.Proto, err)
		}
		return res, string(got)
	}
	if res, text := do("POST", "/head", "body"); res.StatusCode != 200 || !strings.HasSuffix(text, "\n\nbody") || !strings.Contains(text, "\nvia: 2.0 apibuilder\n") {
		t.Errorf("HTTP/2: status %d, %q", res.StatusCode, text)
	}
	if res, text := do("POST", "/early", strings.Repeat("x", 64<<20)); res.StatusCode != 403 || text != "no" {
		t.Errorf("an early answer of HTTP/2: status %d, %q", res.StatusCode, text)
	}
	if res, text := do("GET", "/raw/hints", ""); res.StatusCode != 200 || text != "ab" || hints.Get("Link") != "</x>" {
		t.Errorf("hints of HTTP/2: status %d, %q, %v", res.StatusCode, text, hints)
	}
	if res, _ := do("GET", "/demand", ""); res.StatusCode != 426 || res.Header["Upgrade"] != nil || res.Header["Connection"] != nil {
		t.Errorf("a demand for WebSocket, in HTTP/2: status %d, %v", res.StatusCode, res.Header)
	}
	if res, text := do("GET", "/raw/trailer", ""); text != "a" || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("a trailer of HTTP/2: %q, %v", text, res.Trailer)
	}
}

// askWebSocket are the fields of RFC 6455, 1.3, of which the handshake is made.
const askWebSocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func testWireWebSockets(t *testing.T, d deployed) {
	w := d.dial(t)
	w.request("GET", "/chat", askWebSocket+"Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	res := w.head("GET")
	if res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Protocol") != "two" ||
		!strings.HasPrefix(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	w.write("\x89\x81\x00\x00\x00\x00p") // a ping, masked with zeros (RFC 6455, 5.2)
	w.want("\x8a\x01p")
	w.write("\x81\x85\x00\x00\x00\x00close")
	w.want("\x88\x08\x0f\xa1enough") // 4001
	w.write("\x88\x82\x00\x00\x00\x00\x0f\xa1")
	if _, err := w.r.ReadByte(); err != io.EOF {
		t.Errorf("after both have closed: %v", err)
	}

	w = d.dial(t)
	w.request("GET", "/chat", askWebSocket+"\r\n")
	w.head("GET")
	w.write("\x02\x81\x00\x00\x00\x00a\x80\x81\x00\x00\x00\x00\xff") // binary, in two fragments
	w.want("\x82\x02a\xff")
	w.write("\x88\x85\x00\x00\x00\x00\x0f\xa2bye")
	w.want("\x88\x05\x0f\xa2bye")
	if _, text := d.ask(t, "GET", "/closed", "\r\n"); text != "4002 bye" {
		t.Errorf("the program was told %q of a close with 4002", text)
	}
	w = d.dial(t)
	w.request("GET", "/chat", askWebSocket+"\r\n")
	w.head("GET")
	_ = w.Close()
	if _, text := d.ask(t, "GET", "/closed", "\r\n"); text != "1005 " { // what uvicorn says by itself
		t.Errorf("the program was told %q of a consumer that left", text)
	}
	if res, _ := d.ask(t, "GET", "/demand", "\r\n"); res.StatusCode != 426 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Connection") != "upgrade" {
		t.Errorf("a demand for WebSocket: status %d, %v", res.StatusCode, res.Header)
	}
	if res, _ := d.ask(t, "GET", "/refuse", askWebSocket+"\r\n"); res.StatusCode != 403 {
		t.Errorf("refused: status %d", res.StatusCode)
	}
}
