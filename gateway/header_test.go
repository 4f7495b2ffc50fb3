package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// echoHead answers each request with the header that arrived, as it arrived.
func echoHead(conn net.Conn, r *bufio.Reader) {
	for {
		head, err := readHead(r)
		if err != nil {
			return
		}
		res := &http.Response{
			StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1,
			ContentLength: int64(len(head)), Body: io.NopCloser(strings.NewReader(head)),
		}
		_ = res.Write(conn)
	}
}

// fieldsOf returns the lines of a header for a field, without its name.
func fieldsOf(head, name string) []string {
	var values []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

func TestRequestHeader(t *testing.T) {
	d := newRawDoor(t, Config{}, echoHead)
	for _, c := range []struct {
		name   string
		send   string
		absent []string
		want   map[string][]string
	}{
		{
			"spoofed origin", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /x\r\n" +
				"X-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-ID: mine\r\n" +
				"X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Real_Ip: 6.6.6.6\r\nx_request_id: mine\r\n",
			[]string{
				"X-Forwarded-Port", "X-Real-IP", "X_Forwarded_For", "X-Forwarded_Proto",
				"X_Real_Ip", "X_Request_Id",
			},
			map[string][]string{
				"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example:81"},
				"X-Forwarded-Prefix": {"/run/public"}, "Forwarded": {`for=127.0.0.1;host="a.example:81";proto=http`},
			},
		},
		{
			"Connection cannot strip ours", "Connection: X-Forwarded-For, x-request-id, X-Mine, User-Agent, close\r\nX-Mine: 1\r\nUser-Agent: me\r\n",
			[]string{"X-Mine", "User-Agent", "Connection"},
			map[string][]string{"X-Forwarded-For": {"127.0.0.1"}},
		},
		{
			"hop by hop", "Keep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\nTE: gzip;q=1, trailers\r\nUpgrade: h2c\r\n" +
				"HTTP2-Settings: x\r\nConnection: Upgrade, HTTP2-Settings, TE\r\nTransfer_Encoding: chunked\r\n",
			[]string{
				"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Upgrade", "Http2-Settings", "Connection", "Transfer_Encoding",
			},
			map[string][]string{"TE": {"trailers"}},
		},
		{
			"nothing added", "",
			[]string{"User-Agent", "Accept-Encoding", "TE", "Content-Length", "Transfer-Encoding", "Connection"},
			map[string][]string{"Host": {"a.example:81"}, "Via": {"1.1 apibuilder"}},
		},
		{
			"who has passed it on", "Via: 1.0 first\r\nX-Mine: 1\r\nVia: HTTP/2 second:80 (a, b), 1.1 third\r\n",
			nil,
			map[string][]string{"Via": {"1.0 first", "HTTP/2 second:80 (a, b), 1.1 third", "1.1 apibuilder"}},
		},
		{
			"Connection cannot strip our Via", "Connection: Via, close\r\nVia: 1.0 first\r\n",
			nil,
			map[string][]string{"Via": {"1.1 apibuilder"}},
		},
		{
			"the author's own", "Accept-Encoding: br\r\nUser-Agent: a/1\r\nCookie: a=1\r\nX-Two: 1\r\nX-Two: 2\r\nAuthorization: Digest x\r\nRange: bytes=1-\r\n",
			nil,
			map[string][]string{
				"Accept-Encoding": {"br"}, "User-Agent": {"a/1"}, "Cookie": {"a=1"}, "X-Two": {"1", "2"}, "Authorization": {"Digest x"},
				"Range": {"bytes=1-"},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := d.dial()
			conn.send("GET /run/public/ HTTP/1.1\r\nHost: a.example:81\r\n%s\r\n", c.send)
			got := conn.answer("GET")
			for _, name := range c.absent {
				if values := fieldsOf(got.text, name); len(values) > 0 {
					t.Errorf("the program got %s: %q", name, values)
				}
			}
			for name, want := range c.want {
				if values := fieldsOf(got.text, name); !slices.Equal(values, want) {
					t.Errorf("the program got %s: %q, want %q", name, values, want)
				}
			}
			if id := fieldsOf(got.text, "X-Request-ID"); len(id) != 1 || id[0] != got.Header.Get("X-Request-ID") {
				t.Errorf("request id: program %q, consumer %q", id, got.Header.Get("X-Request-ID"))
			}
		})
	}
}

// TestViaOfEveryVersion: a program is told by which version of HTTP its consumer came.
func TestViaOfEveryVersion(t *testing.T) {
	heads := make(chan string, 1)
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		heads <- head
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
	})
	const own = "Via: 1.0 first\r\n"
	for name, c := range map[string]struct {
		ask  func()
		want []string
	}{
		"HTTP/1.0":    {func() { d.dial().send("GET /run/public/ HTTP/1.0\r\n%s\r\n", own) }, []string{"1.0 first", "1.0 apibuilder"}},
		"plain":       {func() { d.dial().send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n%s\r\n", own) }, []string{"1.0 first", "1.1 apibuilder"}},
		"not plain":   {func() { d.dial().send("GET /run/public/%%20 HTTP/1.1\r\nHost: h\r\n%s\r\n", own) }, []string{"1.0 first", "1.1 apibuilder"}},
		"with a body": {func() { d.dial().send("PUT /run/public/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n%s\r\na", own) }, []string{"1.0 first", "1.1 apibuilder"}},
		"WebSocket":   {func() { d.upgrade("") }, []string{"1.1 apibuilder"}},
		"HTTP/2":      {func() { d.second().open(1, true, http.MethodGet, "via", "1.0 first", "via", "1.1 second") }, []string{"1.0 first", "1.1 second", "2.0 apibuilder"}},
	} {
		c.ask()
		if got := fieldsOf(within(t, name, heads), "Via"); !slices.Equal(got, c.want) {
			t.Errorf("%s: the program got Via: %q, want %q", name, got, c.want)
		}
	}
}

// TestRequestsGetNoFieldsThatDidNotCome but the gateway's own.
func TestRequestsGetNoFieldsThatDidNotCome(t *testing.T) {
	d := newRawDoor(t, Config{}, echoHead)
	for _, c := range []struct {
		method, lines string
		name          string
		want          []string
	}{
		{"GET", "Pragma: no-cache\r\n", "Cache-Control", nil},
		{"GET", "Pragma: no-cache\r\nCACHE-control: no-cache\r\n", "Cache-Control", []string{"no-cache"}},
		{"POST", "", "Content-Length", nil},
		{"PUT", "Accept: a/b\r\nPragma: x\r\n", "Content-Length", nil},
		{"POST", "Content-Length: 0\r\n", "Content-Length", []string{"0"}},
		{"GET", "Content-Length: 0\r\n", "Content-Length", []string{"0"}},
		{"GET", "Content-Length: 0\r\nPragma: x\r\n", "Content-Length", []string{"0"}},
		{"GET", "Content-Length: 2\r\nConnection: Content-Length\r\n\r\nab", "Content-Length", []string{"2"}},
	} {
		conn := d.dial()
		conn.send("%s /run/public/ HTTP/1.1\r\nHost: h\r\n%s\r\n", c.method, c.lines)
		if got := fieldsOf(conn.answer("GET").text, c.name); !slices.Equal(got, c.want) {
			t.Errorf("%s with %q: the program got %s: %q, want %q", c.method, c.lines, c.name, got, c.want)
		}
	}
	heads := make(chan string, 1)
	d = newRawDoor(t, Config{}, func(_ net.Conn, r *bufio.Reader) {
		head, _ := readHead(r)
		heads <- head
	})
	for method, want := range map[string][]string{"GET": nil, "POST": {"0"}} { // the end of the stream has said so
		d.second().open(1, true, method)
		if got := fieldsOf(within(t, "a request by HTTP/2", heads), "Content-Length"); !slices.Equal(got, want) {
			t.Errorf("%s by HTTP/2: the program got Content-Length: %q, want %q", method, got, want)
		}
	}
}

func TestContentTypeIsNotGuessed(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
	})
	if got := d.get("/run/private/"); got.Header["Content-Type"] != nil || got.text != "<html>" {
		t.Errorf("header %v", got.Header)
	}
}

func TestHostOfHTTP10(t *testing.T) {
	d := newRawDoor(t, Config{}, echoHead)
	conn := d.dial()
	conn.send("GET /run/public/ HTTP/1.0\r\n\r\n")
	if got := conn.answer("GET"); !slices.Equal(fieldsOf(got.text, "Host"), []string{d.addr}) {
		t.Errorf("the program got Host %q", fieldsOf(got.text, "Host"))
	}
}

func TestResponseHeader(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2001 00:00:00 GMT\r\nserver: uvicorn\r\nX-Request-ID: theirs\r\n"+
				"RateLimit: theirs\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\n"+
				"Alt-Svc: h3=\":1\"\r\nStrict-Transport-Security: max-age=1\r\nClear-Site-Data: \"*\"\r\nService-Worker-Allowed: /\r\n"+
				"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n<html>")
		}
	})
	get := func() got { return d.get("/run/private/") }
	res := get()
	for _, name := range []string{
		"X-Hop", "Keep-Alive", "Upgrade", "Proxy-Authenticate", "Connection", "Content-Type", "Alt-Svc", "Strict-Transport-Security",
		"Clear-Site-Data", "Service-Worker-Allowed",
	} {
		if values, there := res.Header[name]; there {
			t.Errorf("the consumer got %s: %q", name, values)
		}
	}
	for name, want := range map[string][]string{
		"Date": {"Mon, 01 Jan 2001 00:00:00 GMT"}, "Server": {"uvicorn"}, "Set-Cookie": {"a=1; Path=/run/private/", "b=2; Path=/run/private/"}, "Content-Encoding": {"gzip"},
		"Ratelimit": {"theirs"}, "Content-Length": {"6"},
	} {
		if !slices.Equal(res.Header[name], want) {
			t.Errorf("the consumer got %s: %q, want %q", name, res.Header[name], want)
		}
	}
	if id := res.Header["X-Request-Id"]; len(id) != 1 || id[0] == "theirs" {
		t.Errorf("X-Request-ID %q", id)
	}
	if res.text != "<html>" {
		t.Errorf("body %q", res.text)
	}
	limitAPI(d, "api_private", 100)
	if res := get(); len(res.Header["Ratelimit"]) != 1 || res.Header.Get("RateLimit") == "theirs" {
		t.Errorf("with a limit: RateLimit %q", res.Header["Ratelimit"])
	}
}

// What a program says reaches the consumer in its order, whatever is left out of it, set in it or added to it.
func TestFieldsKeepTheirOrder(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nx-c: 1\r\nserver: s\r\nx-request-id: mine\r\nx-a: 1\r\nconnection: x-gone\r\n"+
				"date: d\r\nset-cookie: c=1\r\nx-gone: 1\r\nx-b: 1\r\nx-a: 2\r\nset-cookie: a=1\r\nratelimit: r\r\ncontent-type: text/plain\r\n"+
				"content-length: 2\r\nx-a: 0\r\n\r\nok")
		}
	})
	conn := d.dial()
	conn.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n")
	head, err := readHead(conn.r)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.SplitSeq(strings.TrimSpace(head), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(name, "X-A") || name == "Set-Cookie" {
			name += " " + value[:1]
		}
		names = append(names, name)
	}
	want := []string{
		"HTTP/1.1 200 OK", "X-C", "Server", "X-A 1", "Date", "Set-Cookie c", "X-B", "X-A 2", "Set-Cookie a", "Ratelimit", "Content-Type",
		"Content-Length", "X-A 0", "X-Request-Id", "X-Content-Type-Options",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// What one side takes for the end of a message, the other must too.
func TestRequestFramingCannotBeSmuggled(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			text := req.Method + " " + req.RequestURI + " " + string(body)
			res := &http.Response{
				StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1,
				ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)),
			}
			_ = res.Write(conn)
		}
	})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		text    string
	}{
		"two lengths":         {"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, ""},
		"length list":         {"Content-Length: 3, 3\r\n\r\nabc", 400, ""},
		"signed length":       {"Content-Length: +3\r\n\r\nabc", 400, ""},
		"unknown coding":      {"Transfer-Encoding: xchunked\r\n\r\nabc", 501, ""},
		"two codings":         {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400, ""},
		"space before colon":  {"Content-Length : 3\r\n\r\nabc", 400, ""},
		"CL.TE":               {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		"bare CR in a value":  {"X-A: b\rContent-Length: 3\r\n\r\n", 400, ""},
		"NUL in a value":      {"X-A: b\x00\r\n\r\n", 400, ""},
		"body is no request":  {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled), 200, "POST / " + smuggled},
		"chunk is no request": {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled), 200, "POST / " + smuggled},
		"folded line":         {"X-A: b\r\n Content-Length: 3\r\n\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := d.dial()
			conn.t = t
			conn.send("POST /run/public/ HTTP/1.1\r\nHost: h\r\n%s", c.request)
			got := conn.answer("POST")
			if got.StatusCode != c.status && !(c.status == 400 && got.StatusCode == 501) || got.StatusCode == 200 && got.text != c.text {
				t.Fatalf("status %d, the program got %q", got.StatusCode, got.text)
			}
		})
	}
}
