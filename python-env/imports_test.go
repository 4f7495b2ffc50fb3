package pythonenv

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	code := "\ufeff" + `"""import nothing1
import nothing2
"""
import os, sys as system; import json
from a.b import (
    c,  # import nothing3
    d as e,
)
import x . y \
    , z
text = 'import nothing4' "it's" + f"{x['import nothing5']}" + r'\' + "\"import nothing6"
from . import sibling
from .relative import thing
try:
    import guarded
except ImportError: import fallback
else:
    pass
class C:
    import inclass
    async def f(self, x=lambda: 1):
        import lazy
        if x: from lazily import guarded2
import last
if (y := {1: 2}): import oneline
match = 1
import after_match
def g(): import lazy2; import lazy3
importlib.import_module("nothing7"); imports = 3
from star import *`
	want := []string{
		"os 4", "sys 4", "json 4", "a.b(c,d) 5", "x.y 9", "z 9", "guarded 15 guarded", "fallback 16 guarded", "inclass 20",
		"lazy 22 lazy", "lazily(guarded2) 23 lazy guarded", "last 24", "oneline 25 guarded", "after_match 27", "lazy2 28 lazy",
		"lazy3 28 lazy", "star 30",
	}
	var got []string
	for _, i := range Imports(code) {
		s := i.Module
		if len(i.Names) > 0 {
			s += "(" + strings.Join(i.Names, ",") + ")"
		}
		s += fmt.Sprint(" ", i.Line)
		if i.Lazy {
			s += " lazy"
		}
		if i.Guarded {
			s += " guarded"
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// pythonsOwn prints what Python itself finds in files, as lines of JSON.
const pythonsOwn = `
import ast, json, sys
def visit(node, lazy, guarded, out):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            out += [[a.name, child.lineno, lazy, guarded] for a in child.names]
        elif isinstance(child, ast.ImportFrom) and not child.level:
            out.append([child.module, child.lineno, lazy, guarded])
        visit(child, lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)), guarded or isinstance(child,
            (ast.Try, ast.If, ast.With, ast.AsyncWith, ast.For, ast.AsyncFor, ast.While, getattr(ast, "Match", ast.Try))), out)
for path in sys.argv[1:]:
    out = []
    try:
        visit(ast.parse(open(path, "rb").read()), False, False, out)
    except SyntaxError:
        out = None
    print(json.dumps(out))
`

// TestImportsAgreeWithPython reads the standard library with both.
func TestImportsAgreeWithPython(t *testing.T) {
	python := sharedBuilder(t).Interpreters(t.Context())[0]
	var files []string
	for _, pattern := range []string{"*.py", "*/*.py"} {
		found, err := filepath.Glob(filepath.Join(python.Stdlib, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	out, err := exec.CommandContext(t.Context(), python.Path, append([]string{"-W", "ignore", "-I", "-S", "-c", pythonsOwn}, files...)...).Output()
	if err != nil || len(files) < 200 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	count := 0
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		text, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if line == "null" || !strings.Contains(string(text), "import") {
			continue
		}
		var want [][]any
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		var wanted, got []string
		for _, w := range want {
			wanted = append(wanted, fmt.Sprint(w...))
		}
		for _, m := range Imports(string(text)) {
			got = append(got, fmt.Sprint(m.Module, m.Line, m.Lazy, m.Guarded))
		}
		slices.Sort(wanted)
		slices.Sort(got)
		if !slices.Equal(got, wanted) {
			t.Errorf("%s:\n%v\nPython finds\n%v", files[i], got, wanted)
		}
		count += len(got)
	}
	t.Logf("%d imports in %d files", count, len(files))
}

func FuzzImports(f *testing.F) {
	for _, seed := range []string{"import a", "try:\n import a\nexcept: pass", "'''import a", "from a import (b,\nc)", "if x: import y; import z", "\\\n", "def f(:\n\timport x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) {
		lines := strings.Count(code, "\n") + 1
		for _, i := range Imports(code) {
			if i.Module == "" || strings.ContainsAny(i.Module, " \n'\"`;") || i.Line < 1 || i.Line > lines {
				t.Fatalf("%+v in %q", i, code)
			}
		}
	})
}
