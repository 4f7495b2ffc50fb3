package cli

import (
	"strings"
	"testing"
)

func TestBadSettingsOfNodes(t *testing.T) {
	for _, args := range [][]string{
		{"--limits-without-database", "maybe"},
		{"--node-name", "a\x1bb"},
		{"--node-name", strings.Repeat("a", 254)},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, args[0]+":") || strings.Contains(stderr, "\x1b") {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
}
