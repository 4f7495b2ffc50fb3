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
