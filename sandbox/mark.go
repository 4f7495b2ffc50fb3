package sandbox

import "strings"

// The runner puts a mark before what is printed while a request is answered or a record is logged: which request, and the
// record's level. A program can write marks itself, and so claim what it likes of its own lines; of others' it has none.
//
//	\x1e [request id] ; [letter of a level] \x1f
const (
	markBegin = '\x1e'
	markEnd   = '\x1f'

	requestIDLength = 36
	longestMark     = 1 + requestIDLength + 1 + 1 + 1
)

var markLevels = map[byte]string{'d': LevelDebug, 'i': LevelInfo, 'w': LevelWarning, 'e': LevelError, 'c': LevelCritical}

// mark is what the runner says of a line. Both may be empty.
type mark struct{ request, level string }

// takeMarks returns text without its marks, and what the first of each kind says.
func takeMarks(text string) (string, mark) {
	var found mark
	at := strings.IndexByte(text, markBegin)
	if at < 0 {
		return text, found
	}
	var clean strings.Builder
	for at >= 0 {
		m, length := readMark(text[at:])
		if length == 0 { // the program's own character
			clean.WriteString(text[:at+1])
			text = text[at+1:]
		} else {
			clean.WriteString(text[:at])
			text = text[at+length:]
			if found.request == "" {
				found.request = m.request
			}
			if found.level == "" {
				found.level = m.level
			}
		}
		at = strings.IndexByte(text, markBegin)
	}
	clean.WriteString(text)
	return clean.String(), found
}

// readMark reads the mark that text begins with. Its length is 0 when there is none.
func readMark(text string) (m mark, length int) {
	end := strings.IndexByte(text[:min(len(text), longestMark)], markEnd)
	if end < 0 {
		return mark{}, 0
	}
	request, level, found := strings.Cut(text[1:end], ";")
	if !found || len(level) > 1 || request != "" && !isRequestID(request) {
		return mark{}, 0
	}
	m.request = request
	if level != "" {
		if m.level = markLevels[level[0]]; m.level == "" {
			return mark{}, 0
		}
	}
	return m, end + 1
}

// isRequestID reports whether text has the form of a UUID, as the gateway's request ids have (RFC 9562, 4).
func isRequestID(text string) bool {
	if len(text) != requestIDLength {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
