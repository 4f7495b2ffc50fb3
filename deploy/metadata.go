package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// WithMetadata returns the request with what the program says of its needs in a comment (inline script metadata, PEP 723):
// its dependencies when there is no requirements text, which wins, and its requires-python when no Python is asked for. It
// tells Progress what it took and what it left. Its error is an *Error.
func (r Request) WithMetadata() (Request, error) {
	script, err := pythonenv.ReadScript(r.Code)
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		if strings.TrimSpace(r.Requirements) == "" {
			return r, ExplainBuild(build)
		}
		r.progress("%s: it is left aside, because there is a requirements text", build.Message)
		return r, nil
	}
	if err != nil || script == nil {
		return r, err
	}
	switch {
	case len(script.Dependencies) == 0:
	case strings.TrimSpace(r.Requirements) == "":
		r.progress("the dependencies are those of the script metadata at line %d of the program", script.Line)
		r.Requirements, r.fromScript = script.Requirements(), true
	default:
		r.progress("the requirements text counts, the dependencies in the script metadata at line %d of the program do not", script.Line)
	}
	if r.Python == "" {
		r.Python = script.RequiresPython
	}
	return r, nil
}

// Names returns the projects that a deploy of the request would ask the package index for, where authors may require what allow
// says, and refuses with an *Error what it would refuse before it asks.
func (r Request) Names(allow pythonenv.Allow) ([]string, error) {
	r, err := r.WithMetadata()
	if err != nil {
		return nil, err
	}
	names, err := allow.Names(r.Requirements)
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return nil, r.explainBuild(build)
	}
	return names, err
}

// lineNumber is how pythonenv names a requirement inside of a sentence.
var lineNumber = regexp.MustCompile(`\bline ([0-9]+) \(`)

// explainBuild is ExplainBuild with the place in the author's own words.
func (r Request) explainBuild(build *pythonenv.BuildError) *Error {
	if !r.fromScript {
		return ExplainBuild(build)
	}
	line := build.Line
	unplaced := *build
	unplaced.Line, unplaced.Message = 0, lineNumber.ReplaceAllString(build.Message, "dependency $1 (")
	e := ExplainBuild(&unplaced)
	if line == 0 {
		return e
	}
	e.Message = fmt.Sprintf("dependency %d of the program's script metadata: %s", line, e.Message)
	return e
}

// ExplainStart says why a request's program with this environment did not start. When it lacks packages, it names them all and
// what to add.
func ExplainStart(environment pythonenv.Environment, r Request, exit *sandbox.Exit, limits store.Limits) *Error {
	e := ExplainExit(exit, limits)
	if exit.Reason == sandbox.ImportError || exit.Reason == sandbox.StartupFailed {
		if message, remedy := environment.ExplainImport(r.Code, exit.Detail, r.OwnModules()...); message != "" {
			e.Message, e.Remedy = message, remedy
		}
		r.explainFolder(e, pythonenv.UnknownModule(exit.Detail))
	}
	return e
}

// explainFolder tells of a module that is among the request's files, but in a folder that Python does not look in.
func (r Request) explainFolder(e *Error, module string) {
	if module == "" || r.files == nil || r.files.Modules()[module] {
		return
	}
	if folder := r.files.FolderOf(module); folder != "" {
		e.Message = fmt.Sprintf("the program imports `%s`, which is in the folder %s of its files, where it is not found", module, folder)
		e.Remedy = fmt.Sprintf("deploy the folder %s itself, with -r for requirements that are not in it", folder)
	}
}

// noteLazyImports tells of imports that will fail when a function is called: the program starts without them.
func (r Request) noteLazyImports(environment pythonenv.Environment) {
	if r.Progress == nil {
		return
	}
	for _, m := range environment.Missing(r.Code, r.OwnModules()...) {
		if !m.Lazy {
			continue
		}
		add := "the package that provides it"
		if m.Package != "" {
			add = "`" + m.Package + "`"
		}
		r.progress("line %d imports `%s` when it is called, and nothing provides it: add %s to the requirements", m.Line, m.Module, add)
	}
}
