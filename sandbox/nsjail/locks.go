package nsjail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// mostLocks is how many locks of ranges of files a sandbox may hold: some 200 bytes each, which the kernel counts to nobody
	// (file_lock_cache, fs/locks.c). A database takes a handful for each connection.
	mostLocks = 8000
	// fewLocks is how many a sandbox may hold where the host has more than it is worth to count.
	fewLocks = 1000
	// lockLook is how often the host's table is looked at.
	lockLook = 500 * time.Millisecond
	// mostLockTable is how much of the table is read, some 20,000 locks.
	mostLockTable = 1 << 20
)

// lockWatch ends sandboxes that hold too many locks of files.
type lockWatch struct {
	hostWatch
	proc string // like /proc
}

// look looks at the table of the host's locks, and where there are so many that one sandbox may have too many, at what the processes of each hold. The table
// says who took a lock, which may have ended since; a lock that was inherited lives on. What cannot be read counts as nothing.
func (w *lockWatch) look() {
	table, err := os.Open(w.proc + "/locks")
	if err != nil {
		return
	}
	limited := &io.LimitedReader{R: table, N: mostLockTable}
	held := 0
	for lines := bufio.NewScanner(limited); lines.Scan(); {
		held++
	}
	_ = table.Close()
	bound := mostLocks
	if limited.N == 0 {
		bound = fewLocks
	}
	if held <= bound {
		return
	}
	for uid, s := range w.all() {
		if w.locksOf(s.processes, bound) > bound {
			w.end(uid)
		}
	}
}

// locksOf counts the locks that the threads of a sandbox hold by their descriptors (proc_pid_fdinfo(5)), until there are more than most: each
// once, however many have it. Of processes that are made meanwhile, and have the locks of those that end, it counts them as well.
func (w *lockWatch) locksOf(processes func() []int, most int) int {
	const rounds = 5
	seen, held := map[int]bool{}, map[string]bool{}
	for range rounds {
		before := len(seen)
		for _, p := range processes() {
			if seen[p] {
				continue
			}
			seen[p] = true
			threads, _ := os.ReadDir(fmt.Sprintf("%s/%d/task", w.proc, p)) // none: it has ended
			for _, t := range threads {
				if w.addLocks(fmt.Sprintf("%s/%d/task/%s/fdinfo", w.proc, p, t.Name()), held, most); len(held) > most {
					return len(held)
				}
			}
		}
		if len(seen) == before {
			break
		}
	}
	return len(held)
}

// addLocks adds the locks of the descriptors in a directory, until there are more than most. Those by flock(2) are no more than there are open files,
// which are counted as memory.
func (w *lockWatch) addLocks(dir string, held map[string]bool, most int) {
	all, err := os.Open(dir)
	if err != nil { // it has ended
		return
	}
	defer all.Close()
	for {
		names, _ := all.Readdirnames(1000)
		if len(names) == 0 {
			return
		}
		for _, name := range names {
			file, err := os.Open(dir + "/" + name)
			if err != nil {
				continue
			}
			for lines := bufio.NewScanner(file); len(held) <= most && lines.Scan(); {
				if lock, is := bytes.CutPrefix(lines.Bytes(), []byte("lock:")); is && bytes.Contains(lock, []byte(" POSIX ")) {
					held[string(lock)] = true
				}
			}
			_ = file.Close()
			if len(held) > most {
				return
			}
		}
	}
}
