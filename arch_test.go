package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "apibuilder/"

// rule says what the packages of one top directory may import of this module besides each other, and why not more.
type rule struct {
	may    []string
	reason string
}

var rules = map[string]rule{
	".":           {[]string{"cli"}, "main knows exit codes and signals, the commands know the rest"},
	"store":       {[]string{"ratelimit", "egress", "pace"}, "it holds the nouns that every other package speaks; what an option's text means its package knows"},
	"sandbox":     {[]string{"egress"}, "it may take an environment's path but never know its builder, nor who asks"},
	"python-env":  {[]string{"egress"}, "environments are built from text, whoever it belongs to; where an index may lead egress decides"},
	"ratelimit":   {nil, "one algorithm, for whatever is counted"},
	"toolchain":   {nil, "executables are obtained before there is anything else"},
	"logs":        {nil, "lines of text, whoever printed them"},
	"usage":       {[]string{"store", "pace"}, "the journal carries the store's records and knows no request"},
	"doctor":      {nil, "it looks at a host, and is told what other packages know of it"},
	"gateway":     {[]string{"store", "ratelimit", "sandbox", "rawcall"}, "it borrows sandboxes through its own interface"},
	"bundle":      {nil, "files of a program, whoever runs it"},
	"deploy":      {[]string{"store", "sandbox", "python-env", "egress", "bundle"}, "it orders the steps and leaves each to its package"},
	"node":        {[]string{"store"}, "who a server is, and that it lives"},
	"adopt":       {[]string{"store", "deploy", "python-env"}, "it hands other programs' rows to the ordinary deploy path"},
	"traces":      {nil, "spans are sent, whatever they are of"},
	"metrics":     {[]string{"store", "sandbox"}, "it counts what it is told, and is told by whoever wires the parts"},
	"rawcall":     {nil, "system calls, whoever makes them"},
	"pace":        {nil, "breaks, whoever takes them"},
	"clock":       {nil, "the time, whoever removes what is old by it"},
	"handover":    {nil, "descriptors and a few words, whatever they are of"},
	"backup":      {[]string{"store"}, "a file of rows, whatever they mean"},
	"admin":       {[]string{"store", "deploy", "sandbox", "egress", "logs"}, "it is a door, and reaches the parts through its own interfaces"},
	"cli":         {[]string{"*"}, "it wires the parts together, and nobody else knows them all"},
	"certificate": {nil, "certificates of names, whatever is served below them"},
	"egress":      {[]string{"rawcall"}, "it decides about names and addresses, whoever asks"},
}

// lower are packages that may be imported from their own top directory and by cli alone: they are one of several ways.
var lower = []string{"store/sqlite", "store/postgres", "store/sealed", "sandbox/nsjail", "sandbox/cgroup", "sandbox/runner", "admin/client"}

// TestImportsPointOneWay reads the imports of all shipped files.
func TestImportsPointOneWay(t *testing.T) {
	seen := map[string]bool{}
	eachFile(t, func(dir, path string, imports []string) {
		top, _, _ := strings.Cut(dir, "/")
		r, ok := rules[top]
		if !ok {
			t.Errorf("%s: there is no rule for what %s may import: write one", path, top)
		}
		seen[top] = true
		for _, name := range imports {
			if why := forbidden(top, r, name); why != "" {
				t.Errorf("%s imports %s: %s", path, name, why)
			}
		}
	})
	for top := range rules {
		if !seen[top] {
			t.Errorf("the rule for %s is about nothing", top)
		}
	}
}

func forbidden(top string, r rule, name string) string {
	if name == "testing" || isTestMachinery(name) && strings.HasPrefix(name, module) {
		return "test machinery must not get into the shipped binary"
	}
	ours, ok := strings.CutPrefix(name, module)
	if !ok {
		return ""
	}
	target, _, _ := strings.Cut(ours, "/")
	if target == top || slices.Contains(r.may, "*") {
		return ""
	}
	if slices.Contains(lower, ours) || !slices.Contains(r.may, target) {
		return r.reason
	}
	return ""
}

// isTestMachinery knows the packages that serve tests only: conformance suites and what sets up the real things.
func isTestMachinery(path string) bool {
	if strings.HasSuffix(path, "sandbox/selftest") {
		return false // what `sandbox test` runs on a live host
	}
	return strings.HasSuffix(path, "test") || strings.HasSuffix(path, "/testenv")
}

// eachFile calls fn for every Go file that is shipped.
func eachFile(t *testing.T, fn func(dir, path string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if _, err := os.Stat(filepath.Join(path, "go.mod")); d.IsDir() && path != "." && err == nil {
			return fs.SkipDir // a module of its own, of which nothing is shipped
		}
		if d.IsDir() && (name == "testdata" || path != "." && strings.HasPrefix(name, ".") || isTestMachinery(path)) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range file.Imports {
			unquoted, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, unquoted)
		}
		fn(filepath.ToSlash(filepath.Dir(path)), path, imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheBinaryHasNoTestMachinery looks at everything that is linked, whoever imports it.
func TestTheBinaryHasNoTestMachinery(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(string(out), "\n") {
		if name == "testing" || strings.HasPrefix(name, "github.com/letsencrypt/") || strings.HasPrefix(name, "go.uber.org/goleak") {
			t.Errorf("the binary has %s", name)
		}
	}
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		top, name string
		allowed   bool
	}{
		{"store", "apibuilder/deploy", false},
		{"store", "apibuilder/store/sqlite", true},
		{"gateway", "apibuilder/store", true},
		{"gateway", "apibuilder/store/sqlite", false},
		{"gateway", "apibuilder/sandbox/nsjail", false},
		{"cli", "apibuilder/store/sqlite", true},
		{"cli", "apibuilder/store/storetest", false},
		{"admin", "testing", false},
		{"admin", "net/http/httptest", true},
	} {
		if got := forbidden(c.top, rules[c.top], c.name) == ""; got != c.allowed {
			t.Errorf("%s imports %s: allowed %v", c.top, c.name, got)
		}
	}
}
