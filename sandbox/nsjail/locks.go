package nsjail

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"time"
)

const (
	// mostLocks is how many locks of ranges of files a sandbox may hold: some 200 bytes each, which the kernel counts to nobody
	// (file_lock_cache, fs/locks.c). A database takes a handful for each connection.
	mostLocks = 8000
	// mostLockLines is how many lines about locks are read of a sandbox: a descriptor that is there twice tells of its locks twice.
	mostLockLines = 10 * mostLocks
	// lockLook is how often the host's table is looked at.
	lockLook = 500 * time.Millisecond
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
	held := 0
	for lines := bufio.NewScanner(table); held <= mostLocks && lines.Scan(); {
		held++
	}
	_ = table.Close()
	if held <= mostLocks {
		return
	}
	for uid, s := range w.all() {
		if w.tooMany(s.processes) {
			w.end(uid)
		}
	}
}

// tooMany counts the locks of a sandbox's processes. Of those that are made meanwhile, and have the locks of those that end, it counts them as well.
func (w *lockWatch) tooMany(processes func() []int) bool {
	const rounds = 5
	seen, held := map[int]bool{}, heldLocks{all: map[string]bool{}}
	for range rounds {
		before := len(seen)
		for _, p := range processes() {
			if seen[p] {
				continue
			}
			seen[p] = true
			if held.add(fmt.Sprintf("%s/%d/task", w.proc, p)); held.tooMany() {
				return true
			}
		}
		if len(seen) == before {
			break
		}
	}
	return false
}

// heldLocks are locks, each once however many have it.
type heldLocks struct {
	all   map[string]bool
	lines int // that were read
}

func (h *heldLocks) tooMany() bool { return len(h.all) > mostLocks || h.lines > mostLockLines }

// add adds the locks that a process holds by its descriptors (proc_pid_fdinfo(5)), until there are too many. Its threads have the same ones; the first may
// have ended. Locks by flock(2) are no more than there are open files, which are counted as memory.
func (h *heldLocks) add(threads string) {
	ids, _ := os.ReadDir(threads) // none: it has ended
	for _, id := range ids {
		dir := threads + "/" + id.Name() + "/fdinfo"
		descriptors, err := os.Open(dir)
		if err != nil {
			continue
		}
		found := false
		for !h.tooMany() {
			names, _ := descriptors.Readdirnames(1000)
			if len(names) == 0 {
				break
			}
			found = true
			for _, name := range names {
				h.addOf(dir + "/" + name)
			}
		}
		_ = descriptors.Close()
		if found {
			return
		}
	}
}

// addOf adds the locks of one descriptor.
func (h *heldLocks) addOf(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); !h.tooMany() && lines.Scan(); {
		if !bytes.HasPrefix(lines.Bytes(), []byte("lock:")) {
			continue
		}
		h.lines++
		if _, lock, is := bytes.Cut(lines.Bytes(), []byte(" POSIX ")); is {
			h.all[string(lock)] = true
		}
	}
}
