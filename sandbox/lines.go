package sandbox

import (
	"bytes"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxLine is the most bytes of one line that are kept together; a longer line is cut into several.
const MaxLine = 8 << 10

// Output beyond this rate is not read until its time has come, so a program that floods its log waits for itself and
// costs the host nothing.
const (
	outputBytesPerSecond = 1 << 20
	outputBurst          = 4 << 20
)

// ReadLines reads r to its end and passes on its lines, each with the time at which it was complete. Bytes that are not
// UTF-8 are replaced. r is hostile: memory is bounded by MaxLine, the rate by a budget.
func ReadLines(r io.Reader, stream string, output func(Line)) {
	s := splitter{emit: func(text string) { output(Line{Time: time.Now().UTC(), Stream: stream, Text: text}) }}
	budget := budget{tokens: outputBurst, last: time.Now()}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		s.write(buf[:n])
		if err != nil {
			s.flush()
			return
		}
		budget.wait(n)
	}
}

// splitter cuts a stream of bytes into lines of at most MaxLine bytes.
type splitter struct {
	emit    func(string)
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
			s.line(len(s.pending))
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
	s.line(len(s.pending) - keep)
}

func (s *splitter) line(n int) {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(s.pending[:n]), "\r"), "\uFFFD")
	s.pending = append(s.pending[:0], s.pending[n:]...)
	s.emit(text)
}

func (s *splitter) flush() {
	if len(s.pending) > 0 {
		s.line(len(s.pending))
	}
}

// budget is a token bucket that makes its caller wait.
type budget struct {
	tokens float64
	last   time.Time
}

func (b *budget) wait(n int) {
	now := time.Now()
	b.tokens = min(outputBurst, b.tokens+now.Sub(b.last).Seconds()*outputBytesPerSecond) - float64(n)
	b.last = now
	if b.tokens < 0 {
		time.Sleep(time.Duration(-b.tokens / outputBytesPerSecond * float64(time.Second)))
	}
}

// tail keeps the last lines of a program's output within a number of bytes.
type tail struct {
	lines []string
	bytes int
}

const tailBytes = 16 << 10

func (t *tail) add(text string) {
	t.lines = append(t.lines, text)
	t.bytes += len(text) + 1
	drop := 0
	for t.bytes > tailBytes && drop < len(t.lines)-1 {
		t.bytes -= len(t.lines[drop]) + 1
		drop++
	}
	t.lines = append(t.lines[:0], t.lines[drop:]...)
}

func (t *tail) String() string { return strings.Join(t.lines, "\n") }
