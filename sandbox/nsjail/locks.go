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
	// mostLocks is how many locks of files a sandbox may hold: some 200 bytes each, which the kernel counts to nobody
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
	held := countLines(limited, nil, mostLockTable)
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

// locksOf counts the locks that the descriptors of a sandbox's processes hold (proc_pid_fdinfo(5)), until there are more than most. Of processes that are made
// meanwhile, and have the locks of those that end, it counts them as well.
func (w *lockWatch) locksOf(processes func() []int, most int) (n int) {
	const rounds = 5
	seen := map[int]bool{}
	for range rounds {
		before := len(seen)
		for _, p := range processes() {
			if !seen[p] {
				seen[p] = true
				n += w.locksIn(p, most+1-n)
			}
			if n > most {
				return n
			}
		}
		if len(seen) == before {
			break
		}
	}
	return n
}

// locksIn counts the locks that the descriptors of one process hold, until there are so many.
func (w *lockWatch) locksIn(process, most int) (n int) {
	dir, err := os.Open(fmt.Sprintf("%s/%d/fdinfo", w.proc, process))
	if err != nil { // it has ended
		return 0
	}
	defer dir.Close()
	for n < most {
		names, _ := dir.Readdirnames(1000)
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			if file, err := os.Open(dir.Name() + "/" + name); err == nil {
				n += countLines(file, []byte("lock:"), most-n)
				_ = file.Close()
			}
		}
	}
	return n
}

// countLines counts the lines that begin so, until there are so many.
func countLines(text io.Reader, prefix []byte, most int) (n int) {
	for lines := bufio.NewScanner(text); n < most && lines.Scan(); {
		if bytes.HasPrefix(lines.Bytes(), prefix) {
			n++
		}
	}
	return n
}
