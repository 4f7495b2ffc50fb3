package nsjail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocksAreCounted(t *testing.T) {
	own := os.Getpid()
	held := func(n int) string {
		var table strings.Builder
		for i := range n {
			fmt.Fprintf(&table, "%d: POSIX  ADVISORY  WRITE %d fe:00:860325 %d %d\n", i+1, own, 2*i, 2*i)
			fmt.Fprintf(&table, "%d: -> POSIX  ADVISORY  WRITE %d fe:00:860325 %d %d\n", i+1, own, 2*i, 2*i)
		}
		return table.String()
	}
	others := strings.Repeat("9: OFDLCK ADVISORY  READ -1 00:05:2 0 EOF\n", 1000)
	for name, c := range map[string]struct {
		table string
		ends  bool
	}{
		"none":                    {"", false},
		"no table":                {"9: POSIX\n\x00\xff: what\n", false},
		"as many as may be":       {others + held(mostLocks), false},
		"too many":                {others + held(mostLocks+1), true},
		"few, in a large table":   {held(fewLocks/2) + strings.Repeat(others, 50), false},
		"many, in a large table":  {held(2*fewLocks) + strings.Repeat(others, 50), true},
		"too many of nobody's":    {strings.ReplaceAll(held(mostLocks+1), fmt.Sprint(" ", own, " "), " 4194305 "), false},
		"a line that never ends":  {strings.Repeat("9", 2*mostLockTable), false},
		"behind what is not read": {strings.Repeat(others, 50) + held(mostLocks+1), false},
	} {
		t.Run(name, func(t *testing.T) {
			table := filepath.Join(t.TempDir(), "locks")
			if err := os.WriteFile(table, []byte(c.table), 0o600); err != nil {
				t.Fatal(err)
			}
			ended := 0
			uid := uint32(os.Getuid()) //nolint:gosec // an id is one
			w := &lockWatch{newHostWatch(), table}
			w.watch(uid+1, watched{end: func() { t.Error("another sandbox was ended") }})
			w.watch(uid, watched{end: func() { ended++ }})
			w.look()
			w.look()
			if ended != map[bool]int{true: 1}[c.ends] {
				t.Errorf("it was ended %d times", ended)
			}
			w.watch(uid, watched{end: func() { t.Error("a sandbox that has ended was ended") }})
			w.forget(uid)
			w.look()
		})
	}
}
