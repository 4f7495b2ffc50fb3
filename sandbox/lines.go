package sandbox

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxLine is the most bytes of one line that are kept together; a longer line is cut into several.
const MaxLine = 8 << 10

// splitter cuts a stream of bytes into lines of at most MaxLine bytes.
type splitter struct {
	emit    func(text string, more bool) // more: the line was cut, and goes on in the next
	pending []byte
}

func (s *splitter) write(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		if room := MaxLine - len(s.pending); len(part) > room {
			s.pending = append(s.pending, part[:room]...)
			s.cut()
			p = p[room:]
			continue
		}
		s.pending = append(s.pending, part...)
		p = p[len(part):]
		if end >= 0 {
			p = p[1:]
			s.line(len(s.pending), false)
		}
	}
}

// cut emits a full line, but keeps back a character whose last bytes are still to come.
func (s *splitter) cut() {
	keep := 0
	for i := 1; i < utf8.UTFMax && i <= len(s.pending); i++ {
		if c := s.pending[len(s.pending)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(s.pending[len(s.pending)-i:]) {
				keep = i
			}
			break
		}
	}
	s.line(len(s.pending)-keep, true)
}

func (s *splitter) line(n int, more bool) {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(s.pending[:n]), "\r"), "\uFFFD")
	s.pending = append(s.pending[:0], s.pending[n:]...)
	s.emit(text, more)
}

func (s *splitter) flush() {
	if len(s.pending) > 0 {
		s.line(len(s.pending), false)
	}
}

// drop forgets what is pending and returns how many bytes it was.
func (s *splitter) drop() int {
	n := len(s.pending)
	s.pending = s.pending[:0]
	return n
}

// tail keeps the last lines of a program's output within a number of bytes.
type tail struct {
	lines []string
	bytes int
}

const (
	tailBytes = 16 << 10
	lineBytes = 8 // that a line counts for besides its text: its line feed, and a part of what holds it
)

func (t *tail) add(text string) {
	t.lines = append(t.lines, text)
	t.bytes += len(text) + lineBytes
	drop := 0
	for t.bytes > tailBytes && drop < len(t.lines)-1 {
		t.bytes -= len(t.lines[drop]) + lineBytes
		drop++
	}
	t.lines = slices.Delete(t.lines, 0, drop) // which forgets their text too
}

func (t *tail) String() string { return strings.Join(t.lines, "\n") }
