package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// plainRequests are read without net/http.
var plainRequests = map[string]string{
	"the least":                  "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	"a query":                    "GET /run/a/b?c=d&e HTTP/1.1\r\nHost: h\r\n\r\n",
	"an empty query":             "GET /run/a? HTTP/1.1\r\nHost: h\r\n\r\n",
	"a query of a question":      "GET /run/a?? HTTP/1.1\r\nHost: h\r\n\r\n",
	"a query with everything":    "GET /?%zz#%2F/\xe9\"<>^`{|} HTTP/1.1\r\nHost: h\r\n\r\n",
	"slashes":                    "GET //h/../a//. HTTP/1.1\r\nHost: h\r\n\r\n",
	"a colon":                    "GET /a:b@c;d=e,f+g&h$i HTTP/1.1\r\nHost: h\r\n\r\n",
	"another method":             "m-search / HTTP/1.1\r\nHost: h\r\n\r\n",
	"the method of HTTP/2":       "PRI / HTTP/1.1\r\nHost: h\r\n\r\n",
	"an empty Host":              "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"a Host that is none":        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"lower case":                 "GET / HTTP/1.1\r\nhost: h\r\nx-api-key: k\r\nuser-agent: u\r\nx-some-thing: 1\r\n\r\n",
	"upper case":                 "GET / HTTP/1.1\r\nHOST: h\r\nX-API-KEY: k\r\nX-SOME-THING: 1\r\n\r\n",
	"a long name":                "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("x-Y", 40) + ": 1\r\n\r\n",
	"all characters of names":    "GET / HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~09azAZ-a: 1\r\n\r\n",
	"hyphens":                    "GET / HTTP/1.1\r\nHost: h\r\n--a--B-: 1\r\n-: 2\r\n\r\n",
	"white space":                "GET / HTTP/1.1\r\nHost:\t h \t\r\nA: \t\r\nB:\r\nC: a \t b\t\r\n\r\n",
	"Latin-1 in a value":         "GET / HTTP/1.1\r\nHost: h\r\nA: \xe9\x80\xff\r\n\r\n",
	"a colon in a value":         "GET / HTTP/1.1\r\nHost: h\r\nA: :b:\r\n\r\n",
	"many fields":                "GET / HTTP/1.1\r\nHost: h\r\n" + manyFields(100) + "\r\n",
	"as many as have their room": "GET / HTTP/1.1\r\nHost: h\r\n" + manyFields(fewFields-1) + "\r\n",
	"a connection that stays":    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
	"an upgrade":                 "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
	"an upgrade that may stay":   "GET / HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n",
	"an Upgrade that is not one": "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
	"an expectation":             "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
	"a length of nothing":        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	"a body":                     "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
	"a body with leading zeros":  "GET / HTTP/1.1\r\nHost: h\r\ncontent-length: 005\r\n\r\nhello",
	"half a body":                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nhello",
	"two":                        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: i\r\n\r\n",
}

// otherRequests are net/http's.
var otherRequests = map[string]string{
	"nothing":                   "",
	"an empty line":             "\r\n\r\n",
	"half of one":               "GET / HTTP/1.1\r\nHost: h\r\n",
	"no field":                  "GET / HTTP/1.1\r\n\r\n",
	"no Host":                   "GET / HTTP/1.1\r\nA: b\r\n\r\n",
	"two Hosts":                 "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n",
	"HTTP/1.0":                  "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
	"HTTP/1.2":                  "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
	"no version":                "GET /\r\nHost: h\r\n\r\n",
	"a version and more":        "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
	"no method":                 " / HTTP/1.1\r\nHost: h\r\n\r\n",
	"a method that is no token": "G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
	"a tunnel":                  "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
	"a tunnel to a path":        "CONNECT /h HTTP/1.1\r\nHost: h\r\n\r\n",
	"an absolute target":        "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
	"an asterisk":               "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	"a target without slash":    "GET ?a HTTP/1.1\r\nHost: h\r\n\r\n",
	"an escape":                 "GET /%2F HTTP/1.1\r\nHost: h\r\n\r\n",
	"no escape":                 "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
	"a path that is escaped":    "GET /(a) HTTP/1.1\r\nHost: h\r\n\r\n",
	"Latin-1 in a path":         "GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
	"a fragment":                "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n",
	"a control in a query":      "GET /?\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
	"a delete in a query":       "GET /?\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
	"bare LF":                   "GET / HTTP/1.1\nHost: h\n\r\n\r\n",
	"one bare LF":               "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
	"bare LF after the line":    "GET / HTTP/1.1\nHost: h\r\n\r\n",
	"bare CR":                   "GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n",
	"an end by LF":              "GET / HTTP/1.1\r\nHost: h\n\nA: b\r\n\r\n",
	"NUL":                       "GET / HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n",
	"a delete in a value":       "GET / HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n",
	"a folded line":             "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
	"a first line folded":       "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
	"space before the colon":    "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
	"no colon":                  "GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n",
	"no name":                   "GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n",
	"Latin-1 in a name":         "GET / HTTP/1.1\r\nHost: h\r\n\xe9: a\r\n\r\n",
	"chunks":                    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
	"another coding":            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
	"chunks and a length":       "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
	"a length and chunks":       "POST / HTTP/1.1\r\nHost: h\r\nTRANSFER-ENCODING: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
	"two lengths":               "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"the same length twice":     "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na",
	"two lengths of nothing":    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
	"a list of lengths":         "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na",
	"a signed length":           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
	"no length":                 "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\na",
	"a length too long":         "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\na",
	"a connection that ends":    "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	"an upgrade to HTTP/2":      "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n",
	"a trailer":                 "GET / HTTP/1.1\r\nHost: h\r\nTrailer: a\r\n\r\n",
	"a field twice":             "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n",
	"what net/http adds to":     "GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\n\r\n",
	"HTTP/2":                    preface + "\r\n\r\nSM\r\n\r\n",
}

func manyFields(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "X-Field-%d: value %d\r\n", i, i)
	}
	return text.String()
}

// readBoth reads input once by plainRequest and once by net/http, and compares all of it with its body and what is left behind it. It
// returns how many bytes the request has with its body, or false when it is not plain.
func readBoth(t *testing.T, input []byte, size int) (int, bool) {
	t.Helper()
	ours, theirs := bufio.NewReaderSize(bytes.NewReader(input), size), bufio.NewReaderSize(bytes.NewReader(input), size)
	_, _ = ours.Peek(1) // as the connection waits for its next request
	var q plainRequest
	if !q.read(ours, nil) {
		if rest, _ := io.ReadAll(ours); !bytes.Equal(rest, input) {
			t.Fatalf("what is not plain was touched: %q is left of %q", rest, input)
		}
		return 0, false
	}
	want, err := http.ReadRequest(theirs)
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", input, err)
	}
	if want.ContentLength < 0 || want.TransferEncoding != nil || want.Close {
		t.Fatalf("%q is not plain", input)
	}
	if q.ContentLength > 0 {
		q.Body = io.NopCloser(&sizedReader{ours, q.ContentLength})
	}
	text, err := io.ReadAll(q.Body)
	wantText, wantErr := io.ReadAll(want.Body)
	if !bytes.Equal(text, wantText) || !errors.Is(err, wantErr) {
		t.Fatalf("%q: body %q, %v; want %q, %v", input, text, err, wantText, wantErr)
	}
	if q.ContentLength == 0 && q.Body != want.Body {
		t.Fatalf("%q: a body where none is", input)
	}
	q.Body, want.Body = nil, nil
	if !reflect.DeepEqual(&q.Request, want) {
		t.Fatalf("%q:\n got %#v\nwant %#v\n got %#v\nwant %#v", input, q.Request, *want, *q.URL, *want.URL)
	}
	left, _ := io.ReadAll(ours)
	wantLeft, _ := io.ReadAll(theirs)
	if !bytes.Equal(left, wantLeft) {
		t.Fatalf("after %q is left %q; want %q", input, left, wantLeft)
	}
	if err != nil {
		return 0, false // the body is not whole
	}
	return len(input) - len(left), true
}

func TestPlainRequests(t *testing.T) {
	for name, text := range plainRequests {
		t.Run(name, func(t *testing.T) {
			if n, ok := readBoth(t, []byte(text), readBytes); !ok && name != "half a body" {
				t.Fatalf("%q is left to net/http", text)
			} else if ok && !guardEnds([]byte(text[:n])) {
				t.Errorf("the guard finds another end of %q", text[:n])
			}
			_, _ = readBoth(t, []byte(text), 16) // does not fit
		})
	}
}

func TestOtherRequestsAreLeftToNetHTTP(t *testing.T) {
	for name, text := range otherRequests {
		t.Run(name, func(t *testing.T) {
			if _, ok := readBoth(t, []byte(text), readBytes); ok {
				t.Fatalf("%q is taken for plain", text)
			}
		})
	}
}

// A request that has not come whole is net/http's too, which waits for the rest of it.
func TestPartsOfPlainRequests(t *testing.T) {
	text := plainRequests["many fields"]
	for n := range len(text) {
		if _, ok := readBoth(t, []byte(text[:n]), readBytes); ok {
			t.Fatalf("%q is taken for whole", text[:n])
		}
	}
}

func TestCanonicalNames(t *testing.T) {
	for name := range commonNames {
		if canonical := http.CanonicalHeaderKey(name); canonical != name {
			t.Errorf("%s is %s", name, canonical)
		}
		if got := canonicalName(strings.ToLower(name)); got != name {
			t.Errorf("%s became %s", name, got)
		}
	}
}

// guardEnds reports whether the guard takes text for whole requests.
func guardEnds(text []byte) bool {
	g := guard{mostHead: headerBytes, mostTarget: urlBytes}
	n, word := g.pass(text)
	return n == len(text) && word == "" && len(g.line) == 0 && (g.state == atRequestLine || g.state == atNothing)
}

// FuzzPlainRequest compares with net/http, which must make the same of every request that is plain, and with the guard, which must find
// the same end of those that it lets through. Nothing that it has looked at is needed for that: the input goes past it.
func FuzzPlainRequest(f *testing.F) {
	for _, requests := range []map[string]string{plainRequests, otherRequests} {
		for _, text := range requests {
			f.Add([]byte(text))
		}
	}
	for _, c := range unclearRequests {
		if len(c.text) < readBytes {
			f.Add([]byte(c.text))
		}
	}
	f.Add([]byte(clearRequests))
	f.Fuzz(func(t *testing.T, input []byte) {
		n, ok := readBoth(t, input, readBytes)
		if !ok {
			return
		}
		g := guard{mostHead: headerBytes, mostTarget: urlBytes}
		if _, word := g.pass(input[:n]); word == "" && !guardEnds(input[:n]) {
			t.Fatalf("the guard finds another end of %q", input[:n])
		}
	})
}

// BenchmarkReadRequest reads a small request with and without net/http, by turns.
func BenchmarkReadRequest(b *testing.B) {
	for name, text := range map[string]string{"small": smallRequest, "browser": browserRequest} {
		for _, plain := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/plain=%t", name, plain), func(b *testing.B) {
				source := strings.NewReader(text)
				r := bufio.NewReaderSize(source, readBytes)
				var copied *http.Request
				b.ReportAllocs()
				for b.Loop() {
					source.Reset(text)
					r.Reset(source)
					_, _ = r.Peek(1)
					if plain {
						if q := new(plainRequest); !q.read(r, nil) {
							b.Fatal("not plain")
						}
					} else if q, err := http.ReadRequest(r); err != nil {
						b.Fatal(err)
					} else {
						copied = q.WithContext(b.Context()) // which a plain request does without
					}
				}
				runtime.KeepAlive(copied)
			})
		}
	}
}

const browserRequest = "GET /run/private/items/1?q=2 HTTP/1.1\r\nHost: api.example.org\r\nConnection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"X-API-Key: " + testKey + "\r\nAccept: application/json\r\nOrigin: https://example.org\r\nSec-Fetch-Site: same-site\r\n" +
	"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://example.org/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\n\r\n"
