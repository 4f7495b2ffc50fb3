package bundle

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Entry is where a program begins.
type Entry struct {
	Module    string // "pkg.main"
	Attribute string // "app", "factory.app"; empty: the application is found in the module
	Path      string // of the module's file, "pkg/main.py"
}

// String is what Bundle.Entry reads: "pkg.main" or "pkg.main:app".
func (e Entry) String() string {
	if e.Attribute == "" {
		return e.Module
	}
	return e.Module + ":" + e.Attribute
}

// mostEntry bounds what an entry point is called, because each version has its own in every list.
const mostEntry = 2 * MaxPathBytes

var (
	dottedName = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)
	// makesApp finds a line that makes an application at the top level of a module.
	makesApp = regexp.MustCompile(`(?m)^[\pL_][\pL\pN_]*[ \t]*(:[^=\n]+)?=[ \t]*([\pL_][\pL\pN_]*\.)*FastAPI[ \t]*\(`)
)

// Entry finds where the program begins: where named says ("pkg.main:app", "pkg.main" or "pkg/main.py"), else main.py or app.py
// at the root, else the only module that makes a FastAPI object at its top level, tests aside. Errors are *Error.
func (b *Bundle) Entry(named string) (Entry, error) {
	if named != "" {
		return b.namedEntry(named)
	}
	for _, name := range []string{"main", "app"} {
		if _, ok := b.File(name + ".py"); ok {
			return Entry{Module: name, Path: name + ".py"}, nil
		}
	}
	var found []string
	for _, f := range b.files {
		if _, ok := moduleOf(f.Path); ok && !isTest(f.Path) && makesApp.Match(f.Content) {
			found = append(found, f.Path)
		}
	}
	const remedy = "name the module with --entry, as in `--entry pkg.main:app`"
	switch len(found) {
	case 1:
		module, _ := moduleOf(found[0])
		return Entry{Module: module, Path: found[0]}, nil
	case 0:
		if folder := b.FolderOf("main", "app"); folder != "" {
			return Entry{}, wrong("", fmt.Sprintf("there is no main.py or app.py at the root, but in %s", folder),
				"deploy that folder itself, or an archive of what is in it, or "+remedy)
		}
		return Entry{}, wrong("", "there is no main.py or app.py, and no other module makes a FastAPI object", remedy)
	}
	const most = 5
	list := strings.Join(found[:min(len(found), most)], ", ")
	if len(found) > most {
		list += ", ..."
	}
	return Entry{}, wrong("", fmt.Sprintf("%d modules make a FastAPI object: %s", len(found), list), remedy)
}

// FolderOf returns the folder below the root, nearest to it, in which one of some modules or packages is; "" where there is none.
func (b *Bundle) FolderOf(modules ...string) string {
	best := ""
	for _, f := range b.files {
		stem, ok := strings.CutSuffix(f.Path, ".py")
		if !ok || isTest(f.Path) {
			continue
		}
		folder, name := path.Split(strings.TrimSuffix(stem, "/__init__"))
		folder = strings.TrimSuffix(folder, "/")
		if folder == "" || !slices.Contains(modules, name) {
			continue
		}
		if best == "" || strings.Count(folder, "/") < strings.Count(best, "/") {
			best = folder
		}
	}
	return best
}

func (b *Bundle) namedEntry(named string) (Entry, error) {
	if len(named) > mostEntry {
		return Entry{}, wrong("", fmt.Sprintf("the entry point has more than %d bytes", mostEntry), "write it as `pkg.main:app`")
	}
	module, attribute, colon := strings.Cut(named, ":")
	if file, ok := moduleOf(module); ok {
		module = file
	}
	if !dottedName.MatchString(module) || colon && !dottedName.MatchString(attribute) {
		return Entry{}, wrong("", fmt.Sprintf("the entry point %q names no module", named), "write it as `pkg.main:app`")
	}
	at := strings.ReplaceAll(module, ".", "/")
	for _, file := range []string{at + ".py", at + "/__init__.py"} {
		if _, ok := b.File(file); ok {
			return Entry{module, attribute, file}, nil
		}
	}
	return Entry{}, wrong("", fmt.Sprintf("the entry point %q is not there: no file %s.py is among the files", named, at),
		"write the module's path from the program's own folder, as in `pkg.main:app`")
}

// moduleOf returns the name that a file is imported by.
func moduleOf(file string) (module string, ok bool) {
	stem, ok := strings.CutSuffix(file, ".py")
	if !ok {
		return "", false
	}
	module = strings.TrimSuffix(strings.ReplaceAll(stem, "/", "."), ".__init__")
	return module, dottedName.MatchString(module)
}

func isTest(file string) bool {
	name := path.Base(file)
	return strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py") || name == "conftest.py" ||
		strings.HasPrefix(file, "tests/") || strings.Contains(file, "/tests/")
}

// Modules are the names that the bundle's own modules and packages are imported by, at its root.
func (b *Bundle) Modules() map[string]bool {
	all := map[string]bool{}
	for _, f := range b.files {
		name, rest, nested := strings.Cut(f.Path, "/")
		if stem, _, isFile := strings.Cut(name, "."); !nested && isFile {
			ext := path.Ext(name)
			if ext == ".py" || ext == ".so" || ext == ".pyc" {
				all[stem] = true
			}
		} else if nested && rest != "" {
			all[name] = true
		}
	}
	return all
}
