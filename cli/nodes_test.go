package cli

import (
	"strings"
	"testing"

	"apibuilder/store"
)

func TestNodesWithOtherKeysAreTold(t *testing.T) {
	all := []store.Node{
		{ID: "own", Name: "own", Keys: "other"}, // as it was when it was killed
		{ID: "a", Name: "same", Keys: "k1"},
		{ID: "b", Name: "before the second copy", Keys: "k0 k1"},
		{ID: "c", Name: "does not say"},
		{ID: "d", Name: "gone", Keys: "other", Silent: store.NodeSilence},
		{ID: "e", Name: "has ours only behind its own", Keys: "other k1"},
		{ID: "f", Name: "has not ours", Keys: "k0"},
	}
	var names []string
	for _, n := range withOtherKeys("own", []string{"k1", "k0"}, all) {
		names = append(names, n.Name)
	}
	if got := strings.Join(names, ", "); got != "has ours only behind its own, has not ours" {
		t.Errorf("told of %s", got)
	}
}

func TestACopyOfANodeIsTold(t *testing.T) {
	own := store.Node{ID: "own", Name: "first"}
	for name, c := range map[string]struct {
		there store.Node
		want  bool
	}{
		"it was killed":  {store.Node{ID: "own", Name: "first"}, false},
		"another node":   {store.Node{ID: "other", Name: "second"}, false},
		"a copy":         {store.Node{ID: "own", Name: "second"}, true},
		"a copy, silent": {store.Node{ID: "own", Name: "second", Silent: store.NodeSilence}, false},
	} {
		if n, ok := copyOf(own, []store.Node{{ID: "more"}, c.there}); ok != c.want || ok && n.Name != "second" {
			t.Errorf("%s: %+v, %t", name, n, ok)
		}
	}
}

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
