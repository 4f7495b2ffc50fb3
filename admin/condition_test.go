package admin

import (
	"slices"
	"strings"
	"testing"
)

// FuzzTags puts a tag before and after any text: where the list can be read, both are in it.
func FuzzTags(f *testing.F) {
	for _, text := range []string{"", `"a"`, `W/"a", "b"`, `"a" "b"`, `"`, ",,", `"a",`, "*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tags, err := parseTags(`"first", ` + text + `, "last"`)
		if err != nil {
			return
		}
		if tags[0] != `"first"` || tags[len(tags)-1] != `"last"` && !strings.Contains(text, `"`) || slices.Contains(tags, "") {
			t.Errorf("%q reads as %q", text, tags)
		}
	})
}
