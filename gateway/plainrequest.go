package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

const fewFields = 16 // whose values take no allocation of their own; more would make an http1Response take more memory

// plainRequest is a request of the form that nearly all have, with all that it points to but its text, so that it is a part of whatever
// lives so long. The zero value is ready, once.
type plainRequest struct {
	http.Request
	url    url.URL
	fields http.Header // empty; nil: it is made
	values [fewFields]string
}

// emptied are the fields, for the next request; nil when they have become many.
func (q *plainRequest) emptied() http.Header {
	if len(q.fields) > fewFields {
		return nil
	}
	clear(q.fields)
	return q.fields
}

// read takes the next request from r, if all of its head is in r's buffer and has the plain form, and makes of it what
// http.ReadRequest would, but for the Body that follows: where ContentLength is above 0, that is the caller's to set. Otherwise it
// returns false, r is as it was, and the request is of no use: http.ReadRequest has to read it.
//
// Plain is HTTP/1.1 in the characters and the line ends of RFC 9112, for a path without escapes, with a Host, no field twice, and a body
// that has a length or is none. Nothing that net/http repairs, guesses or refuses is plain. The head is one string, which lives as long as
// any part of it. names gets those of the fields; it may be nil.
func (q *plainRequest) read(r *bufio.Reader, names *fieldOrder) bool {
	buffered, _ := r.Peek(r.Buffered()) // no more than there is: no error
	size, lines := headSize(buffered)
	if lines < 2 {
		return false
	}
	head := string(buffered[:size])
	fields, ok := q.line(head)
	if !ok || !q.header(fields, lines-1, names) {
		return false
	}
	_, _ = r.Discard(size + len("\r\n")) // as above
	return true
}

// headSize returns how many bytes of p are before the first empty line, and in how many lines; none when there is no such line, or one
// before it does not end with CRLF.
func headSize(p []byte) (size, lines int) {
	for {
		end := bytes.IndexByte(p[size:], '\n')
		switch {
		case end < 1 || p[size+end-1] != '\r':
			return 0, 0
		case end == 1:
			return size, lines
		}
		size, lines = size+end+1, lines+1
	}
}

// line reads the request line, and returns what follows it.
func (q *plainRequest) line(text string) (rest string, ok bool) {
	method, rest, ok1 := strings.Cut(text, " ")
	target, rest, ok2 := strings.Cut(rest, " ")
	rest, ok3 := strings.CutPrefix(rest, "HTTP/1.1\r\n")
	if !ok1 || !ok2 || !ok3 || !isToken(method) || method == http.MethodConnect || !q.target(target) {
		return "", false
	}
	q.Method, q.RequestURI, q.URL = method, target, &q.url
	q.Proto, q.ProtoMajor, q.ProtoMinor = "HTTP/1.1", 1, 1
	return rest, true
}

// target reads an absolute path and a query, which is not looked into.
func (q *plainRequest) target(text string) bool {
	path, query, asked := strings.Cut(text, "?")
	if !strings.HasPrefix(path, "/") || !isLiteral(path) || query != "" && !isTarget(query) {
		return false
	}
	q.url.Path, q.url.RawQuery, q.url.ForceQuery = path, query, asked && query == ""
	return true
}

// literalBytes are the characters that stand for themselves in a url.URL's Path and are never escaped there: with one of the others it has a
// RawPath too.
var literalBytes = func() (set [256]bool) {
	for _, c := range []byte("/-._~$&+,:;=@0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()

func isLiteral(s string) bool {
	for i := range len(s) {
		if !literalBytes[s[i]] {
			return false
		}
	}
	return true
}

// header reads so many lines at the most, which should all end with CRLF.
func (q *plainRequest) header(text string, most int, names *fieldOrder) bool {
	values := q.values[:]
	if most > len(values) {
		values = make([]string, most)
	}
	if q.fields == nil {
		q.fields = make(http.Header, most)
	}
	h := q.fields
	q.Header, q.Body = h, http.NoBody
	host := false
	for text != "" {
		name, value, rest, ok := cutField(text)
		if !ok {
			return false
		}
		text = rest
		switch name {
		case "Host":
			if host {
				return false
			}
			host, q.Host = true, value
			continue
		case "Content-Length":
			if q.ContentLength, ok = parseLength(value); !ok {
				return false
			}
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") && !strings.EqualFold(value, "upgrade") && !strings.EqualFold(value, "keep-alive, upgrade") {
				return false
			}
		case "Transfer-Encoding", "Trailer", "Pragma": // net/http moves or adds fields for them
			return false
		}
		known := len(h)
		values[0] = value
		h[name], values = values[:1:1], values[1:]
		if len(h) == known { // it was there
			return false
		}
		names.add(name)
	}
	return host
}

// cutField cuts the first line off text, and that into a canonical name and a value without the white space around it.
func cutField(text string) (name, value, rest string, ok bool) {
	colon, wrong, other := 0, isLower, noByte
	for ; colon < len(text); colon++ {
		kind := nameBytes[text[colon]]
		if kind == noByte {
			break
		}
		other |= kind & wrong
		if wrong = isUpper; kind == isHyphen {
			wrong = isLower
		}
	}
	if colon == 0 || colon == len(text) || text[colon] != ':' {
		return "", "", "", false
	}
	name, rest = text[:colon], text[colon+1:]
	end := strings.IndexByte(rest, '\n')
	if end < 1 || rest[end-1] != '\r' || !isFieldValue(rest[:end-1]) {
		return "", "", "", false
	}
	value, rest = trimSpace(rest[:end-1]), rest[end+1:]
	if other != noByte {
		name = canonicalName(name)
	}
	return name, value, rest, true
}

// nameByte is what a character is to a name: in a canonical one, a letter is upper case at the beginning and behind a hyphen, and lower
// case elsewhere.
type nameByte uint8

const (
	noByte nameByte = 0 // of a token
	isByte nameByte = 1 << (iota - 1)
	isLower
	isUpper
	isHyphen
)

var nameBytes = func() (kinds [256]nameByte) {
	for c, ok := range tokenBytes {
		switch {
		case !ok:
		case 'a' <= c && c <= 'z':
			kinds[c] = isLower
		case 'A' <= c && c <= 'Z':
			kinds[c] = isUpper
		case c == '-':
			kinds[c] = isHyphen
		default:
			kinds[c] = isByte
		}
	}
	return kinds
}()

// commonNames are the fields that consumers spell in another way than the canonical one, HTTP/2's lower case most of the time.
var commonNames = func() map[string]string {
	names := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Disposition",
		"Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Date", "Dnt", "Expect", "Forwarded", "Host", "If-Modified-Since",
		"If-None-Match", "Origin", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest",
		"Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol",
		"Sec-Websocket-Version", "Te", "Traceparent", "Tracestate", "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests",
		"User-Agent", "Via", "X-Api-Key", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip",
		"X-Request-Id", "X-Requested-With",
	} {
		names[name] = name
	}
	return names
}()

// canonicalizeToken gives the token that b begins with its canonical form, and returns how long it is.
func canonicalizeToken(b []byte) (n int) {
	wrong := isLower
	for ; n < len(b); n++ {
		kind := nameBytes[b[n]]
		if kind == noByte {
			break
		}
		if kind&wrong != noByte {
			b[n] ^= 'a' - 'A'
		}
		if wrong = isUpper; kind == isHyphen {
			wrong = isLower
		}
	}
	return n
}

// canonicalName is the canonical form of a token. That of a common one takes no allocation.
func canonicalName(token string) string {
	var room [32]byte
	if len(token) > len(room) {
		return textproto.CanonicalMIMEHeaderKey(token)
	}
	name := room[:copy(room[:], token)]
	canonicalizeToken(name)
	if common, ok := commonNames[string(name)]; ok {
		return common
	}
	return string(name)
}
