package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryCommandHasAScript finds each command of the reference, which is made from the program, in a script that executes it.
func TestEveryCommandHasAScript(t *testing.T) {
	reference, err := os.ReadFile("docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^## apibuilder (.+)$`).FindAllSubmatch(reference, -1) {
		names = append(names, string(found[1]))
	}
	if len(names) < 50 {
		t.Fatalf("the reference has only %d commands", len(names))
	}
	scripts := allScripts(t)
	for _, name := range names {
		hasMore := slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+" ") })
		// Scripts have a word of their own for `serve`; what has commands below it does nothing itself.
		if name == "serve" || hasMore {
			continue
		}
		executed := regexp.MustCompile(`(?m)^(!\s+)?(exec|asnobody)\s.*apibuilder( --?[a-z-]+[= ]\S+)* ` + regexp.QuoteMeta(name) + `\b`)
		if !executed.MatchString(scripts) {
			t.Errorf("no script in cli/testdata executes `apibuilder %s`", name)
		}
	}
}

func allScripts(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("cli/testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
