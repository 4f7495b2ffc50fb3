package nsjail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// mostUnaccepted is how many TCP connections may wait in a sandbox to be accepted. Until then the kernel counts what they hold, some 100 KiB
	// each, to nobody (inet_csk_accept, net/ipv4/inet_connection_sock.c). A busy server has a few.
	mostUnaccepted = 1024
	// mostWaiting is how many bytes may wait in them: a program can have sockets with large buffers.
	mostWaiting = 16 << 20
	// quietTCP is how many bytes all TCP connections of the host may hold before sandboxes are looked at.
	quietTCP = 32 << 20
	// tightTCP is by how much the bounds are lower when TCP of the host holds half of what it may before the kernel saves (tcp_mem, tcp(7)).
	tightTCP = 32
	// tcpLook is how often that is looked at: a thread can have a gigabyte wait in a second.
	tcpLook = 100 * time.Millisecond
	// mostTCPRows is how many sockets a sandbox may have, which is as many as are looked at.
	mostTCPRows = 28_000
	// unseenBytes is what a connection counts as that waits and is in no table, at two looks: who made it has reset it.
	unseenBytes = 512 << 10
)

// tcpWatch ends sandboxes in which too many TCP connections wait to be accepted.
type tcpWatch struct {
	hostWatch
	proc   string         // like /proc
	unseen map[uint32]int // connections of a sandbox that were in no table at the last look
}

// look looks at the host, and where its TCP connections hold much, at those of each sandbox. What cannot be read counts as nothing.
func (w *tcpWatch) look() {
	sockets, err := os.ReadFile(w.proc + "/net/sockstat")
	pages := statOf(sockets, "TCP:", "mem")
	if err != nil || pages*os.Getpagesize() <= quietTCP {
		return
	}
	own, err := os.Readlink(w.proc + "/thread-self/ns/net") // the first thread may be in another one for a moment
	if err != nil {
		return
	}
	bound := waiting{connections: mostUnaccepted, bytes: mostWaiting}
	limits, _ := os.ReadFile(w.proc + "/sys/net/ipv4/tcp_mem")
	if first, _, _ := strings.Cut(string(limits), "\t"); 2*pages > atoi(first) && first != "" {
		bound = waiting{connections: mostUnaccepted / tightTCP, bytes: mostWaiting / tightTCP}
	}
	unseen := make(map[uint32]int)
	for uid, s := range w.all() {
		found := w.unaccepted(s.processes(), own)
		unseen[uid] = found.unseen
		if found.exceeds(bound, w.unseen[uid]) {
			w.end(uid)
		}
	}
	w.unseen = unseen
}

// waiting is what waits to be accepted.
type waiting struct {
	connections, bytes int
	unseen             int  // connections besides, of which nothing is known: they may have been accepted between two lines of a table
	large              bool // not all was looked at
}

// exceeds reports whether that is more than most; before is what was unseen at the look before.
func (w waiting) exceeds(most waiting, before int) bool {
	unseen := min(w.unseen, before)
	return w.large || w.connections+unseen > most.connections || w.bytes+unseen*unseenBytes > most.bytes
}

// unaccepted counts what waits in the network namespace of a sandbox's processes; of nsjail itself it is the host's. The first thread of one may have ended.
func (w *tcpWatch) unaccepted(processes []int, own string) (all waiting) {
	for _, p := range processes {
		threads := fmt.Sprintf("%s/%d/task", w.proc, p)
		ids, _ := os.ReadDir(threads) // none: it has ended
		for _, id := range ids {
			dir := threads + "/" + id.Name()
			namespace, err := os.Readlink(dir + "/ns/net")
			if err != nil {
				continue
			}
			if namespace == own {
				break
			}
			for _, table := range []string{"/net/tcp", "/net/tcp6"} {
				if file, err := os.Open(dir + table); err == nil { // else it has ended, or there is no IPv6
					all.add(file)
					_ = file.Close()
				}
			}
			return all
		}
	}
	return all
}

// statOf is a figure of /proc/net/sockstat, as in "TCP: inuse 8 orphan 0 tw 101 alloc 8 mem 461"; 0 where there is none.
func statOf(sockets []byte, protocol, name string) int {
	for line := range bytes.Lines(sockets) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != protocol {
			continue
		}
		for i := 1; i+1 < len(fields); i += 2 {
			if string(fields[i]) == name {
				return atoi(string(fields[i+1]))
			}
		}
	}
	return 0
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text) // 0: it is none
	return n
}

// add adds the connections of a table like /proc/net/tcp that are open and belong to no descriptor (inode 0), and those that its listeners count besides. It
// does not read on where there are too many rows: what listens is first, and may be there to hide the rest.
func (w *waiting) add(table io.Reader) {
	const state, queues, inode = 3, 4, 9
	rows, seen, backlog := 0, 0, 0
	for lines := bufio.NewScanner(table); lines.Scan() && rows <= mostTCPRows; {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) <= queues || string(fields[state]) == "06" { // TCP_TIME_WAIT, of which there may be many
			continue
		}
		rows++
		_, text, _ := strings.Cut(string(fields[queues]), ":")
		received, _ := strconv.ParseUint(text, 16, 32)
		switch string(fields[state]) {
		case "0A": // TCP_LISTEN, of which this is how many wait
			backlog += int(received) //nolint:gosec // 32 bits
		case "01", "08": // TCP_ESTABLISHED, or the other side has ended: TCP_CLOSE_WAIT
			if len(fields) > inode && string(fields[inode]) == "0" {
				seen++
				w.bytes += int(received) //nolint:gosec // as above
			}
		}
	}
	w.connections += seen
	w.unseen += max(backlog-seen, 0)
	w.large = w.large || rows > mostTCPRows
}
