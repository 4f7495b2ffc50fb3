package endtoend

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
)

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
		"CL.TE":         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE.CL":         "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"TE.TE":         "Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n0\r\n\r\n",
		"TE, spaced":    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE, other":     "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"same lengths":  "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"two lengths":   "Content-Length: 1\r\nContent-Length: 0\r\n\r\n",
		"a list":        "Content-Length: 1, 1\r\n\r\na",
		"signed":        "Content-Length: +1\r\n\r\na",
		"bare LF":       "X: 1\nContent-Length: 1\r\n\r\na",
		"bare CR":       "X: 1\rContent-Length: 1\r\n\r\na",
		"folded":        "X: 1\r\n Content-Length: 1\r\n\r\na",
		"NUL":           "X: \x00\r\n\r\n",
		"two hosts":     "Host: other\r\n\r\n",
		"LF ends it":    "X: 1\n\n",
		"a chunk's end": "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"a chunk's LF":  "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
		"a chunk's ext": "Transfer-Encoding: chunked\r\n\r\n1;\na\r\n0\r\n\r\n",
		"a huge chunk":  "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
		"TE by trailer": "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
	} {
		w := d.dial(t)
		w.request("POST", "/head", rest+"GET "+w.path+"/mark?"+url.QueryEscape(name)+" HTTP/1.1\r\nHost: h\r\nX-API-Key: "+w.key+"\r\n\r\n")
		res, text := w.answer("POST")
		if res.StatusCode != 400 && res.StatusCode != 501 || !strings.Contains(text, `"bad_request"`) && !strings.Contains(text, `"coding_not_supported"`) ||
			res.Header.Get("X-Request-Id") == "" || !res.Close {
			t.Errorf("%s: status %d, %v, %q", name, res.StatusCode, res.Header, text)
		}
		if more, err := io.ReadAll(w.r); len(more) > 0 || err != nil {
			t.Errorf("%s: behind it came %q, %v", name, more, err)
		}
	}
	if _, text := d.ask(t, "GET", "/marked", "\r\n"); text != "" {
		t.Errorf("the program got what was hidden behind unclear requests: %q", text)
	}
	for problem, ask := range map[string][2]string{
		"header_too_large": {"/echo", strings.Repeat("X: 1\r\n", 20_000)}, "url_too_long": {"/echo?" + strings.Repeat("x", 100_000), "\r\n"},
	} {
		w := d.dial(t)
		go func() { _, _ = fmt.Fprintf(w.Conn, "GET %s%s HTTP/1.1\r\nHost: h\r\n%s", w.path, ask[0], ask[1]) }() // it need not be read to its end
		if res, text := w.answer("GET"); !strings.Contains(text, `"`+problem+`"`) || !res.Close {
			t.Errorf("%s: status %d, %q", problem, res.StatusCode, text)
		}
	}
	for _, target := range []string{"/echo/\x00", "/echo/ /x", "/echo/\x7f", "/echo/%zz"} {
		if res, text := d.ask(t, "GET", target, "\r\n"); res.StatusCode != 400 || !strings.Contains(text, `"bad_request"`) {
			t.Errorf("%q: status %d, %q", target, res.StatusCode, text)
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
