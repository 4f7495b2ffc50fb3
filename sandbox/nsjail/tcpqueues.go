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
	// mostUnaccepted is how many TCP connections may wait in a sandbox to be accepted. Until then the kernel counts what they hold, some 100 KiB
	// each, to nobody (inet_csk_accept, net/ipv4/inet_connection_sock.c). A busy server has a few.
	mostUnaccepted = 1024
	// quietTCP is how many pages all TCP connections of the host may hold before sandboxes are looked at: 32 MiB.
	quietTCP = 32 << 20 >> 12
	// mostTCPTable is how much is read of a sandbox's table, 150 bytes for each connection.
	mostTCPTable = 4 << 20
)

// tcpWatch ends sandboxes in which too many TCP connections wait to be accepted.
type tcpWatch struct {
	hostWatch
	proc string // like /proc
}

// look looks at the host, and where its TCP connections hold much, at those of each sandbox. What cannot be read counts as nothing.
func (w *tcpWatch) look() {
	sockets, err := os.ReadFile(w.proc + "/net/sockstat")
	if err != nil || statOf(sockets, "TCP:", "mem") <= quietTCP {
		return
	}
	own, err := os.Readlink(w.proc + "/self/ns/net")
	if err != nil {
		return
	}
	for uid, s := range w.all() {
		if w.unaccepted(s.processes(), own) > mostUnaccepted {
			w.end(uid)
		}
	}
}

// unaccepted counts the connections that wait in the network namespace of the processes; of nsjail itself it is the host's.
func (w *tcpWatch) unaccepted(processes []int, own string) (n int) {
	for _, p := range processes {
		dir := fmt.Sprintf("%s/%d", w.proc, p)
		if namespace, err := os.Readlink(dir + "/ns/net"); err != nil || namespace == own {
			continue
		}
		sockets, err := os.ReadFile(dir + "/net/sockstat")
		if err != nil { // it has ended
			continue
		}
		sockets6, _ := os.ReadFile(dir + "/net/sockstat6") // none without IPv6
		if statOf(sockets, "TCP:", "inuse")+statOf(sockets6, "TCP6:", "inuse") <= mostUnaccepted {
			return 0
		}
		for _, table := range []string{"/net/tcp", "/net/tcp6"} {
			if file, err := os.Open(dir + table); err == nil {
				n += countUnaccepted(io.LimitReader(file, mostTCPTable))
				_ = file.Close()
			}
		}
		return n
	}
	return 0
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
				n, _ := strconv.Atoi(string(fields[i+1]))
				return n
			}
		}
	}
	return 0
}

// countUnaccepted counts the connections of a table like /proc/net/tcp that are open and belong to no descriptor (inode 0).
func countUnaccepted(table io.Reader) (n int) {
	const state, inode = 3, 9
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) <= inode || string(fields[inode]) != "0" {
			continue
		}
		if s := string(fields[state]); s == "01" || s == "08" { // TCP_ESTABLISHED, or the other side has ended: TCP_CLOSE_WAIT
			n++
		}
	}
	return n
}
