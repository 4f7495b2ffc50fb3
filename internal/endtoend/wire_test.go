package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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

func (d deployed) dial(t *testing.T) *wire {
	t.Helper()
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
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
	w = d.dial(t)
	w.request("POST", "/early", "Content-Length: 1000000\r\n\r\nabc") // and never more
	if res, text := w.answer("POST"); res.StatusCode != 403 || text != "no" || !res.Close {
		t.Errorf("an early answer: status %d, %q, close %v", res.StatusCode, text, res.Close)
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
	w = d.dial(t)
	w.request("GET", "/hang", "\r\n")
	w.head("GET")
	_ = w.Close()
	if _, text := d.ask(t, "GET", "/gone", "\r\n"); text != "gone" {
		t.Errorf("the program was not told that its consumer left: %q", text)
	}
}

func testWireConnections(t *testing.T, d deployed) {
	w := d.dial(t)
	for _, target := range []string{"/a/", "/a%2Fb//c/", "/..%2f../x", "/%00"} {
		w.request("GET", "/head?x="+target, "\r\n")
		if res, text := w.answer("GET"); res.StatusCode != 200 || strings.Contains(text, d.Key) {
			t.Errorf("%s: status %d, %q", target, res.StatusCode, text)
		}
	}
	w = d.dial(t)
	w.write("GET " + w.path + "/head HTTP/1.0\r\nX-API-Key: " + w.key + "\r\n\r\n")
	res, text := w.answer("GET")
	if _, err := w.r.ReadByte(); res.StatusCode != 200 || text == "" || err != io.EOF {
		t.Errorf("HTTP/1.0: status %d, then %v", res.StatusCode, err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+"/head", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", d.Key)
	res, err = (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); res.ProtoMajor != 2 || !strings.HasSuffix(string(got), "\n\nbody") {
		t.Errorf("HTTP/2: %s, %q", res.Proto, got)
	}
}

func testWireHostileAnswers(t *testing.T, d deployed) {
	for _, name := range []string{"both-lengths", "two-lengths", "bare-lf", "folded", "endless", "no-http"} {
		if res, text := d.ask(t, "GET", "/raw/"+name, "\r\n"); res.StatusCode != 502 || !strings.Contains(text, `"bad_response"`) {
			t.Errorf("%s: status %d, %q", name, res.StatusCode, text)
		}
	}
	w := d.dial(t)
	w.request("GET", "/raw/split", "\r\n")
	if res, text := w.answer("GET"); res.StatusCode != 200 || text != "ab" {
		t.Errorf("split: status %d, %q", res.StatusCode, text)
	}
	w.request("GET", "/head", "\r\n")
	if _, text := w.answer("GET"); !strings.HasPrefix(text, "GET ") {
		t.Errorf("the next request was answered with %q", text)
	}
	if res, text := d.ask(t, "GET", "/crlf", "\r\n"); res.Header.Get("Set-Cookie") != "" || strings.HasPrefix(text, "<html>") {
		t.Errorf("a line end in a field: status %d, %v, %q", res.StatusCode, res.Header, text)
	}
	w = d.dial(t)
	w.request("GET", "/short", "\r\n")
	if _, err := io.ReadAll(w.head("GET").Body); err == nil {
		t.Error("half a body passed for a whole one")
	}
}

func testWireHostileRequests(t *testing.T, d deployed) {
	for name, rest := range map[string]string{
		"CL.TE":       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths": "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"bare LF":     "X: 1\nContent-Length: 1\r\n\r\na",
		"folded":      "X: 1\r\n Content-Length: 1\r\n\r\na",
		"NUL":         "X: \x00\r\n\r\n",
	} {
		res, text := d.ask(t, "POST", "/head", rest)
		if res.StatusCode != 400 || !strings.Contains(text, `"bad_request"`) || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: status %d, %v, %q", name, res.StatusCode, res.Header, text)
		}
	}
	_, text := d.ask(t, "GET", "/head", "Connection: X-Forwarded-For, X-Request-ID\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"+
		"Authorization: Bearer "+d.Key+"\r\n\r\n")
	if strings.Contains(text, "6.6.6.6") || strings.Contains(text, d.Key) {
		t.Errorf("the program got %q", text)
	}
	_, text = d.ask(t, "GET", "/head", "Connection: X-Forwarded-For, X-Request-ID\r\n\r\n")
	if !strings.Contains(text, "\nx-forwarded-for: 127.0.0.1\n") || !strings.Contains(text, "\nx-request-id: ") {
		t.Errorf("the program got %q", text)
	}
}

func testWireWebSockets(t *testing.T, d deployed) {
	const ask = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	w := d.dial(t)
	w.request("GET", "/chat", ask+"Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	res := w.head("GET")
	if res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Protocol") != "two" ||
		!strings.HasPrefix(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	w.write("\x89\x81\x00\x00\x00\x00p") // a ping, masked with zeros (RFC 6455, 5.2)
	w.want("\x8a\x01p")
	w.write("\x81\x85\x00\x00\x00\x00close")
	w.want("\x88\x08\x0f\xa1enough") // 4001
	if res, _ := d.ask(t, "GET", "/refuse", ask+"\r\n"); res.StatusCode != 403 {
		t.Errorf("refused: status %d", res.StatusCode)
	}
}
