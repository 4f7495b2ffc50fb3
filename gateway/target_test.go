package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestSplitTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"/run/a":                          {"a", "/"},
		"/run/a/":                         {"a", "/"},
		"/run/a?":                         {"a", "/?"},
		"/run/a?x=/y":                     {"a", "/?x=/y"},
		"/run/api_q3f/x/y/?q":             {"api_q3f", "/x/y/?q"},
		"/run/a//x":                       {"a", "//x"},
		"/run/a/%2F/../.?;&?":             {"a", "/%2F/../.?;&?"},
		"http://h/run/a/x":                {"a", "/x"},
		"HTTPS://u@h:1/run/a?y":           {"a", "/?y"},
		"/run/a/http://other/run/b/":      {"a", "/http://other/run/b/"},
		"/run/my-api-2/%00":               {"my-api-2", "/%00"},
		"/run/" + strings.Repeat("a", 63): {strings.Repeat("a", 63), "/"},
	} {
		id, rest, ok := splitTarget(target)
		if !ok || id != want[0] || rest != want[1] {
			t.Errorf("splitTarget(%q) = %q, %q, %v; want %q", target, id, rest, ok, want)
		}
	}
	for _, target := range []string{
		"", "*", "/", "/run", "/run/", "/run//x", "/run/../x", "/run/./x", "/run/%2f/x", "/run/a%2fb/", "/run/a%00/", "/run/\x00/",
		"/run/A/", "/run/a.b/", "/RUN/a/", "//run/a", "/x/run/a", "run/a", "http:/run/a", "http://h", "http://h?/run/a/", "http://h#/run/a",
		"/run/" + strings.Repeat("a", 64) + "/", "host:443", "/%72un/a/", "/run/ä/", "/run;/a", "/run/a;b/", "/run/?a",
	} {
		if id, rest, ok := splitTarget(target); ok {
			t.Errorf("splitTarget(%q) = %q, %q", target, id, rest)
		}
	}
}

func FuzzSplitTarget(f *testing.F) {
	for _, s := range []string{"/run/a/b?c", "http://h/run/a//b", "/run/a?", "/run/..%2f", "*", "/run/a//\"x?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		id, rest, ok := splitTarget(target)
		if !ok {
			return
		}
		if !possibleAPIRef(id) || !strings.HasPrefix(rest, "/") {
			t.Fatalf("splitTarget(%q) = %q, %q", target, id, rest)
		}
		if !strings.HasSuffix(target, rest) && !strings.HasSuffix(target, rest[1:]) {
			t.Fatalf("splitTarget(%q): %q is no part of it", target, rest)
		}
	})
}

func TestRecordedPath(t *testing.T) {
	for rest, want := range map[string]string{
		"/a?secret":                     "/a",
		"/ä\xff":                        "/??",
		"/" + strings.Repeat("x", 2000): "/" + strings.Repeat("x", 1023),
		"//a%20b/":                      "//a%20b/",
	} {
		if got := recordedPath(rest); got != want {
			t.Errorf("recordedPath(%q) = %q, want %q", rest, got, want)
		}
	}
}

// The program must get the rest of the target byte for byte, which only raw sockets on both sides show.
func TestTargetReachesTheProgramUnchanged(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			_, target, _ := strings.Cut(head, " ")
			target, _, _ = strings.Cut(target, " HTTP/1.1\r\n")
			res := &http.Response{
				StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1,
				ContentLength: int64(len(target)), Body: io.NopCloser(strings.NewReader(target)),
			}
			_ = res.Write(conn)
		}
	})
	for _, rest := range []string{
		"/", "/x", "/x/", "//", "//x//y//", "/%2F%2f", "/a%20b", "/?", "/??", "/x?a=1&b=2", "/x?a;b", "/x?%zz&a=%", "/./a/../b", "/..",
		"/%2e%2e/", "/a+b", "/a;v=1/b", "/!$&'()*+,;=:@", "/%E4%00", "/\"<>\\^`{|}", "/é\xff", "/x?é\xff\"<>", "///x", "//?x", "/a//b",
		"//user@host/x", "/http://x/", "/x?http://y?z", "/[x]", "//[x]", "/x#y", "/x?y#z", "/*", "/a%2fb?c%2Fd", "/%41",
	} {
		c := d.dial()
		c.send("GET /run/public%s HTTP/1.1\r\nHost: h\r\n\r\n", rest)
		if res := c.answer("GET"); res.StatusCode != 200 || res.text != rest {
			t.Errorf("status %d, program got %q, want %q", res.StatusCode, res.text, rest)
		}
	}
	for target, want := range map[string]string{
		"/run/public": "/", "/run/api_public": "/", "/run/public?x": "/?x", "http://other:1/run/public//x?": "//x?",
		`/run/public//"`: `//"`,
	} {
		c := d.dial()
		c.send("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target)
		if res := c.answer("GET"); res.StatusCode != 200 || res.text != want {
			t.Errorf("%s: status %d, program got %q, want %q", target, res.StatusCode, res.text, want)
		}
	}
}

func TestTargetsThatAreNoAPI(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the program was called") })
	for _, target := range []string{
		"/", "/run", "/run/", "/run//x", "/run/../x", "/run/..%2fprivate/", "/run/%2f/", "/run/%00/", "/run/A/", "*", "/nothing",
		"/run/" + strings.Repeat("a", 4000) + "/", "http://h", "http:opaque", "/run/private%2F/", "/%72un/private/", "//run/private/",
	} {
		c := d.dial()
		c.send("OPTIONS %s HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", target, testKey)
		c.answer("OPTIONS").wantProblem(t, 404, wordNotFound)
	}
	if n := d.store.count(); n != 0 {
		t.Errorf("%d reads of the store", n)
	}
}

func TestEveryMethodReachesTheProgram(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Method", r.Method) })
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "x!y", "get"} {
		c := d.dial()
		c.send("%s /run/private/x HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", method, testKey)
		if res := c.answer(method); res.StatusCode != 200 || res.Header.Get("Method") != method {
			t.Errorf("%s: status %d, program got %q", method, res.StatusCode, res.Header.Get("Method"))
		}
		if u := d.record(); u.Method != method || u.Path != "/x" {
			t.Errorf("%s: record %+v", method, u)
		}
	}
	c := d.dial()
	c.send("CONNECT /run/private/x HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", testKey)
	c.answer("POST").wantProblem(t, 501, wordMethodNotSupported)
}
