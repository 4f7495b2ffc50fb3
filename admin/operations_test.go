package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"apibuilder/internal/pagetest"
)

// TestEveryRouteIsDescribed compares the routes with the operations, both ways.
func TestEveryRouteIsDescribed(t *testing.T) {
	routes := (&Server{}).routes()
	for pattern := range routes {
		if operations[pattern].summary == "" {
			t.Errorf("%s is not described in operations.go", pattern)
		}
	}
	ids := map[string]string{}
	for pattern, op := range operations {
		if routes[pattern] == nil {
			t.Errorf("%s is described, and there is no such route", pattern)
		}
		if op.answer == nil {
			t.Errorf("%s has no answer", pattern)
		}
		if other := ids[operationID(pattern)]; other != "" {
			t.Errorf("%s and %s have one id", pattern, other)
		}
		ids[operationID(pattern)] = pattern
	}
	for _, table := range []map[string]bool{readerMay, authorMay, wideReaderMay} {
		for pattern := range table {
			if routes[pattern] == nil && pattern != "GET /metrics" {
				t.Errorf("a role may use %s, which there is not", pattern)
			}
		}
	}
}

// TestDocumentation keeps docs/management-api.md; run it with -update after a change of operations or roles.
func TestDocumentation(t *testing.T) {
	const mark = "| operation |"
	var b strings.Builder
	b.WriteString(mark + " for | does |\n|---|---|---|\n")
	keys := slices.SortedFunc(maps.Keys(operations), func(a, b string) int {
		_, pathA, _ := strings.Cut(a, " ")
		_, pathB, _ := strings.Cut(b, " ")
		return cmp.Or(strings.Compare(pathA, pathB), strings.Compare(a, b))
	})
	for _, pattern := range keys {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", pattern, strings.Join(roles(pattern), ", "), operations[pattern].summary)
	}
	pagetest.EndsWith(t, "../docs/management-api.md", mark, b.String())
}
