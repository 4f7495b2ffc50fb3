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

// What else says what a program needs, in the words of explainBuild.
const (
	ofScript  = "the program's script metadata"
	ofProject = pythonenv.ProjectFile
)

// WithMetadata returns the request with what the program says of its needs: in a comment (inline script metadata, PEP 723), else in
// the pyproject.toml among its files (PEP 621). Dependencies count when there is no requirements text, which wins, and
// requires-python when no Python is asked for. It tells Progress what it took and what it left. Its error is an *Error.
func (r Request) WithMetadata() (Request, error) {
	r, err := r.withScript()
	if err != nil {
		return r, err
	}
	if r, err = r.withProject(); err != nil {
		return r, err
	}
	if wrong := r.checkRequirements(); wrong != nil { // they may be others now
		return r, wrong
	}
	return r, nil
}

// withProject takes what nobody has said before from the pyproject.toml among the request's files.
func (r Request) withProject() (Request, error) {
	if r.files == nil {
		return r, nil
	}
	text, ok := r.files.File(pythonenv.ProjectFile)
	if !ok {
		return r, nil
	}
	counts := strings.TrimSpace(r.Requirements) == ""
	project, err := pythonenv.ReadProject(string(text[:min(len(text), MaxCodeBytes)]))
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		if counts {
			return r, ExplainBuild(build)
		}
		r.progress("%s: it is left aside, because the dependencies are said elsewhere", build.Message)
		return r, nil
	}
	if err != nil {
		return r, err
	}
	switch {
	case counts && project.Elsewhere != "":
		r.progress("%s %s, which is not read: write a %s, or name them below [project]", pythonenv.ProjectFile, project.Elsewhere, requirementsFile)
	case len(project.Dependencies) == 0:
	case counts:
		r.progress("the dependencies are those of %s", pythonenv.ProjectFile)
		r.Requirements, r.from = project.Requirements(), ofProject
	case r.from == ofScript:
		r.progress("the dependencies in the script metadata count, those in %s do not", pythonenv.ProjectFile)
	default:
		r.progress("the requirements text counts, the dependencies in %s do not", pythonenv.ProjectFile)
	}
	if r.Python == "" {
		r.Python = project.RequiresPython
	}
	return r, nil
}

// withScript takes what the entry point says in a comment.
func (r Request) withScript() (Request, error) {
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
		r.Requirements, r.from = script.Requirements(), ofScript
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
	if r.from == "" {
		return ExplainBuild(build)
	}
	line := build.Line
	unplaced := *build
	unplaced.Line, unplaced.Message = 0, lineNumber.ReplaceAllString(build.Message, "dependency $1 (")
	e := ExplainBuild(&unplaced)
	if line == 0 {
		return e
	}
	e.Message = fmt.Sprintf("dependency %d of %s: %s", line, r.from, e.Message)
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
