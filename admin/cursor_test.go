package admin

import (
	"slices"
	"testing"
)

// FuzzCursor has any text be read; what is read is what was written.
func FuzzCursor(f *testing.F) {
	f.Add(cursor{"apis", []string{"hello"}}.text())
	f.Add(cursor{"keys", []string{"1", "key_1"}}.text())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		for parts := range 3 {
			after, err := parseCursor(text, "apis", parts)
			if err == nil && (len(after) != parts || cursor{"apis", after}.text() != text) {
				t.Errorf("%q reads as %q", text, after)
			}
		}
		if after, err := parseCursor(cursor{"apis", []string{text}}.text(), "apis", 1); err == nil && len(text) < 100 && !slices.Equal(after, []string{text}) {
			if (cursor{"apis", after}).text() != (cursor{"apis", []string{text}}).text() {
				t.Errorf("%q comes back as %q", text, after)
			}
		}
	})
}
