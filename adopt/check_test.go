package adopt_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"apibuilder/adopt"
	"apibuilder/internal/pgtest"
	"apibuilder/python-env"
	"apibuilder/store"
	"apibuilder/store/postgres"
)

func check(t *testing.T, rows ...store.Row) []adopt.Report {
	t.Helper()
	reports, err := adopt.Check(t.Context(), adopt.DefaultPython(), pythonenv.Allow{}, rows)
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

const good = "from fastapi import FastAPI\napp = FastAPI()\n"

func TestCheck(t *testing.T) {
	deep := "x = " + strings.Repeat("(", 200000)
	for name, c := range map[string]struct {
		row      store.Row
		want     string // kinds, those that block with a !
		mentions string
	}{
		"good":               {store.Row{ID: "1", Code: good}, "", ""},
		"another name":       {store.Row{ID: "1", Code: "import fastapi\nservice = fastapi.FastAPI()"}, "", ""},
		"made by a function": {store.Row{ID: "1", Code: "from fastapi import FastAPI\ndef make(): return FastAPI()\napp = make()"}, "", ""},
		"in a block":         {store.Row{ID: "1", Code: "import os\nif os.name:\n    app = object()"}, "", ""},
		"no app":             {store.Row{ID: "1", Code: "x = 1"}, "no_app!", "app = FastAPI()"},
		"syntax":             {store.Row{ID: "1", Code: "def f(:\n  pass"}, "syntax_error!", "line 1"},
		"indentation":        {store.Row{ID: "1", Code: good + "  x = 1"}, "syntax_error!", "line 3"},
		"return outside":     {store.Row{ID: "1", Code: good + "return 1"}, "syntax_error!", "line 3"},
		"empty":              {store.Row{ID: "1"}, "bad_row!", "empty"},
		"large":              {store.Row{ID: "1", Code: strings.Repeat("#", 1<<20+1)}, "bad_row!", "1048577"},
		"id":                 {store.Row{ID: "a/b", Code: good}, "bad_id!", "a/b"},
		"requirements":       {store.Row{ID: "1", Code: good, Requirements: "httpx\n-e git+https://x"}, "bad_requirements!", "line 2"},
		"metadata":           {store.Row{ID: "1", Code: script("pillow") + good + "from PIL import Image"}, "", ""},
		"metadata that counts not": {
			store.Row{ID: "1", Code: script("pillow") + good + "from PIL import Image", Requirements: "httpx"}, "missing_package", "add pillow",
		},
		"bad metadata":          {store.Row{ID: "1", Code: script("httpx", "-e .") + good}, "bad_requirements!", "dependency 2 of the program's script metadata"},
		"no metadata":           {store.Row{ID: "1", Code: "# /// script\n# dependencies = [\n# ///\n" + good}, "bad_requirements!", "script metadata at line 1"},
		"an address":            {store.Row{ID: "1", Code: good, Requirements: "x @ https://files.example.com/x-1.0-py3-none-any.whl"}, "bad_requirements!", "line 1"},
		"a repository":          {store.Row{ID: "1", Code: good, Requirements: "x @ git+https://git.example.com/x"}, "bad_requirements!", "line 1"},
		"a path":                {store.Row{ID: "1", Code: good, Requirements: "./x-1.0-py3-none-any.whl"}, "bad_requirements!", "line 1"},
		"missing":               {store.Row{ID: "1", Code: good + "from PIL import Image\nimport json, numpy.linalg"}, "missing_package missing_package", "add pillow"},
		"named":                 {store.Row{ID: "1", Code: good + "from PIL import Image\nimport some_thing", Requirements: "Pillow>=9\nsome.thing"}, "", ""},
		"guarded":               {store.Row{ID: "1", Code: good + "try:\n    import orjson\nexcept ImportError:\n    orjson = None"}, "", ""},
		"a file beside":         {store.Row{ID: "1", Code: good + "from . import models"}, "missing_package!", "one file"},
		"both":                  {store.Row{ID: "1", Code: "x = 1", Requirements: "--index-url x"}, "bad_requirements! no_app!", ""},
		"inactive":              {store.Row{ID: "1", Code: good}, "inactive", ""},
		"takes the parser down": {store.Row{ID: "1", Code: deep}, "syntax_error!", ""},
		"is not run":            {store.Row{ID: "1", Code: good + "raise SystemExit('run')"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.row.Active = name != "inactive"
			r := check(t, c.row)[0]
			var kinds []string
			for _, f := range r.Findings {
				kind := f.Kind
				if f.Blocking {
					kind += "!"
				}
				kinds = append(kinds, kind)
				if f.Message == "" || f.Remedy == "" {
					t.Errorf("%+v says too little", f)
				}
			}
			if got := strings.Join(kinds, " "); got != c.want || !strings.Contains(fmt.Sprint(r.Findings), c.mentions) {
				t.Errorf("found %+v, want %q about %q", r.Findings, c.want, c.mentions)
			}
			if r.Works == strings.Contains(c.want, "!") {
				t.Errorf("works: %v", r.Works)
			}
		})
	}
}

// script is metadata (PEP 723) with dependencies.
func script(dependencies ...string) string {
	return "# /// script\n# dependencies = " + fmt.Sprintf("%q", dependencies)[:1] + `"` + strings.Join(dependencies, `", "`) + "\"]\n# ///\n"
}

// TestCheckAllowsWhatTheServerAllows is about a server with --allow-requirements.
func TestCheckAllowsWhatTheServerAllows(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(folder+"/x-1.0-py3-none-any.whl", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	allow, err := pythonenv.ParseAllow("url:files.example.com,git:git.example.com,path:" + folder)
	if err != nil {
		t.Fatal(err)
	}
	for requirements, want := range map[string]string{
		"x @ https://files.example.com/x-1.0-py3-none-any.whl": "",
		"https://files.example.com/x-1.0-py3-none-any.whl":     "",
		"x @ git+https://git.example.com/team/x@v1":            "",
		"./x-1.0-py3-none-any.whl":                             "",
		"x @ file://" + folder + "/x-1.0-py3-none-any.whl":     "",
		"httpx": "httpx only",
		"x\nx @ https://other.example.com/x-1.0-py3-none-any.whl":  "line 2: https://other.example.com is not among the hosts",
		"x @ git+https://other.example.com/team/x":                 "line 1: https://other.example.com is not among the hosts",
		"./y-1.0-py3-none-any.whl":                                 "is not a file below a folder",
		"x @ git+https://someone:pass-word@git.example.com/team/x": "user name or password",
		"x @ https://files.example.com/x-1.0.tar.gz":               "wheel",
		"--index-url https://files.example.com/simple":             "--index-url is not allowed",
	} {
		reports, err := adopt.Check(t.Context(), adopt.DefaultPython(), allow, []store.Row{
			{ID: "1", Active: true, Code: good + "import x", Requirements: requirements},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := reports[0]
		switch text := fmt.Sprint(r.Findings); {
		case want == "" && len(r.Findings) > 0:
			t.Errorf("%s: %s", requirements, text)
		case want == "httpx only" && (!r.Works || !strings.Contains(text, "add x")):
			t.Errorf("%s: %s", requirements, text)
		case want != "" && want != "httpx only" && (r.Works || !strings.Contains(text, want) || strings.Contains(text, "pass-word")):
			t.Errorf("%s: %s, want %q", requirements, text, want)
		}
	}
}

// TestOneProgramSpoilsNoOther reads many beside one that ends the parser.
func TestOneProgramSpoilsNoOther(t *testing.T) {
	rows := []store.Row{{ID: "bad", Active: true, Code: "x = " + strings.Repeat("-", 500000) + "1"}}
	for i := range 100 {
		rows = append(rows, store.Row{ID: fmt.Sprint(i), Active: true, Code: fmt.Sprintf("%sx = %d", good, i)})
	}
	for _, r := range check(t, rows...) {
		if r.Works != (r.ID != "bad") {
			t.Errorf("%+v", r)
		}
	}
}

func TestReadingRowsChangesNothing(t *testing.T) {
	url := pgtest.Database(t)
	rows, err := postgres.ReadRows(t.Context(), url)
	if err != nil || rows != nil {
		t.Fatalf("%v, %v", rows, err)
	}
	pgtest.Exec(t, url, `CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis VALUES (1, 'a'), (2, NULL);
		DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT SELECT ON apis TO reader`)
	rows, err = postgres.ReadRows(t.Context(), strings.ReplaceAll(url, "user=postgres", "user=reader"))
	if err != nil || len(rows) != 2 || rows[0].ID != "1" || rows[0].Code != "a" || rows[1].Code != "" || !rows[0].Active {
		t.Fatalf("%+v, %v", rows, err)
	}
	pgtest.Exec(t, url, "DO $$ BEGIN IF (SELECT count(*) FROM pg_class WHERE relname LIKE 'apibuilder%') > 0 THEN RAISE 'changed'; END IF; END $$")
}
