package pythonenv

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Missing is a module that a program imports and its environment lacks.
type Missing struct {
	Module  string // the shortest part that is not there: "PIL", "google.cloud.storage"
	Package string // to add to the requirements; empty: not known
	Line    int    // of the import, from 1; 0: not among the program's own import statements
	Lazy    bool   // it fails when a function is called, not at the start
}

// maxMissing is how many modules an author is told of at once.
const maxMissing = 20

// Missing lists what a program's import statements name that neither the standard library nor the environment provides, in
// their order, without those that the program may do without (see Import.Guarded); no more than the first 20. It is advice: a program can
// import by other means, and make modules of its own. own are those that come with it, by the names at the root.
func (e Environment) Missing(code string, own ...string) []Missing {
	return (&site{dir: filepath.Join(e.Path, "lib", "python"+e.Interpreter.Minor, "site-packages"), readDir: os.ReadDir}).missing(code, own)
}

// site is what is installed in an environment. It reads each directory once, because a program may name any number of modules.
type site struct {
	dir     string
	readDir func(dir string) ([]os.DirEntry, error)
	known   map[string]map[string]bool
}

func (s *site) missing(code string, own []string) []Missing {
	there := map[string]bool{}
	for _, module := range own {
		there[module] = true
	}
	var all []Missing
	for _, i := range Imports(code) {
		if i.Guarded || inStandardLibrary(i.Module) || there[topOf(i.Module)] {
			continue
		}
		m := Missing{Module: s.lacks(i.Module), Line: i.Line, Lazy: i.Lazy}
		if m.Module == "" || slices.ContainsFunc(all, func(other Missing) bool { return other.Module == m.Module }) {
			continue
		}
		m.Package = packageFor(i.Module, i.Names...)
		if all = append(all, m); len(all) == maxMissing {
			break
		}
	}
	return all
}

func topOf(module string) string {
	top, _, _ := strings.Cut(module, ".")
	return top
}

// lacks returns the part of a dotted name that is not installed, "" when it is. Inside a package it does not look: what is
// there only the package knows. A directory that is none is a namespace, which others add to.
func (s *site) lacks(module string) string {
	dir := s.dir
	parts := strings.Split(module, ".")
	for i, part := range parts {
		names := s.names(dir)
		if names == nil {
			return ""
		}
		isDir, there := names[part]
		if !there {
			return strings.Join(parts[:i+1], ".")
		}
		dir = filepath.Join(dir, part)
		if !isDir {
			return ""
		}
		if _, isPackage := s.names(dir)["__init__"]; isPackage {
			return ""
		}
	}
	return ""
}

// names are the modules in a directory, and of each whether it is a directory alone; nil when it cannot be read.
func (s *site) names(dir string) map[string]bool {
	if names, ok := s.known[dir]; ok {
		return names
	}
	var names map[string]bool
	if entries, err := s.readDir(dir); err == nil {
		names = map[string]bool{}
		for _, entry := range entries {
			stem, ext, _ := strings.Cut(entry.Name(), ".")
			if ext != "" && entry.IsDir() {
				continue
			}
			before, there := names[stem]
			names[stem] = entry.IsDir() && (before || !there)
		}
	}
	if s.known == nil {
		s.known = map[string]map[string]bool{}
	}
	s.known[dir] = names
	return names
}

var (
	notFoundError = regexp.MustCompile(`(?m)^ModuleNotFoundError: No module named '([A-Za-z0-9_.]{1,200})'`)
	pipAdvice     = regexp.MustCompile(`pip3? install ["'` + "`" + `]?([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9,_-]+\])?)`)
)

// ExplainImport says in a sentence which packages a program lacks, and what to add, when a traceback tells of an import
// that failed; both are empty when it tells of something else. The traceback is the program's, so untrusted: what it names
// is looked at and quoted, no more. own are as in Missing: what lacks in them no package provides.
func (e Environment) ExplainImport(code, traceback string, own ...string) (message, remedy string) {
	found := notFoundError.FindAllStringSubmatch(traceback, -1)
	if found == nil {
		last := traceback[strings.LastIndexByte(strings.TrimSpace(traceback), '\n')+1:]
		if m := pipAdvice.FindStringSubmatch(last); m != nil {
			return "a package that the program uses needs another one", fmt.Sprintf("add `%s` to the requirements", m[1])
		}
		return "", ""
	}
	module := found[len(found)-1][1]
	if slices.Contains(own, topOf(module)) {
		return "", ""
	}
	if message, remedy = e.explainStandard(module); message != "" {
		return message, remedy
	}
	missing := e.Missing(code, own...)
	if !slices.ContainsFunc(missing, func(m Missing) bool { return m.Module == module }) {
		// A module of its own, one behind a guard, or what a package needs.
		missing = append([]Missing{{Module: module, Package: packageFor(module)}}, missing...)
	}
	return sentenceOf(missing)
}

// UnknownModule returns the module, by its first name, that a traceback says is not there, where no package is known to provide it; "" else.
func UnknownModule(traceback string) string {
	found := notFoundError.FindAllStringSubmatch(traceback, -1)
	if found == nil || packageFor(found[len(found)-1][1]) != "" {
		return ""
	}
	return topOf(found[len(found)-1][1])
}

// explainStandard tells of a module that other Pythons have.
func (e Environment) explainStandard(module string) (message, remedy string) {
	top := topOf(module)
	minor := e.Interpreter.Minor
	ask := func(than string) string { return "ask for another Python with --python " + than }
	if since, ok := addedToStandard[top]; ok && compareReleases(release(minor), release(since)) < 0 {
		return fmt.Sprintf("the standard library of Python %s has no `%s`, which came with %s", minor, top, since), ask(since)
	}
	if since, ok := removedFromStandard[top]; ok && compareReleases(release(minor), release(since)) >= 0 {
		numbers := release(since)
		return fmt.Sprintf("the standard library of Python %s has no `%s`, which went with %s", minor, top, since),
			ask(fmt.Sprintf("%d.%d", numbers[0], numbers[1]-1))
	}
	return "", ""
}

// sentenceOf names all that is missing at once, so that an author does not meet it piece by piece.
func sentenceOf(missing []Missing) (message, remedy string) {
	var modules, packages, unknown []string
	for _, m := range missing[:min(maxMissing, len(missing))] {
		modules = append(modules, "`"+m.Module+"`")
		switch {
		case m.Package == "":
			unknown = append(unknown, "`"+m.Module+"`")
		case !slices.Contains(packages, "`"+m.Package+"`"):
			packages = append(packages, "`"+m.Package+"`")
		}
	}
	message = fmt.Sprintf("the program imports %s, which none of its packages provides", list(modules))
	var steps []string
	if len(packages) > 0 {
		steps = append(steps, "add "+list(packages)+" to the requirements")
	}
	if len(unknown) > 0 {
		steps = append(steps, fmt.Sprintf("add the package that provides %s, or deploy the folder that has it with the program: "+
			"`apibuilder deploy FOLDER`", list(unknown)))
	}
	return message, strings.Join(steps, "; ")
}

// list joins words as people do.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
