package admin

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/internal/pagetest"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// TestProblemReference keeps docs/management-problems.md; run it with -update after a change of what can go wrong.
func TestProblemReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("## Of a request\n\n| status | type | |\n|---|---|---|\n")
	words := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		if d := kinds[a].status - kinds[b].status; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, word := range words {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", kinds[word].status, word, kinds[word].title)
	}
	b.WriteString("\n## Of a build\nAll with status 422.\n\n| type | |\n|---|---|\n")
	for _, c := range constants(t, "../python-env/builderror.go", "Reason") {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, c.comment)
	}
	b.WriteString("\n## Of a program that does not start\nAll with status 422, unless they are above.\n\n| type | is told as | remedy |\n|---|---|---|\n")
	for _, c := range constants(t, "../sandbox/exit.go", "") {
		e := deploy.ExplainExit(&sandbox.Exit{Reason: sandbox.Reason(c.value), Code: 1}, store.Limits{})
		message := strings.NewReplacer(" of 0", "", "the program is not well: ", "the program is not well").Replace(e.Message)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.value, message, e.Remedy)
	}
	pagetest.EndsWith(t, "../docs/management-problems.md", "## Of a request\n", b.String())
}

type constant struct{ value, comment string }

// constants are the texts that a file names, with what it says of each beside it.
func constants(t *testing.T, path, prefix string) []constant {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var all []constant
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, constant{value, strings.TrimSpace(spec.Comment.Text())})
		}
		return true
	})
	if len(all) == 0 {
		t.Fatalf("%s names nothing", path)
	}
	return all
}
