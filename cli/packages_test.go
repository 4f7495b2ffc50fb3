package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"apibuilder/admin"
)

func TestDiffPackages(t *testing.T) {
	from := admin.VersionEnvironment{Python: "3.11.2", Packages: []admin.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "1"}, {Name: "c", Version: "1"}}}
	to := admin.VersionEnvironment{Python: "3.11.2", Packages: []admin.Package{{Name: "b", Version: "1"}, {Name: "c", Version: "2"}, {Name: "d", Version: "1"}}}
	want := packageDiff{
		Added: []admin.Package{{Name: "d", Version: "1"}}, Removed: []admin.Package{{Name: "a", Version: "1"}},
		Changed: []changed{{"c", "1", "2"}},
	}
	if got := diffPackages(from, to); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	from.Python = "3.10.1"
	if got := diffPackages(from, to); got.Python == nil || got.Python.From != "3.10.1" {
		t.Errorf("%+v", got.Python)
	}
}

func TestFilesAreToldFromAPIs(t *testing.T) {
	for arg, file := range map[string]bool{
		"resize": false, "resize@3": false, "api_q3f5abcdefghijkl": false, "requirements.txt": true, "./requirements": true,
		"/tmp/x": true, "-": true, "app.py": true, "Upper": true,
	} {
		if isFileName(arg) != file {
			t.Errorf("%s: %t", arg, !file)
		}
	}
}

func TestWhatALockIsMadeOf(t *testing.T) {
	dir, python := t.TempDir(), "3.11"
	for name, c := range map[string]struct {
		file, text, python string
		want               admin.LockRequest
		refused            string
	}{
		"requirements":     {"r.txt", "six", python, admin.LockRequest{Requirements: "six", Python: python}, ""},
		"a program":        {"a.py", "x = 1", "", admin.LockRequest{Code: "x = 1"}, ""},
		"a project":        {"pyproject.toml", project, "", admin.LockRequest{Requirements: "six\nflask\n", Python: ">=3.10"}, ""},
		"with a Python":    {"pyproject.toml", project, python, admin.LockRequest{Requirements: "six\nflask\n", Python: python}, ""},
		"a broken project": {"pyproject.toml", "[project", "", admin.LockRequest{}, "pyproject.toml is not valid"},
		"a project of a kind": {
			"pyproject.toml", "[project]\ndynamic = ['dependencies']\n", "",
			admin.LockRequest{},
			"leaves its dependencies to a build, which is not read: name them below [project]",
		},
		"a large project": {"pyproject.toml", project + strings.Repeat("#", 1<<20), "", admin.LockRequest{}, "more than"},
	} {
		path := filepath.Join(dir, c.file)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := new(app).lockRequest(path, c.python)
		switch {
		case c.refused == "" && (err != nil || got != c.want):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		}
	}
}

const project = "[project]\nrequires-python = \">=3.10\"\ndependencies = [\"six\", \"flask\"]\n"
