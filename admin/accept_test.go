package admin

import (
	"strings"
	"testing"
)

// FuzzAccept adds the type itself to any header that does not name it: what it says of the type counts.
func FuzzAccept(f *testing.F) {
	const kind = "application/json"
	for _, text := range []string{"", "*/*", "text/json;q=0.5, text/*", "a/b;q=", ";;,,", `text/x; x="`, "*/*;q=0", "application/*;q=2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), kind) {
			return
		}
		if !accepts([]string{text, kind + ";q=0.5"}, kind) {
			t.Errorf("%q hides the type", text)
		}
		if accepts([]string{text, kind + ";q=0"}, kind) {
			t.Errorf("%q allows what is excluded", text)
		}
	})
}
