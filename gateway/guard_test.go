package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const postHead = "POST /run/public/ HTTP/1.1\r\nHost: h\r\n"

// What a consumer may send to make us and another server disagree about where a request ends, or what is in it.
var unclearRequests = map[string]struct{ text, word string }{
	"CL.TE":                   {postHead + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", wordBadRequest},
	"TE.CL":                   {postHead + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", wordBadRequest},
	"two lengths":             {postHead + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", wordBadRequest},
	"the same length twice":   {postHead + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", wordBadRequest},
	"a list of lengths":       {postHead + "Content-Length: 4, 4\r\n\r\nabcd", wordBadRequest},
	"a signed length":         {postHead + "Content-Length: +4\r\n\r\nabcd", wordBadRequest},
	"a negative length":       {postHead + "Content-Length: -4\r\n\r\nabcd", wordBadRequest},
	"two codings":             {postHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", wordBadRequest},
	"another coding":          {postHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", wordCodingNotSupported},
	"a strange coding":        {postHead + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", wordBadRequest},
	"a coding in HTTP/1.0":    {"POST /run/public/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", wordBadRequest},
	"bare LF":                 {"GET /run/public/ HTTP/1.1\nHost: h\n\n", wordBadRequest},
	"one bare LF":             {"GET /run/public/ HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n", wordBadRequest},
	"bare CR":                 {"GET /run/public/ HTTP/1.1\r\nHost: h\r\nX: 1\rY: 2\r\n\r\n", wordBadRequest},
	"a folded line":           {"GET /run/public/ HTTP/1.1\r\nHost: h\r\nX: 1\r\n Y: 2\r\n\r\n", wordBadRequest},
	"a first line folded":     {"GET /run/public/ HTTP/1.1\r\n Host: h\r\n\r\n", wordBadRequest},
	"space before the colon":  {postHead + "Content-Length : 4\r\n\r\nabcd", wordBadRequest},
	"NUL in a value":          {"GET /run/public/ HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", wordBadRequest},
	"NUL in the target":       {"GET /run/public/\x00 HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"a space in the target":   {"GET /run/public/a b HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"no version":              {"GET /run/public/\r\n\r\n", wordBadRequest},
	"another version":         {"GET /run/public/ HTTP/1.2\r\nHost: h\r\n\r\n", wordBadRequest},
	"half an escape":          {"GET /run/public/%2 HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"no escape":               {"GET /run/public/100%/x HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"a target without slash":  {"GET run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"half an address":         {"GET http://[::1/run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"two empty lines before":  {"\r\n\r\nGET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"an empty line of LF":     {"\nGET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"an empty line of CR":     {"\rGET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"CRs before":              {"\r\r\nGET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n", wordBadRequest},
	"no Host":                 {"GET /run/public/ HTTP/1.1\r\n\r\n", wordBadRequest},
	"two Hosts":               {"GET /run/public/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", wordBadRequest},
	"a Host that is none":     {"GET /run/public/ HTTP/1.1\r\nHost: a/b\r\n\r\n", wordBadRequest},
	"no HTTP":                 {"\x16\x03\x01\x02\x00\x01\x00\n", wordBadRequest},
	"another expectation":     {postHead + "Expect: a miracle\r\nContent-Length: 4\r\n\r\nabcd", wordExpectationFailed},
	"an endless field":        {"GET /run/public/ HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", headerBytes), wordHeaderTooLarge},
	"endless fields":          {"GET /run/public/ HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: 1\r\n", 2000), wordHeaderTooLarge},
	"a long target":           {"GET /run/public/" + strings.Repeat("x", urlBytes) + " HTTP/1.1\r\nHost: h\r\n\r\n", wordURLTooLong},
	"an endless target":       {"GET /run/public/" + strings.Repeat("x", 2*urlBytes), wordURLTooLong},
	"an endless method":       {strings.Repeat("x", 2*urlBytes), wordURLTooLong},
	"a chunk size with a LF":  {postHead + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", wordBadRequest},
	"a signed chunk size":     {postHead + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", wordBadRequest},
	"a prefixed chunk size":   {postHead + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", wordBadRequest},
	"a chunk too long":        {postHead + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", wordBadRequest},
	"a length in the trailer": {postHead + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n", wordBadRequest},
	"a folded trailer":        {postHead + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n Y: 2\r\n\r\n", wordBadRequest},
}

func TestUnclearRequestsAreRefused(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("the program got %s %s with %q", r.Method, r.URL, text)
		}
	})
	const hidden = "GET /run/public/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, c := range unclearRequests {
		t.Run(name, func(t *testing.T) {
			conn := d.dial()
			go func() { _, _ = io.WriteString(conn.Conn, c.text+hidden) }()
			conn.t = t
			answer := conn.answer("POST")
			answer.wantProblem(t, problems[c.word].status, c.word)
			if !answer.Close {
				t.Error("the connection stays open")
			}
			if rest, _ := io.ReadAll(conn.r); len(rest) > 0 {
				t.Errorf("after the answer came %q", rest)
			}
		})
	}
}

// A client that speaks something else, TLS for example, may never send the end of a line, and waits for an answer.
func TestWhatBeginsNoRequestIsRefusedAtOnce(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	for _, begin := range []string{"\x16\x03\x01\x02\x00\x01\x00", "\x16", "\x00", " GET", "\rG", "{\"id\":1}"} {
		for _, before := range []string{"", "GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n"} {
			c := d.dial()
			c.send("%s%s", before, begin)
			if before != "" {
				if got := c.answer("GET"); got.StatusCode != 200 {
					t.Errorf("before %q: status %d", begin, got.StatusCode)
				}
			}
			got := c.answer("GET")
			got.wantProblem(t, 400, wordBadRequest)
			if !got.Close {
				t.Errorf("%q: the connection stays open", begin)
			}
		}
	}
}

// What is clear must pass, however it is cut into packets.
var clearRequests = "GET /run/public/a HTTP/1.1\r\nhost:h\r\nX:\t\xe9\r\nEmpty:\r\n\r\n" +
	"\r\n" + postHead + "Content-Length: 5\r\n\r\nGET /\r\n" + // clients of old ended bodies so (RFC 9112, 2.2)
	postHead + "Transfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\n0\r\n\r\n\r\n00\r\nX: 1\r\n\r\n" +
	"GET /run/public/b HTTP/1.0\r\n\r\n"

func TestTheGuardKnowsWhereRequestsEnd(t *testing.T) {
	for size := 1; size <= len(clearRequests); size++ {
		g := guard{mostHead: headerBytes, mostTarget: urlBytes}
		for rest := []byte(clearRequests); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			piece := rest[:min(size, len(rest))]
			if n, word := g.pass(piece); n != len(piece) || word != "" {
				t.Fatalf("in pieces of %d: %q before %q", size, word, rest)
			}
		}
		if g.state != atRequestLine || len(g.line) > 0 {
			t.Fatalf("in pieces of %d: state %d at the end", size, g.state)
		}
	}
}

// FuzzGuard compares with net/http: requests that the guard lets through whole must be the same requests there.
func FuzzGuard(f *testing.F) {
	for _, c := range unclearRequests {
		f.Add([]byte(c.text), 7)
	}
	f.Add([]byte(clearRequests), 3)
	f.Fuzz(func(t *testing.T, input []byte, size int) {
		if size < 1 || size > 1<<16 {
			return
		}
		g := guard{mostHead: headerBytes, mostTarget: urlBytes}
		for rest := input; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if _, word := g.pass(rest[:min(size, len(rest))]); word != "" {
				return
			}
		}
		if g.state != atRequestLine || len(g.line) > 0 || len(input) == 0 {
			return
		}
		r := bufio.NewReader(bytes.NewReader(input))
		for {
			if blank, _ := r.Peek(2); string(blank) == "\r\n" { // which net/http does not pass over
				_, _ = r.Discard(2)
			}
			request, err := http.ReadRequest(r)
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return // all of it was whole requests for both
			}
			if err != nil {
				return // net/http is stricter in what a target or a Host is
			}
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				t.Fatalf("net/http finds the body of %s %s broken: %v", request.Method, request.RequestURI, err)
			}
		}
	})
}

// TestThePrefaceIsWholeAndFirst has what HTTP/2 begins with come in other places, and cut: what follows would be read by nobody.
func TestThePrefaceIsWholeAndFirst(t *testing.T) {
	const whole, request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	for text, want := range map[string]string{
		whole:                               "",
		whole + "\x00anything\n":            "",
		request + whole:                     wordBadRequest,
		"\r\n" + whole:                      wordBadRequest,
		"PRI * HTTP/2.0\r\nHost: h\r\n\r\n": wordBadRequest,
		"PRI * HTTP/2.0\r\n\r\n" + request:  wordBadRequest,
		"PRI * HTTP/2.0\r\n\r\nSM\r\nX":     wordBadRequest,
		"PRI * HTTP/2.0\n\nSM\n\n":          wordBadRequest,
	} {
		for _, size := range []int{1, 5, len(text)} {
			g := guard{mostHead: 1 << 10, mostTarget: 1 << 10}
			word := ""
			for rest := []byte(text); len(rest) > 0 && word == ""; rest = rest[min(size, len(rest)):] {
				_, word = g.pass(rest[:min(size, len(rest))])
			}
			if word != want || word == "" && g.state != atNothing {
				t.Errorf("%q by %d: %q, want %q", text, size, word, want)
			}
		}
	}
}

// The preface of HTTP/2 is how its connections begin when they are not agreed on otherwise.
func overHTTP2(addr string, security *tls.Config) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(security != nil)
	protocols.SetUnencryptedHTTP2(security == nil)
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		Protocols: protocols, TLSClientConfig: security,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}}
}

func (d *door) tryHTTP2(client *http.Client, url, proto string) {
	d.t.Helper()
	defer client.CloseIdleConnections()
	for _, body := range []string{"", "hello"} {
		r, err := http.NewRequest("POST", url+"/run/private/x//y%2F?z", strings.NewReader(body))
		if err != nil {
			d.t.Fatal(err)
		}
		r.Header.Set("X-API-Key", testKey)
		res, err := client.Do(r)
		if err != nil {
			d.t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := "/x//y%2F?z " + proto + " " + body
		if err != nil || res.ProtoMajor != 2 || string(text) != want || res.Trailer.Get("X-Sum") != "1" || res.Header.Get("X-Request-Id") == "" {
			d.t.Errorf("%s: %q, trailer %v, %v; want %q", res.Proto, text, res.Trailer, err, want)
		}
	}
	r, _ := http.NewRequest("POST", url+"/run/private/", strings.NewReader(strings.Repeat("x", 1<<20)))
	res, err := client.Do(r) // refused without its body: the connection must live on
	if err != nil {
		d.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 401 {
		d.t.Errorf("without a key: status %d", res.StatusCode)
	}
}

func echoProgram(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	text, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.RequestURI+" "+r.Header.Get("X-Forwarded-Proto")+" "+string(text))
	w.Header().Set("X-Sum", "1")
}

func TestHTTP2WithoutTLS(t *testing.T) {
	d := newDoor(t, Config{}, echoProgram)
	d.tryHTTP2(overHTTP2(d.addr, nil), "http://"+d.addr, "http")
}

func TestTLS(t *testing.T) {
	d := newDoor(t, Config{}, echoProgram)
	authority := httptest.NewUnstartedServer(nil) // for its certificate
	authority.StartTLS()
	defer authority.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.gateway.Serve(l, authority.TLS) }()
	roots := authority.Client().Transport.(*http.Transport).TLSClientConfig
	d.tryHTTP2(overHTTP2(l.Addr().String(), roots.Clone()), "https://example.com", "https")

	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots.RootCAs, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{conn, t, bufio.NewReader(conn)}
	c.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := c.answer("GET"); got.text != "/ https " {
		t.Errorf("HTTP/1.1 inside TLS: %q", got.text)
	}
	c.send("GET /run/public/ HTTP/1.1\nHost: h\n\n")
	c.answer("GET").wantProblem(t, 400, wordBadRequest)
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.gateway.Drain(ctx); err != nil {
		t.Error(err)
	}
	if err := within(t, "serve", done); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
	if err := d.gateway.Serve(l, nil); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Drain returned %v", err)
	}
}

// After a request for WebSocket the guard lets everything pass, so that an answer which refuses it must be the last.
func TestARefusedUpgradeEndsTheConnection(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			t.Errorf("the program got %s", r.URL)
		}
		w.WriteHeader(403)
	})
	for _, method := range []string{"GET", "DELETE"} {
		c := d.dial()
		c.send("%s /run/public/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"+
			"GET /run/public/hidden HTTP/1.1\nHost: h\n\n", method)
		if got := c.answer(method); got.StatusCode != 403 || !got.Close {
			t.Errorf("%s: status %d, close %v", method, got.StatusCode, got.Close)
		}
		if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
			t.Errorf("%s: after the answer came %q", method, rest)
		}
	}
}

// TestTheGuardKeepsLittle: of a long line nothing is held once it has been looked at.
func TestTheGuardKeepsLittle(t *testing.T) {
	for _, last := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		g := guard{mostHead: headerBytes, mostTarget: urlBytes}
		head := "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 50<<10) + "\r\n" + last + "\r\n"
		for piece := range slices.Chunk([]byte(head), readBytes) {
			if _, word := g.pass(piece); word != "" {
				t.Fatal(word)
			}
		}
		if cap(g.line) > readBytes {
			t.Errorf("after %q it holds %d bytes", last, cap(g.line))
		}
	}
}
