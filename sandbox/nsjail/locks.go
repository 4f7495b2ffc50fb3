package nsjail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// mostLocks is how many locks of files a sandbox may hold: some 200 bytes each, which the kernel counts to nobody
	// (file_lock_cache, fs/locks.c). A database takes a handful for each connection.
	mostLocks = 8000
	// fewLocks is how many a sandbox may hold where the whole table is more than is read of it.
	fewLocks = 1000
	// locksLook is how often the table is looked at, in some 30 us on a host with few.
	locksLook = 500 * time.Millisecond
	// mostLockTable is how much of the table is read. The newest of each processor are first in it.
	mostLockTable = 1 << 20
)

// lockWatch ends sandboxes that hold too many locks of files. Safe for concurrent use.
type lockWatch struct {
	table      string
	stop, done chan struct{}

	mu   sync.Mutex
	ends map[uint32]func() // by the user id of the sandbox; removed when it was called
}

// watchLocks looks at a table like /proc/locks until close.
func watchLocks(table string) *lockWatch {
	w := &lockWatch{table: table, stop: make(chan struct{}), done: make(chan struct{}), ends: map[uint32]func(){}}
	go w.run()
	return w
}

func (w *lockWatch) close() {
	close(w.stop)
	<-w.done
}

// watch has tooMany called once when the processes of uid hold too many locks, until forget.
func (w *lockWatch) watch(uid uint32, tooMany func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[uid] = tooMany
}

func (w *lockWatch) forget(uid uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ends, uid)
}

func (w *lockWatch) run() {
	defer close(w.done)
	tick := time.NewTicker(locksLook)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look reads the table once. What cannot be read counts as nothing.
func (w *lockWatch) look() {
	file, err := os.Open(w.table)
	if err != nil {
		return
	}
	defer file.Close()
	byProcess, all := countLocks(file)
	bound := mostLocks
	if !all {
		bound = fewLocks
	}
	byUser := map[uint32]int{}
	for process, n := range byProcess {
		if n*100 < bound { // not worth a look at who it is: a sandbox has 64 processes
			continue
		}
		if uid, ok := userOf(process); ok {
			byUser[uid] += n
		}
	}
	for uid, n := range byUser {
		if n <= bound {
			continue
		}
		w.mu.Lock()
		end := w.ends[uid]
		delete(w.ends, uid)
		w.mu.Unlock()
		if end != nil {
			end()
		}
	}
}

// countLocks counts the locks that processes hold (proc_locks(5)), and says whether it has seen all there are. A lock
// that somebody waits for is not counted: its process waits, and processes are.
func countLocks(table io.Reader) (byProcess map[int]int, all bool) {
	byProcess = map[int]int{}
	limited := &io.LimitedReader{R: table, N: mostLockTable}
	for lines := bufio.NewScanner(limited); lines.Scan(); {
		const process = 4 // 1: POSIX  ADVISORY  WRITE 28124 fe:00:860325 0 EOF
		if fields := bytes.Fields(lines.Bytes()); len(fields) > process {
			if n, err := strconv.Atoi(string(fields[process])); err == nil {
				byProcess[n]++
			}
		}
	}
	return byProcess, limited.N > 0
}

// userOf is the real user of a process. The owner of its directory would be root where it is not dumpable.
func userOf(process int) (uid uint32, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(status, []byte("\nUid:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(fields[0]), 10, 32)
	return uint32(n), err == nil
}
