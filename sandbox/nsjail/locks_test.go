package nsjail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLocksAreCounted(t *testing.T) {
	const (
		line  = "1: POSIX  ADVISORY  WRITE 4242 fe:00:860325 0 EOF\n"
		flock = "lock:\t1: FLOCK  ADVISORY  WRITE 4141 00:2d:17 0 EOF\n"
		fd    = "pos:\t0\nflags:\t0100002\nmnt_id:\t37\nino:\t17\n"
	)
	at := 0
	locks := func(n int) string { // of different ranges
		var b strings.Builder
		for range n {
			at += 2
			fmt.Fprintf(&b, "lock:\t1: POSIX  ADVISORY  WRITE 4141 00:2d:17 %d %d\n", at, at)
		}
		return b.String()
	}
	const large = 3 * mostLocks
	spread := make([]string, mostLocks/10+1)
	for i := range spread {
		spread[i] = fd + locks(10)
	}
	for name, c := range map[string]struct {
		table int      // locks of the host
		fds   []string // of the sandbox's second process
		ends  bool
	}{
		"none":                                {table: 20, fds: []string{fd}},
		"as many as may be":                   {table: mostLocks, fds: []string{fd + locks(mostLocks)}},
		"too many of one descriptor":          {table: mostLocks + 1, fds: []string{fd, fd + locks(mostLocks+1)}, ends: true},
		"too many of many":                    {table: mostLocks + 10, fds: spread, ends: true},
		"each once":                           {table: large, fds: []string{fd + strings.Repeat("lock:\t1: POSIX  ADVISORY  WRITE 4141 00:2d:17 0 0\n", 2*mostLocks)}},
		"those of whole files":                {table: large, fds: []string{fd + strings.Repeat(flock, 2*mostLocks)}},
		"others have them":                    {table: mostLocks + 1, fds: []string{fd + locks(100)}},
		"as many, where the host has more":    {table: large, fds: []string{fd + locks(mostLocks)}},
		"a descriptor that is there often":    {table: large, fds: slices.Repeat([]string{fd + locks(1000)}, 81), ends: true},
		"descriptors that say nothing":        {table: large, fds: []string{"", strings.Repeat("9", 1<<20), "\x00\xff"}},
		"what is no lock, but begins like it": {table: large, fds: []string{strings.Repeat("locks: POSIX \n", mostLocks+1)}},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			write := func(path, text string) {
				at := filepath.Join(proc, path)
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("locks", strings.Repeat(line, c.table))
			write("7/task/7/fdinfo/0", fd)
			if err := os.MkdirAll(filepath.Join(proc, "42/task/42/fdinfo"), 0o700); err != nil { // the first thread has ended
				t.Fatal(err)
			}
			for i, text := range c.fds {
				write(fmt.Sprint("42/task/44/fdinfo/", i), text)
				write(fmt.Sprint("42/task/45/fdinfo/", i), text)
			}
			ended := 0
			w := &lockWatch{newHostWatch(), proc}
			asked := 0
			w.watch(1, watched{func() []int { // the second process is made while the first is looked at
				if asked++; asked%2 == 1 {
					return []int{7, 43}
				}
				return []int{7, 42, 43}
			}, func() { ended++ }})
			w.watch(2, watched{func() []int { return []int{7} }, func() { t.Error("another sandbox was ended") }})
			w.look()
			w.look()
			if ended != map[bool]int{true: 1}[c.ends] {
				t.Errorf("it was ended %d times", ended)
			}
			w.watch(1, watched{func() []int { return []int{42} }, func() { t.Error("a sandbox that has ended was ended") }})
			w.forget(1)
			w.look()
		})
	}
}
