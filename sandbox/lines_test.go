package sandbox

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func split(chunks ...string) []string {
	var lines []string
	s := splitter{emit: func(text string, _ bool) { lines = append(lines, text) }}
	for _, c := range chunks {
		s.write([]byte(c))
	}
	s.flush()
	return lines
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for name, c := range map[string]struct{ in, want []string }{
		"nothing":             {nil, nil},
		"lines":               {[]string{"a\nb\n"}, []string{"a", "b"}},
		"in pieces":           {[]string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		"no line feed at end": {[]string{"a\nb"}, []string{"a", "b"}},
		"empty lines":         {[]string{"\n\n"}, []string{"", ""}},
		"carriage return":     {[]string{"a\r\n"}, []string{"a"}},
		"not UTF-8":           {[]string{"a\xffb\n"}, []string{"a\uFFFDb"}},
		"just long enough":    {[]string{long + "\n"}, []string{long}},
		"too long":            {[]string{long + "y\n"}, []string{long, "y"}},
		"cut in a character":  {[]string{long[1:] + "é\n"}, []string{long[1:], "é"}},
		"character in pieces": {[]string{"\xc3", "\xa9\n"}, []string{"é"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := split(c.in...); strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Add([]byte(strings.Repeat("é", MaxLine)), 7)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step <= 0 {
			step = 1
		}
		var whole []string
		s := splitter{emit: func(text string, _ bool) { whole = append(whole, text) }}
		for rest := data; len(rest) > 0; {
			n := min(step, len(rest))
			s.write(rest[:n])
			if len(s.pending) > MaxLine {
				t.Fatalf("%d bytes are held", len(s.pending))
			}
			rest = rest[n:]
		}
		s.flush()
		if once := split(string(data)); strings.Join(once, "\n") != strings.Join(whole, "\n") {
			t.Errorf("in pieces %q, at once %q", whole, once)
		}
		for _, line := range whole {
			if !utf8.ValidString(line) || len(line) > 3*MaxLine || strings.Contains(line, "\n") {
				t.Errorf("line %q", line)
			}
		}
	})
}

func TestTailIsBounded(t *testing.T) {
	var tl tail
	for range 100_000 {
		tl.add("some line")
	}
	if n := len(tl.String()); n > tailBytes || n < tailBytes/2 {
		t.Errorf("%d bytes are kept", n)
	}
	tl.add(strings.Repeat("x", 2*tailBytes))
	if len(tl.lines) != 1 {
		t.Errorf("%d lines beside one that is too long", len(tl.lines))
	}
}

func TestATailOfEmptyLinesIsSmall(t *testing.T) {
	var tl tail
	for range 10 * tailBytes {
		tl.add("")
	}
	if n := cap(tl.lines); n > tailBytes/4 {
		t.Errorf("room for %d lines", n)
	}
}

// The lines before the last ones are let go, wherever in the slice they were.
func TestATailHoldsNoMoreThanItsBound(t *testing.T) {
	var tl tail
	long := strings.Repeat("x", MaxLine)
	for room := tailBytes/lineBytes - 8; room > tailBytes/lineBytes/2; room-- {
		for len(tl.lines) != room {
			tl.add("")
		}
		tl.add(long)
	}
	held := 0
	for _, line := range tl.lines[:cap(tl.lines)] {
		held += len(line)
	}
	if held > tailBytes {
		t.Errorf("%d bytes are held for %d", held, tl.bytes)
	}
}
