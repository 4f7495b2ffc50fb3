package netstack

import (
	"bytes"
	"errors"
	"io"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
)

// mostTaken is the most bytes that the stack takes at once: it fills packets with them, and what is over would be a small one.
const mostTaken = 4 * (mostSegments - header.TCPTotalHeaderMaximumSize - 1)

// arrived is what a server has sent and the system still holds. The stack reads it into its own memory, without a copy in between, and
// has its endpoint unlocked meanwhile.
type arrived struct {
	from *egress.Conn
	left int
	err  error // why less came than there was
}

// Len implements tcpip.Payloader.
func (a *arrived) Len() int { return a.left }

// Read implements io.Reader. It never says io.EOF: the stack would ask for ever for what is left.
func (a *arrived) Read(b []byte) (n int, err error) {
	if len(b) == 0 || a.err != nil {
		return 0, a.err
	}
	n, a.err = a.from.Read(b[:min(len(b), a.left)])
	if errors.Is(a.err, io.EOF) {
		a.err = io.ErrUnexpectedEOF
	}
	a.left -= n
	return n, a.err
}

// copyIn passes on what a server sends, until it says that nothing more comes.
func copyIn(to tcpip.Endpoint, events *waiter.Queue, from *egress.Conn) error {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents)
	events.EventRegister(&entry)
	defer events.EventUnregister(&entry)
	for {
		n, err := from.Arrived()
		if err == nil && n > 0 {
			err = take(to, writable, from, min(n, mostTaken))
		} else if err == nil {
			var done bool
			if done, err = takeLast(to, writable, from); done {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// take has the stack take up to n bytes that are there.
func take(to tcpip.Endpoint, writable <-chan struct{}, from *egress.Conn, n int) error {
	a := arrived{from: from, left: n}
	if err := give(to, writable, &a); err != nil {
		return errors.Join(a.err, err)
	}
	return nil
}

// takeLast asks where nothing is there: it is the end, or something comes just now.
func takeLast(to tcpip.Endpoint, writable <-chan struct{}, from *egress.Conn) (done bool, err error) {
	var b [1]byte
	n, err := from.Read(b[:])
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return true, err
	}
	err = give(to, writable, bytes.NewReader(b[:]))
	return err != nil, err
}

// give has the stack take some of p, which is not empty, and waits where it has no room.
func give(to tcpip.Endpoint, writable <-chan struct{}, p tcpip.Payloader) error {
	for whole := p.Len(); p.Len() == whole; {
		if _, stop := to.Write(p, tcpip.WriteOptions{}); stop != nil {
			if _, full := stop.(*tcpip.ErrWouldBlock); !full {
				return errors.New(stop.String())
			}
			<-writable
		}
	}
	return nil
}
