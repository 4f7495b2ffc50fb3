package nsjail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
)

const (
	// mostLocks is how many locks of files a sandbox may hold: some 200 bytes each, which the kernel counts to nobody
	// (file_lock_cache, fs/locks.c). A database takes a handful for each connection.
	mostLocks = 8000
	// fewLocks is how many a sandbox may hold where the whole table is more than is read of it.
	fewLocks = 1000
	// mostLockTable is how much of the table is read. The newest of each processor are first in it.
	mostLockTable = 1 << 20
)

// lockWatch ends sandboxes that hold too many locks of files.
type lockWatch struct {
	hostWatch
	table string // like /proc/locks
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
		if n > bound {
			w.end(uid)
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
