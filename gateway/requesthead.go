package gateway

import (
	"fmt"
	"net/http"
	"strconv"
)

// appendRequestHead appends the head of r. It sends nothing that could be read as more than it is: a method that is no
// token, a space or control character in the target, or a line end in a value is errUnsendable.
func appendRequestHead(b []byte, r *http.Request) ([]byte, error) {
	target := r.URL.Opaque
	if target == "" {
		target = r.URL.RequestURI()
	}
	if !isToken(r.Method) || !isTarget(target) {
		return b, fmt.Errorf("%w: method %.20q, target %.100q", errUnsendable, r.Method, target)
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\n"...)
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	b, err := appendField(b, "Host", host)
	if err == nil {
		b, err = appendFieldsOf(b, r)
	}
	if err != nil {
		return b, err
	}
	return append(appendFraming(b, r), "\r\n"...), nil
}

// appendFieldsOf appends the fields of r but the framing. The gateway's own requests have them written, and their Header says nothing.
func appendFieldsOf(b []byte, r *http.Request) (_ []byte, err error) {
	if c := tripOf(r.Context()); c != nil {
		return c.sender.appendHeader(b)
	}
	for name, values := range r.Header {
		if isFraming(name) {
			continue
		}
		for _, value := range values {
			if b, err = appendField(b, name, value); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

// isFraming knows the fields that RoundTrip writes itself.
func isFraming(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

func appendFraming(b []byte, r *http.Request) []byte {
	switch {
	case r.Body != nil && r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			b = append(append(append(b, "Trailer: "...), name...), "\r\n"...)
		}
	case r.Body != nil:
		b = strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	return b
}

func appendField(b []byte, name, value string) ([]byte, error) {
	if !isToken(name) || !isFieldValue(value) {
		return b, fmt.Errorf("%w: field %.100q", errUnsendable, name)
	}
	f := field{name, value}
	return f.appendTo(b), nil
}

// isTarget reports whether s can stand between the two spaces of a request line.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// tokenBytes are the characters of a token (RFC 9110, 5.6.2).
var tokenBytes = func() (set [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()

func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// trimSpace cuts the white space around a field's value (RFC 9110, 5.6.3).
func trimSpace[T string | []byte](s T) T {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// isFieldValue reports whether s has only the characters of a field value (RFC 9110, 5.5): no control but the tab. Every byte of a
// head is looked at four times on its way, so eight at a time.
func isFieldValue[T string | []byte](s T) bool {
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if mayHaveControl(x) && !isFieldText(s[:8]) {
			return false
		}
	}
	return isFieldText(s)
}

// mayHaveControl reports whether one of eight bytes is below the space, or 0x7f: a byte from which that much can be taken only with a
// borrow has its highest bit set by it, and had it not before.
func mayHaveControl(x uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	del := x ^ 0x7f*each
	return ((x-' '*each)&^x|(del-each)&^del)&high != 0
}

func isFieldText[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
