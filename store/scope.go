package store

import (
	"fmt"
	"strings"
)

// Scope is a set of requests that a key may be used for: a method, and paths.
type Scope struct {
	method   string // "*": any
	segments []string
}

// The segments of a pattern that are no text.
const (
	anySegment = "*"  // one segment, not an empty one
	anyRest    = "**" // at the end: one segment or more, of which the last may be empty
)

// ParseScope reads "GET /items/*": a method or *, a space, and a path below the API's address as it is sent, byte for byte. In
// place of a segment, * stands for any one, and at the end ** for any further ones. Its error names the text and says what to
// write.
func ParseScope(text string) (Scope, error) {
	method, path, found := strings.Cut(text, " ")
	wrong := func(why string) (Scope, error) {
		return Scope{}, fmt.Errorf(`%q %s: write for example "GET /items/*", "* /reports/**" or "POST /"`, text, why)
	}
	switch {
	case !found:
		return wrong("has no space between a method and a path")
	case method != "*" && !isMethod(method):
		return wrong("begins with no method in capital letters, or *")
	case !strings.HasPrefix(path, "/"):
		return wrong("has a path that does not begin with a slash")
	case strings.Contains(path, "?"):
		return wrong("has a query, which nothing is compared with")
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == anySegment, s == anyRest && last, s == "" && last:
		case s == anyRest:
			return wrong("has ** before its end")
		case strings.Contains(s, "*"):
			return wrong("has * beside other text in a segment of its path")
		case !plainSegment(s):
			return wrong("has a path that can be read in more than one way")
		}
	}
	return Scope{method, segments}, nil
}

// Allows reports whether a request is in s, by its method and its path as it was sent, without the query. A path that
// anybody behind could read in another way than it stands there is in no scope: with empty segments or dot segments, with
// bytes that belong encoded, or with an encoded slash, backslash, dot, percent, question or number sign, or control
// character (RFC 3986, 2.4 and 6.2.2).
func (s Scope) Allows(method, path string) bool {
	if s.method != "*" && s.method != method || !strings.HasPrefix(path, "/") {
		return false
	}
	rest, more := path[1:], true
	for _, want := range s.segments {
		if !more {
			return false
		}
		if want == anyRest {
			return plainPath(rest)
		}
		var got string
		got, rest, more = strings.Cut(rest, "/")
		if want != anySegment && got != want || want == anySegment && !plainSegment(got) {
			return false
		}
	}
	return !more
}

// plainPath reports whether every segment is plain; the last one may be empty.
func plainPath(path string) bool {
	for more := true; more; {
		var s string
		s, path, more = strings.Cut(path, "/")
		if !plainSegment(s) && (s != "" || more) {
			return false
		}
	}
	return true
}

// plainSegment reports whether s can only be read in one way, see Scope.Allows.
func plainSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !plainByte(unhex(s[i+1]), unhex(s[i+2])) {
				return false
			}
			i += 2
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-._~!$&'()*+,;=:@", c) < 0: // RFC 3986, 3.3
			return false
		}
	}
	return true
}

// plainByte reports whether a byte, given by its two digits, may be written encoded.
func plainByte(high, low int) bool {
	c := high<<4 | low
	return high >= 0 && low >= 0 && c > ' '-1 && c != 0x7f && strings.IndexByte(`/\.%?#`, byte(c)) < 0
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1 << 8
}

// isMethod knows names of methods in capital letters: methods are told apart by case (RFC 9110, 9.1), and none in use has others.
func isMethod(s string) bool {
	for i := range len(s) {
		if (s[i] < 'A' || s[i] > 'Z') && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
