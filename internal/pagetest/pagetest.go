// Package pagetest keeps pages of the documentation whose end is made from the code. It is imported by tests only.
package pagetest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the pages of the documentation that are made from the code")

// EndsWith checks that the page at path, from where it first says mark to its end, is made; made begins with mark. With -update
// it writes that instead.
func EndsWith(t *testing.T, path, mark, made string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(page), mark)
	if !ok || !strings.HasPrefix(made, mark) {
		t.Fatalf("%s has no %q", path, mark)
	}
	switch want := head + made; {
	case string(page) == want:
	case *update:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the code says: go test -run '^%s$' -update, in this package", path, t.Name())
	}
}
