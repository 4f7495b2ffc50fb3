package nsjail

import (
	"bufio"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// mostNetlink is how many bytes may wait in the netlink sockets of a sandbox; a resolver's wait for microseconds, and few.
	mostNetlink = 32 << 20
	// netlinkLook is how often that is looked at, in about 20 µs.
	netlinkLook = 500 * time.Millisecond
	rmemColumn  = 4 // of /proc/net/netlink
)

// watchNetlink looks at what waits in the netlink sockets of a network namespace, which its table lists and no control group counts,
// until stop is closed. It calls tooMuch once when that is more than mostNetlink, and ends.
func watchNetlink(table *os.File, stop <-chan struct{}, tooMuch func()) {
	tick := time.NewTicker(netlinkLook)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if heldByNetlink(io.NewSectionReader(table, 0, math.MaxInt64)) > mostNetlink {
				tooMuch()
				return
			}
		}
	}
}

// heldByNetlink adds up until it is too much. What cannot be read counts as nothing.
func heldByNetlink(table io.Reader) (bytes int64) {
	for lines := bufio.NewScanner(table); bytes <= mostNetlink && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > rmemColumn {
			n, err := strconv.ParseInt(fields[rmemColumn], 10, 64)
			if err == nil { // the line that names the columns has none
				bytes += n
			}
		}
	}
	return bytes
}
