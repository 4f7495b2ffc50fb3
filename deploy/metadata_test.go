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
