package bundle

import (
	"errors"
	"strings"
	"testing"
)

const makes = "from fastapi import FastAPI\napp = FastAPI()\n"

func bundleOf(t testing.TB, files map[string]string) *Bundle {
	t.Helper()
	var all []File
	for path, text := range files {
		all = append(all, File{path, []byte(text)})
	}
	b, err := New(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEntryIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		named string
		want  string // or what the error says, after "!"
		path  string
	}{
		"main":               {files: map[string]string{"main.py": "", "app.py": makes}, want: "main", path: "main.py"},
		"app":                {files: map[string]string{"app.py": makes, "x/main.py": makes}, want: "app", path: "app.py"},
		"the only module":    {files: map[string]string{"shop/api.py": makes, "shop/x.py": "# app = FastAPI()"}, want: "shop.api", path: "shop/api.py"},
		"a package":          {files: map[string]string{"shop/__init__.py": "api: FastAPI = fastapi.FastAPI(title='x')"}, want: "shop", path: "shop/__init__.py"},
		"not in a function":  {files: map[string]string{"a.py": makes, "b.py": "def make():\n    app = FastAPI()\n"}, want: "a", path: "a.py"},
		"not in tests":       {files: map[string]string{"a.py": makes, "tests/helper.py": makes, "test_a.py": makes, "conftest.py": makes}, want: "a", path: "a.py"},
		"no identifier":      {files: map[string]string{"a.py": makes, "my-app.py": makes}, want: "a", path: "a.py"},
		"two":                {files: map[string]string{"a.py": makes, "b.py": makes}, want: "!2 modules make a FastAPI object: a.py, b.py"},
		"none":               {files: map[string]string{"a.py": "x = 1", "main.txt": makes}, want: "!no other module"},
		"a folder in it":     {files: map[string]string{"x/shop/main.py": "", "shop/main.py": "from api import app", "shop/api.py": ""}, want: "!at the root, but in shop"},
		"named":              {files: map[string]string{"main.py": makes, "pkg/web.py": ""}, named: "pkg.web:make.app", want: "pkg.web:make.app", path: "pkg/web.py"},
		"named by its file":  {files: map[string]string{"pkg/web.py": ""}, named: "pkg/web.py", want: "pkg.web", path: "pkg/web.py"},
		"named package":      {files: map[string]string{"pkg/__init__.py": ""}, named: "pkg:app", want: "pkg:app", path: "pkg/__init__.py"},
		"named, not there":   {files: map[string]string{"main.py": makes}, named: "pkg.web", want: "!no file pkg/web.py"},
		"named, no module":   {files: map[string]string{"main.py": makes}, named: "../main", want: "!names no module"},
		"named, no name":     {files: map[string]string{"main.py": makes}, named: "main:", want: "!names no module"},
		"named, with a call": {files: map[string]string{"main.py": makes}, named: "main:make()", want: "!names no module"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bundleOf(t, c.files).Entry(c.named)
			if says, isError := strings.CutPrefix(c.want, "!"); isError {
				var wrong *Error
				if !errors.As(err, &wrong) || !strings.Contains(err.Error(), says) || wrong.Remedy == "" {
					t.Errorf("error %v, want one that says %q", err, says)
				}
				return
			}
			if err != nil || got.String() != c.want || got.Path != c.path {
				t.Errorf("entry %q in %q, %v", got, got.Path, err)
			}
		})
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("pkg.main:app")
	f.Add("pkg/main.py")
	f.Add("a..b:c")
	f.Fuzz(func(t *testing.T, named string) {
		b := bundleOf(t, map[string]string{"main.py": makes, "pkg/main.py": makes})
		e, err := b.Entry(named)
		if err != nil {
			return
		}
		if _, ok := b.File(e.Path); !ok {
			t.Fatalf("%q leads to %q", named, e.Path)
		}
		if again, err := b.Entry(e.String()); err != nil || again != e {
			t.Fatalf("%q is read as %v, and that as %v: %v", named, e, again, err)
		}
	})
}

func TestALongEntryPointIsRefused(t *testing.T) {
	b, err := New([]File{{"main.py", []byte("app = 1")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Entry("main:" + strings.Repeat("a", 1<<20))
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Message, "800 bytes") {
		t.Errorf("%.100v", err)
	}
	if e, err := b.Entry("main:" + strings.Repeat("a", 700)); err != nil || len(e.Attribute) != 700 {
		t.Errorf("%v, %v", e, err)
	}
}
