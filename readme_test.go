package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"apibuilder/sandbox/selftest"
)

// TestCommandsOfTheReadme finds the tests that the README's table says a command runs. A command has no bar: a table shows what is
// before it, and written as \| it means a bar to the shell's reader and none to go test.
func TestCommandsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || !strings.Contains(line, "`sudo scripts/test.sh ") {
			continue
		}
		checked++
		if strings.Count(line, "|") != 3 {
			t.Errorf("it has another bar than those of the table: %s", line)
			continue
		}
		words := strings.Fields(strings.Trim(strings.Split(line, "|")[2], " `"))
		run, dir := "", ""
		for i, word := range words {
			if word == "-run" {
				run = words[i+1]
			}
			if dir == "" && (word == "." || strings.HasPrefix(word, "./")) {
				dir = word
			}
		}
		name, script, _ := strings.Cut(run, "/")
		if dir == "" || !hasTest(t, dir, name) {
			t.Errorf("%q has no test that %q would run", dir, name)
		}
		if scripts, _ := filepath.Glob("cli/testdata/script/*" + script + "*.txtar"); script != "" && len(scripts) == 0 {
			t.Errorf("there is no script %q", script)
		}
	}
	if checked < 20 {
		t.Errorf("%d commands were found", checked)
	}
}

// TestTheReadmeCountsTheAttacks compares with what sandbox test tries.
func TestTheReadmeCountsTheAttacks(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("attacks sandboxes on this machine in %d ways", len(selftest.Checks())); !strings.Contains(string(text), want) {
		t.Errorf("the README does not say %q", want)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^func Test\w*` + strings.TrimPrefix(regexp.QuoteMeta(name), "Test"))
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		if wanted.Match(text) {
			return true
		}
	}
	return false
}
