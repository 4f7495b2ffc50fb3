package cli

import (
	"bytes"
	"strings"
	"testing"
	"text/tabwriter"
)

func TestPrintableLeavesNothingThatATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 日本\tx\n":   "plain äöü 日本\tx\n",
		"\x1b[2J\x07\r":       `\x1b[2J\x07\x0d`,
		"\u009b31m\x7f\x00":   `\x9b31m\x7f\x00`,
		"a\u202eb\u2066c":     `a\u202eb\u2066c`,
		"line\u2028separator": `line\u2028separator`,
		"bad\xff":             "bad\xff",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, s string) {
		if got := printable(s); strings.ContainsFunc(got, dangerous) {
			t.Fatalf("%q becomes %q", s, got)
		}
	})
}

// A name from a program must not look like another row or column.
func TestRowStaysOneRow(t *testing.T) {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 8, 1, ' ', 0)
	row(w, "a\nb", "c\td\x1b")
	w.Flush()
	if got := out.String(); got != "a b c d\\x1b\n" {
		t.Fatalf("%q", got)
	}
}
