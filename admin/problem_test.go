package admin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"apibuilder/sandbox"
)

// TestEveryReasonIsAProblem reads the reasons from where they are declared: one that is not in the table would be told as internal.
// How one-off code ends is no problem but what it was run for.
func TestEveryReasonIsAProblem(t *testing.T) {
	words := problemWords()
	for _, c := range slices.Concat(constants(t, "../sandbox/exit.go", ""), constants(t, "../python-env/builderror.go", "Reason")) {
		ofTask := c.value == string(sandbox.TimeLimit) || c.value == string(sandbox.Finished)
		if !ofTask && !slices.Contains(words, c.value) {
			t.Errorf("%q is neither one of kinds nor one of deploy.Failures", c.value)
		}
	}
}

// TestEveryErrorIsInTheTable looks for the words of request errors in this package's code.
func TestEveryErrorIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if name, ok := n.Type.(*ast.Ident); ok && name.Name == "requestError" {
					found++
					checkWord(t, file, n.Elts[0])
				}
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "newProblem" {
					found++
					checkWord(t, file, n.Args[0])
				}
				if at, ok := n.Fun.(*ast.SelectorExpr); ok && at.Sel.Name == "Error" {
					if pkg, ok := at.X.(*ast.Ident); ok && pkg.Name == "http" {
						t.Errorf("%s answers with http.Error, which is no problem", file)
					}
				}
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("only %d errors were found: has requestError another name?", found)
	}
}

func checkWord(t *testing.T, file string, word ast.Expr) {
	t.Helper()
	if text, ok := word.(*ast.BasicLit); ok {
		value, err := strconv.Unquote(text.Value)
		if err != nil || kinds[value].status == 0 {
			t.Errorf("%s: %s is not in the table of problems", file, text.Value)
		}
	}
}
