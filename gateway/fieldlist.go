package gateway

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

const mostProgramFields = 1000 // of one response

// field is one line of a header.
type field struct{ name, value string }

// fieldList is the header of an answer: its fields in their order, with canonical names, and none that cannot be sent. In an
// http.Header, what is done to them on their way from a program to a consumer costs more than twice as much, and the order of different
// names is lost. The zero value is empty; it must not be copied, and is for one goroutine.
type fieldList struct {
	list []field
	room [16]field // for nearly all there are
}

func (l *fieldList) clear() { l.list = l.room[:0] }

// add adds a field, unless it cannot be sent: a name must be a token, and a value has no control character.
func (l *fieldList) add(name, value string) {
	if isToken(name) && isFieldValue(value) {
		l.append(name, value)
	}
}

// append adds a field that can be sent.
func (l *fieldList) append(name, value string) {
	if l.list == nil {
		l.clear()
	}
	l.list = append(l.list, field{name, value})
}

// get returns the first value; empty when there is none.
func (l *fieldList) get(name string) string {
	value, _ := l.count(name)
	return value
}

func (l *fieldList) has(name string) bool {
	_, n := l.count(name)
	return n > 0
}

// count returns the first value, and how many there are.
func (l *fieldList) count(name string) (first string, n int) {
	for i := range l.list {
		if l.list[i].name != name {
			continue
		}
		if n == 0 {
			first = l.list[i].value
		}
		n++
	}
	return first, n
}

// values returns all of a name; nil when there is none.
func (l *fieldList) values(name string) (values []string) {
	for i := range l.list {
		if l.list[i].name == name {
			values = append(values, l.list[i].value)
		}
	}
	return values
}

// set has a name of the gateway's own stand once, where it stood first; not at all with a value that cannot be sent.
func (l *fieldList) set(name, value string) {
	if !isFieldValue(value) {
		l.remove(name)
		return
	}
	for i := range l.list {
		if l.list[i].name == name {
			l.list[i].value = value
			l.removeFrom(i+1, func(other string) bool { return other == name })
			return
		}
	}
	l.append(name, value)
}

func (l *fieldList) remove(name string) {
	l.removeAll(func(other string) bool { return other == name })
}

func (l *fieldList) removeAll(which func(name string) bool) { l.removeFrom(0, which) }

// removeFrom is removeAll for what is at a place or behind it.
func (l *fieldList) removeFrom(at int, which func(name string) bool) {
	rest := slices.DeleteFunc(l.list[at:], func(f field) bool { return which(f.name) })
	l.list = l.list[:at+len(rest)]
}

// size is how many bytes the names and values have.
func (l *fieldList) size() (n int) {
	for i := range l.list {
		n += len(l.list[i].name) + len(l.list[i].value)
	}
	return n
}

// addTo adds all of l to h.
func (l *fieldList) addTo(h http.Header) {
	for _, f := range l.list {
		h[f.name] = append(h[f.name], f.value)
	}
}

// appendTo appends the lines of the fields.
func (l *fieldList) appendTo(b []byte) []byte {
	for i := range l.list {
		b = l.list[i].appendTo(b)
	}
	return b
}

func (f *field) appendTo(b []byte) []byte {
	return append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
}

// parse makes l what lines say, which all end with CRLF. It changes lines. A line that RFC 9112 does not allow is an errMalformed.
func (l *fieldList) parse(lines []byte) error {
	l.clear()
	var text strings.Builder // one allocation for all of them
	text.Grow(len(lines))
	for len(lines) > 0 {
		colon, end := canonicalizeToken(lines), bytes.IndexByte(lines, '\n')+1
		line, ok := bytes.CutSuffix(lines[:end], []byte("\r\n"))
		switch {
		case len(l.list) == mostProgramFields:
			return malformed("more than %d fields", mostProgramFields)
		case !ok || colon == 0 || colon >= len(line) || line[colon] != ':' || !isFieldValue(line[colon:]):
			return malformed("field %.40q", line)
		}
		begin := text.Len()
		_, _ = text.Write(line)
		whole := text.String()[begin:]
		l.append(whole[:colon], trimSpace(whole[colon+1:]))
		lines = lines[end:]
	}
	return nil
}
