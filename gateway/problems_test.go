package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"apibuilder/internal/pagetest"
)

// TestProblemReference keeps docs/problems.md; run it with -update after a change of the table.
func TestProblemReference(t *testing.T) {
	const mark = "| status | type | title | |\n"
	words := slices.SortedFunc(maps.Keys(problems), func(a, b string) int {
		if d := problems[a].status - problems[b].status; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	b.WriteString(mark + "|---|---|---|---|\n")
	for _, word := range words {
		kind := problems[word]
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", kind.status, word, kind.title, strings.NewReplacer("{", "`{", "}", "}`").Replace(kind.detail))
	}
	pagetest.EndsWith(t, "../docs/problems.md", mark, b.String())
}
