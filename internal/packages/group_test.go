package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const directory = "../../testdata/packages"

// group is one program of testdata/packages: what it is about, and the packages that it uses, in one environment.
type group struct {
	name         string // of its files
	title        string
	requirements string
	code         string
	uses         []use // in the order of the program
}

// use is one function of a program.
type use struct {
	pkg     string
	version string
	does    string
}

var (
	pin      = regexp.MustCompile(`(?m)^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)$`)
	module   = regexp.MustCompile(`\A"""([^.]+)\.`)
	function = regexp.MustCompile(`(?m)^(?:async )?def ([a-z]\w*)\(\):\n    """(.+)"""$`)
)

// readGroups reads all programs. A package that is required and not used, or used and not required, fails the test.
func readGroups(t *testing.T) []group {
	t.Helper()
	lists, err := filepath.Glob(directory + "/*.txt")
	if err != nil || len(lists) == 0 {
		t.Fatalf("find the programs: %v, %d", err, len(lists))
	}
	routes := readFile(t, directory+"/routes.py")
	var groups []group
	for _, list := range lists {
		name := strings.TrimSuffix(filepath.Base(list), ".txt")
		code := readFile(t, filepath.Join(directory, name+".py"))
		title := module.FindStringSubmatch(code)
		if title == nil {
			t.Fatalf("%s.py does not say what it is about", name)
		}
		g := group{name: name, title: title[1], requirements: readFile(t, list), code: code + "\n\n" + routes}
		versions := map[string]string{}
		for _, m := range pin.FindAllStringSubmatch(g.requirements, -1) {
			versions[m[1]] = m[2]
		}
		if lines := strings.Count(g.requirements, "\n"); lines != len(versions) {
			t.Errorf("%s.txt pins %d packages in %d lines", name, len(versions), lines)
		}
		for _, m := range function.FindAllStringSubmatch(code, -1) {
			pkg := strings.ReplaceAll(m[1], "_", "-")
			if versions[pkg] == "" {
				t.Errorf("%s.py uses %s, which %s.txt does not require", name, pkg, name)
			}
			g.uses = append(g.uses, use{pkg, versions[pkg], m[2]})
			delete(versions, pkg)
		}
		for pkg := range versions {
			t.Errorf("%s.txt requires %s, which no function of %s.py uses", name, pkg, name)
		}
		slices.SortFunc(g.uses, func(a, b use) int { return strings.Compare(a.pkg, b.pkg) })
		groups = append(groups, g)
	}
	return groups
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// memory is what a use was measured to need: bytes of its own, and whether the default limits are enough.
type memory struct {
	bytes    int64
	defaults bool
}

const (
	document = "../../docs/packages.md"
	head     = "| package | version | what it did | memory | in the default limits |\n|---|---|---|---|---|\n"
)

// columns are the part of a line of the table that is known without running anything.
func (u use) columns() string { return fmt.Sprintf("| %s | %s | %s |", u.pkg, u.version, u.does) }

func (u use) line(m memory) string {
	enough := "yes"
	if !m.defaults {
		enough = "no"
	}
	return fmt.Sprintf("%s %d MiB | %s |\n", u.columns(), (m.bytes+1<<19)>>20, enough)
}

// table is the part of the document below its first heading of the second level.
func table(groups []group, measured map[string]memory) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "## %s\n%s", g.title, head)
		for _, u := range g.uses {
			b.WriteString(u.line(measured[u.pkg]))
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestTableIsInStep compares the document with the programs, but for the measured columns.
func TestTableIsInStep(t *testing.T) {
	if *update { // TestDocument writes it
		return
	}
	measured := regexp.MustCompile(` [0-9]+ MiB \| (yes|no) \|$`)
	var got, want []string
	_, tables, _ := strings.Cut(readFile(t, document), "\n## ")
	for line := range strings.Lines("## " + tables) {
		got = append(got, measured.ReplaceAllString(strings.TrimSuffix(line, "\n"), ""))
	}
	for _, g := range readGroups(t) {
		if len(want) > 0 {
			want = append(want, "")
		}
		want = append(want, strings.Split("## "+g.title+"\n"+strings.TrimSuffix(head, "\n"), "\n")...)
		for _, u := range g.uses {
			want = append(want, u.columns())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/packages.md is not in step with testdata/packages: write it by go test ./internal/packages -args -update\n"+
			"has:\n%s\nwants:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
