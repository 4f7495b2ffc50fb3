package gateway

import (
	"strings"
	"testing"
)

func TestLastText(t *testing.T) {
	var l lastText[int]
	found := 0
	find := func(text string) int { found++; return len(text) }
	for _, c := range []struct {
		text  string
		found int // so far
	}{{"", 1}, {"", 1}, {"a", 2}, {"a", 2}, {"bb", 3}, {"a", 4}, {strings.Repeat("a", longestKept+1), 5}, {strings.Repeat("a", longestKept+1), 6}, {"a", 6}} {
		if got := l.value(c.text, find); got != len(c.text) || found != c.found {
			t.Errorf("%.10q: %d, found %d times, want %d times", c.text, got, found, c.found)
		}
	}
	l.forget()
	if got := l.value("a", find); got != 1 || found != 7 {
		t.Errorf("what was forgotten was found %d times, want 7", found)
	}
}
