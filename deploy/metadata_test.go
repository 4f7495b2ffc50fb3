package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/sandbox"
)

const script = "# /// script\n# requires-python = \">=3.10\"\n# dependencies = [\"six\", \"flask\"]\n# ///\napp = 1\n"

func TestScriptMetadataCountsWithoutRequirements(t *testing.T) {
	for name, c := range map[string]struct {
		change               func(*deploy.Request)
		requirements, python string
		said                 string
	}{
		"alone":          {func(*deploy.Request) {}, "six\nflask\n", ">=3.10", "script metadata at line 1"},
		"blank text":     {func(r *deploy.Request) { r.Requirements = "\n " }, "six\nflask\n", ">=3.10", "script metadata"},
		"text wins":      {func(r *deploy.Request) { r.Requirements = "django" }, "django", ">=3.10", "the requirements text counts"},
		"python asked":   {func(r *deploy.Request) { r.Python = "3.12" }, "six\nflask\n", "3.12", ""},
		"broken, unused": {func(r *deploy.Request) { r.Requirements, r.Code = "django", strings.Replace(script, "[", "", 1) }, "django", "", "left aside"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := request("resize", script)
			var said []string
			r.Progress = func(line string) { said = append(said, line) }
			c.change(&r)
			result := f.mustDeploy(t, r)
			v, err := f.store.Version(t.Context(), result.API.ID, 1)
			if err != nil || v.Requirements != c.requirements || v.Python != c.python || v.Code != r.Code {
				t.Errorf("version %+v, %v", v, err)
			}
			if f.builder.last.Requirements != c.requirements || f.builder.last.Python != c.python {
				t.Errorf("built %+v", f.builder.last)
			}
			if !strings.Contains(strings.Join(said, "\n"), c.said) {
				t.Errorf("said %q", said)
			}
		})
	}
}

func TestScriptMetadataThatIsRefused(t *testing.T) {
	f := newFixture(t)
	_, err := f.Deploy(t.Context(), request("resize", strings.Replace(script, "[", "", 1)))
	if reasonOf(err) != pythonenv.ReasonRefused || !strings.Contains(err.Error(), "line 1 of the program") {
		t.Errorf("error %v", err)
	}
	if apis, _ := f.store.APIs(t.Context()); len(apis) > 0 {
		t.Error("something happened")
	}
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonNotFound, Message: "no such package", Line: 2}
	_, err = f.Deploy(t.Context(), request("resize", script))
	if !strings.Contains(err.Error(), "dependency 2 of the program's script metadata: no such package") {
		t.Errorf("error %v", err)
	}
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonConflict, Message: "line 1 (`six`) and line 2 (`flask`) contradict each other"}
	_, err = f.Deploy(t.Context(), request("resize", script))
	if !strings.Contains(err.Error(), "dependency 1 (`six`) and dependency 2 (`flask`) contradict") {
		t.Errorf("error %v", err)
	}
}

func TestAMissingPackageIsNamed(t *testing.T) {
	f := newFixture(t)
	f.sandboxes.err = &sandbox.Exit{Reason: sandbox.ImportError, Detail: "Traceback\nModuleNotFoundError: No module named 'PIL'\n"}
	_, err := f.Deploy(t.Context(), request("resize", "from PIL import Image"))
	e, ok := errors.AsType[*deploy.Error](err)
	if !ok || e.Reason != "import_error" || !strings.Contains(e.Message, "`PIL`") || !strings.Contains(e.Remedy, "add `pillow`") ||
		!strings.Contains(e.Detail, "Traceback") {
		t.Errorf("error %+v", err)
	}
}

// A folder as `uv init` makes it says what it needs in pyproject.toml.
func TestProjectMetadataCountsWithoutOthers(t *testing.T) {
	const (
		project = "[project]\nname = \"shop\"\nrequires-python = \">=3.11\"\ndependencies = [\"six\", \"flask\"]\n"
		broken  = "[project]\ndependencies = \"six\"\n"
	)
	for name, c := range map[string]struct {
		files                map[string]string
		requirements, python string // of the request, then of what is built
		want, wantPython     string
		said                 string
	}{
		"alone":              {map[string]string{"pyproject.toml": project}, "", "", "six\nflask\n", ">=3.11", "those of pyproject.toml"},
		"a text wins":        {map[string]string{"pyproject.toml": project}, "django", "", "django", ">=3.11", "the requirements text counts, the dependencies in pyproject.toml do not"},
		"a file wins":        {map[string]string{"pyproject.toml": project, "requirements.txt": "django"}, "", "", "django", ">=3.11", "the dependencies in pyproject.toml do not"},
		"a blank file":       {map[string]string{"pyproject.toml": project, "requirements.txt": "\n"}, "", "", "six\nflask\n", ">=3.11", "those of pyproject.toml"},
		"python asked":       {map[string]string{"pyproject.toml": project}, "", "3.12", "six\nflask\n", "3.12", "those of pyproject.toml"},
		"a script wins":      {map[string]string{"pyproject.toml": strings.Replace(project, "six", "django", 1), "main.py": script}, "", "", "six\nflask\n", ">=3.10", "in the script metadata count"},
		"of tools":           {map[string]string{"pyproject.toml": "[tool.ruff]\n"}, "", "", "", "", ""},
		"of Poetry":          {map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\nsix = \"*\"\n"}, "", "", "", "", "[tool.poetry.dependencies], which is not read"},
		"of Poetry, unused":  {map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\nsix = \"*\"\n"}, "six", "", "six", "", ""},
		"broken, unused":     {map[string]string{"pyproject.toml": broken}, "django", "", "django", "", "left aside"},
		"of another folder":  {map[string]string{"sub/pyproject.toml": project}, "", "", "", "", ""},
		"a name of its case": {map[string]string{"PyProject.toml": project}, "", "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t).withShelf(t)
			if c.files["main.py"] == "" {
				c.files["main.py"] = "app = 1\n"
			}
			var said []string
			f.mustDeploy(t, deploy.Request{
				Name: "shop", Archive: archive(t, c.files), Requirements: c.requirements, Python: c.python,
				Progress: func(line string) { said = append(said, line) },
			})
			if got := f.builder.last; got.Requirements != c.want || got.Python != c.wantPython {
				t.Errorf("built %+v", got)
			}
			text := strings.Join(said, "\n")
			if !strings.Contains(text, c.said) || c.said == "" && strings.Contains(text, "pyproject") {
				t.Errorf("said %q", said)
			}
		})
	}
	f := newFixture(t).withShelf(t)
	r := deploy.Request{Name: "shop", Archive: archive(t, map[string]string{"main.py": "app = 1\n", "pyproject.toml": broken})}
	if _, err := f.Deploy(t.Context(), r); reasonOf(err) != pythonenv.ReasonRefused || !strings.Contains(err.Error(), "pyproject.toml is not valid") {
		t.Errorf("error %v", err)
	}
	for want, text := range map[string]string{
		"the requirements have 90000 bytes": "[project]\ndependencies = [" + strings.Repeat("\"six == 1.16.0 ; python_version > '3'\",", 2432) + "'" + strings.Repeat("a", 15) + "']",
	} {
		r.Archive = archive(t, map[string]string{"main.py": "app = 1\n", "pyproject.toml": text})
		if _, err := f.Deploy(t.Context(), r); reasonOf(err) != deploy.InvalidRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	r.Archive = archive(t, map[string]string{"main.py": "app = 1\n", "pyproject.toml": project})
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonNotFound, Message: "no such package", Line: 2}
	if _, err := f.Deploy(t.Context(), r); !strings.Contains(err.Error(), "dependency 2 of pyproject.toml: no such package") {
		t.Errorf("error %v", err)
	}
}
