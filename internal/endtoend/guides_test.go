package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuides does what the guides for authors, consumers and operators say, against a server as one is at first. Fenced blocks of
// sh are run, in their order and in one shell; blocks with a file's name are that file; each line of a block of output must be in
// what the block before it printed. A block of sh that cannot be run says why: "sh skip: reason".
func TestGuides(t *testing.T) {
	s := serve(t, dataDir(t))
	for _, c := range []struct {
		page               string
		least, mostSkipped int // blocks that are run, and that are not: a fence that is misspelt must not go unnoticed
	}{
		{"docs/consumers.md", 4, 0},
		{"docs/authors.md", 11, 1},
		{"docs/operating.md", 2, 5},
	} {
		t.Run(filepath.Base(c.page), func(t *testing.T) {
			g := readGuide(t, c.page, s)
			if len(g.shells) < c.least || g.skipped > c.mostSkipped {
				t.Errorf("%d blocks are run and %d are not; at least %d should be, and at most %d not", len(g.shells), g.skipped, c.least, c.mostSkipped)
			}
			g.run(t)
		})
	}
}

// exampleKey is the key of the example, which the server tells when it is ready.
func (s *server) exampleKey() string {
	hello, _ := s.ready["example"].(map[string]any)
	key, _ := hello["key"].(string)
	return key
}

// guide is a page of the documentation, and what is to be done of it.
type guide struct {
	server  *server
	page    string
	dir     string
	shells  []shellBlock
	skipped int
}

type shellBlock struct {
	line   int
	text   string
	output []string // lines that it must print
}

var fence = regexp.MustCompile("(?m)^```([a-z]*)(?: (.*))?\n((?s:.*?))^```$")

// readGuide writes the files of a page and finds what is to be run.
func readGuide(t *testing.T, page string, s *server) *guide {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{server: s, page: page, dir: t.TempDir()}
	text := strings.ReplaceAll(string(raw), "http://127.0.0.1:8080", s.url)
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return text[at[2*i]:at[2*i+1]]
		}
		line := strings.Count(text[:at[0]], "\n") + 1
		kind, info, body := part(1), part(2), part(3)
		reason, skip := strings.CutPrefix(info, "skip: ")
		switch {
		case kind == "sh" && skip && len(reason) > 20:
			g.skipped++
		case kind == "sh" && info == "":
			g.shells = append(g.shells, shellBlock{line: line, text: body})
		case kind == "output" && info == "" && len(g.shells) > 0:
			last := &g.shells[len(g.shells)-1]
			last.output = append(last.output, strings.Split(strings.TrimSpace(body), "\n")...)
		case info != "" && !skip && filepath.Base(info) == info:
			if err := os.WriteFile(filepath.Join(g.dir, info), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("%s:%d: nobody knows what is to be done with a block of %q %q", page, line, kind, info)
		}
	}
	return g
}

// preamble is what a reader's shell has and the test's has not. It is root, as the reader is by sudo, and patient.
const preamble = `set -euo pipefail
sudo() { "$@"; }
apibuilder() {
	if [ "$1 $2" = "sandbox test" ]; then set -- "$@" --start-timeout 5m; fi
	"$BINARY" "$@"
}
`

// run runs the blocks in one shell.
func (g *guide) run(t *testing.T) {
	t.Helper()
	const mark = "=== block "
	script := preamble
	for i, b := range g.shells {
		script += fmt.Sprintf("echo; echo '%s%d'\n%s\n", mark, i, b.text)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "BINARY="+binary, "APIBUILDER_DATA_DIR="+g.server.dataDir, "KEY="+g.server.exampleKey())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	parts := strings.Split(stdout.String(), "\n"+mark)[1:]
	if err != nil && len(parts) > 0 {
		t.Fatalf("%s:%d: %v\n%s\n%s", g.page, g.shells[len(parts)-1].line, err, parts[len(parts)-1], stderr.String())
	}
	if err != nil || len(parts) != len(g.shells) {
		t.Fatalf("%s: %v, %d of %d blocks\n%s", g.page, err, len(parts), len(g.shells), stderr.String())
	}
	for i, b := range g.shells {
		for _, want := range b.output {
			if !strings.Contains(parts[i], want) {
				t.Errorf("%s:%d: it printed no %q:\n%s", g.page, b.line, want, parts[i])
			}
		}
	}
}
