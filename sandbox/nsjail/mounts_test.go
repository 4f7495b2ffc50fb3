package nsjail

import (
	"slices"
	"testing"

	"apibuilder/sandbox"
)

// TestAnInterpreterBelowTmpIsSeen is about a data directory in /tmp: what is bound before the tmpfs would be hidden by it.
// The prefix comes alone, because a file that a later mount hides cannot be made read-only.
func TestAnInterpreterBelowTmpIsSeen(t *testing.T) {
	l := sandbox.Launch{}
	l.Python, l.Mounts = "/tmp/data/pythons/py/bin/python3.10", []string{"/tmp/data/pythons/py"}
	all := jail{layout: layout{dir: "/r"}, limits: sandbox.DefaultLimits, shown: interpreterPaths(l)}.mounts()
	at := func(to string) int { return slices.IndexFunc(all, func(m mount) bool { return m.to == to }) }
	if tmp, py := at("/tmp"), at("/tmp/data/pythons/py"); tmp < 0 || py < tmp {
		t.Errorf("/tmp is mount %d, the interpreter %d", tmp, py)
	}
	if at(l.Python) >= 0 {
		t.Error("a file in the prefix is bound for itself")
	}
}
