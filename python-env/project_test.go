package pythonenv_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"apibuilder/python-env"
)

func TestReadProject(t *testing.T) {
	for name, c := range map[string]struct {
		text, python, elsewhere string
		dependencies            []string
	}{
		"nothing":              {"", "", "", nil},
		"of tools alone":       {"[tool.ruff]\nline-length = 120\n", "", "", nil},
		"as uv writes it":      {uvProject, ">=3.11", "", []string{"fastapi>=0.115.0", "six ; python_version < '4'"}},
		"no dependencies":      {"[project]\nname = 'a'\nrequires-python = '==3.11.*'\n", "==3.11.*", "", nil},
		"dynamic":              {"[project]\ndynamic = ['version', 'dependencies']\n", "", "leaves its dependencies to a build", nil},
		"dynamic of others":    {"[project]\ndynamic = ['version']\ndependencies = ['six']\n", "", "", []string{"six"}},
		"of Poetry":            {"[tool.poetry.dependencies]\nsix = '*'\n", "", "has its dependencies in [tool.poetry.dependencies]", nil},
		"of both, for Poetry":  {"[project]\ndependencies = ['six']\n[tool.poetry.dependencies]\nsix = {source = 'a'}\n", "", "", []string{"six"}},
		"of many tools":        {toolsProject, ">=3.11", "", []string{"six[a]"}},
		"with a byte of order": {"\ufeff[project]\ndependencies = ['six']\n", "", "", []string{"six"}},
	} {
		p, err := pythonenv.ReadProject(c.text)
		if err != nil || !slices.Equal(p.Dependencies, c.dependencies) || p.RequiresPython != c.python || p.Elsewhere != c.elsewhere {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"no TOML":              {"[project\n", "pyproject.toml is not valid"},
		"no list":              {"[project]\ndependencies = 'six'\n", "pyproject.toml is not valid"},
		"a line of its own":    {"[project]\ndependencies = ['six', \"a\\n-r b\"]\n", "dependency number 2 of more than one line"},
		"a continued line":     {"[project]\ndependencies = ['six\\']\n", "dependency number 1 of more than one line"},
		"too large":            {strings.Repeat("#", 256<<10+1), "pyproject.toml has more than 256 KiB"},
		"no version of Python": {"[project]\nrequires-python = 'new'\n", "requires Python"},
	} {
		_, err := pythonenv.ReadProject(c.text)
		build, ok := errors.AsType[*pythonenv.BuildError](err)
		if !ok || build.Reason != pythonenv.ReasonRefused || build.Remedy == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const uvProject = `[project]
name = "shop"
version = "0.1.0"
description = "Add your description here"
readme = "README.md"
requires-python = ">=3.11"
dependencies = [
    "fastapi>=0.115.0",
    "six ; python_version < '4'",
]

[dependency-groups]
dev = ["pytest>=8.3.4"]
`

// toolsProject has most of what projects have in theirs, and brackets, quotes and dots where they count for nothing.
var toolsProject = `[project] # [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ '''
name = "tools"
description = "` + strings.Repeat("[{a.", 50) + `\"\\"
readme = {file = "README.md", content-type = "text/markdown"}
requires-python = ">=3.11"
dependencies = ["six[a]"]
urls."Source Code" = 'https://example.com/a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z'
optional-dependencies = { all = ["tools[x,y]"], x = [] }

[tool.hatch.envs.default.scripts]
cov = ["a", "b {args:tests}"]
[[tool.hatch.envs.all.matrix]]
python = ["3.11", "3.12"]
[tool.pylint."messages control"]
disable = [
    "a", # "b", [
    'b', "c"
]
[tool.cibuildwheel]
before-all = """
if [[ -f a ]]; then { echo "x"; } fi; """""
[tool.x]
a = ''''{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{'''
b = [[[[{c.d = {e = [1.5, -2e3, 1979-05-27T07:32:00.999Z]}}]]]]
` + strings.Repeat("[[tool.mypy.overrides]]\nmodule = ['a.*', 'b.c.*']\nignore_missing_imports = true\n", 300)
