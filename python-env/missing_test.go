package pythonenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissingModules(t *testing.T) {
	env := ensure(t, sharedBuilder(t), "six==1.16.0")
	code := `import os, six, fastapi, typing_extensions, _thread, tomllib
from PIL import Image
import cv2
from google.cloud import storage
import utils
try:
    import numpy
except ImportError:
    numpy = None
def f():
    import sklearn.svm
    from PIL import ImageDraw
`
	want := []string{
		"PIL pillow 2 false", "cv2 opencv-python-headless 3 false", "google google-cloud-storage 4 false", "utils  5 false",
		"sklearn scikit-learn 11 true",
	}
	var got []string
	for _, m := range env.Missing(code) {
		got = append(got, fmt.Sprint(m.Module, " ", m.Package, " ", m.Line, " ", m.Lazy))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	if all := (Environment{Path: "/nowhere"}).Missing(code); len(all) > 0 {
		t.Errorf("without an environment: %v", all)
	}
}

// TestManyImportsCostLittle has programs of about the most bytes: what they ask for is read once, and they are told of the first.
func TestManyImportsCostLittle(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"spaces/inner/deep", "other/x.egg-info", "package"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package/__init__.py", "single.py", "spaces/inner/module.py"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const n = 20_000 // of which a search for each among all would take minutes
	numbered := func(format string) string {
		var b strings.Builder
		b.WriteString("def f():\n import ")
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		code  string
		found int
		reads int
	}{
		"there":              {numbered("single.x%[1]x,package.x%[1]x,"), 0, 2},
		"not there":          {numbered("q%x,"), maxMissing, 1},
		"in a namespace":     {numbered("spaces.inner.x%x,"), maxMissing, 3},
		"in one, and there":  {"def f():\n import " + strings.Repeat("spaces.inner.module,other,spaces.inner.deep,", n/2), 0, 5},
		"the program's own":  {numbered("own%x.a,"), 0, 0},
		"one of many names":  {"import q" + strings.Repeat(".q", n*10), 1, 1},
		"many names of one":  {"from q" + strings.Repeat(".q", n*4) + " import " + strings.Repeat("a, ", n*4), 1, 1},
		"one and many times": {"def f():\n import " + strings.Repeat("q,", n*10), 1, 1},
	} {
		var own []string
		for i := range n {
			own = append(own, fmt.Sprintf("own%x", i))
		}
		reads := 0
		s := &site{dir: dir, readDir: func(path string) ([]os.DirEntry, error) { reads++; return os.ReadDir(path) }}
		if found := s.missing(c.code, own); len(found) != c.found || reads != c.reads {
			t.Errorf("%s: %d found, %d reads of directories", name, len(found), reads)
		}
	}
}

func TestExplainImport(t *testing.T) {
	env := ensure(t, sharedBuilder(t), "six==1.16.0")
	const code = "import cv2, utils\nfrom PIL import Image\n"
	notFound := func(module string) string {
		return "Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named '" + module + "'\n"
	}
	for _, c := range []struct{ traceback, message, remedy string }{
		{
			notFound("cv2"), "the program imports `cv2`, `utils` and `PIL`, which none of its packages provides",
			"add `opencv-python-headless` and `pillow` to the requirements; add the package that provides `utils`",
		},
		{notFound("yaml"), "imports `yaml`, `cv2`", "`pyyaml`"},
		{notFound("google.cloud.storage"), "`google.cloud.storage`", "`google-cloud-storage`"},
		{notFound("annotationlib"), "has no `annotationlib`, which came with 3.14", "--python 3.14"},
		{notFound("parser"), "has no `parser`, which went with 3.10", "--python 3.9"},
		{"ImportError: email-validator is not installed, run `pip install 'pydantic[email]'`\n", "needs another one", "add `pydantic[email]` to"},
		{"ValueError: no\n", "", ""},
		{"", "", ""},
		{notFound("a\x1b[31m"), "", ""},
	} {
		message, remedy := env.ExplainImport(code, c.traceback)
		if !strings.Contains(message, c.message) || !strings.Contains(remedy, c.remedy) || (c.message == "") != (message == "") {
			t.Errorf("%q: %s: %s", c.traceback, message, remedy)
		}
	}
}

func TestNearNames(t *testing.T) {
	for wrong, want := range map[string]string{
		"reqeusts": "requests", "Pilow": "pillow", "cv2": "opencv-python-headless", "PIL": "pillow", "numpi": "numpy", "scikitlearn": "scikit-learn",
		"this-is-nothing-like-it": "",
	} {
		got := nearNames(wrong)
		if want == "" && len(got) > 0 || want != "" && (len(got) == 0 || got[0] != want) {
			t.Errorf("%s: %v", wrong, got)
		}
	}
}

// TestTablesHoldNames, in the one form that is compared.
func TestTablesHoldNames(t *testing.T) {
	for module, p := range packageOfModule {
		reqs, err := parseRequirements(p)
		if err != nil || len(reqs) != 1 || module == "" {
			t.Errorf("%s: %q, %v", module, p, err)
		}
	}
	for p := range popular {
		if p != normalise(p) {
			t.Errorf("%s", p)
		}
	}
}
