package netstack

import (
	"bytes"
	"errors"
	"io"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
)

// mostArriving is how many bytes the stack takes of a connection between two looks at its own memory.
const mostArriving = 256 << 10

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
			err = take(to, writable, from, min(n, mostArriving))
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

// take has the stack take up to n bytes that are there, and waits where it has no room.
func take(to tcpip.Endpoint, writable <-chan struct{}, from *egress.Conn, n int) error {
	a := arrived{from: from, left: n}
	for a.left == n {
		if _, stop := to.Write(&a, tcpip.WriteOptions{}); stop != nil {
			if _, full := stop.(*tcpip.ErrWouldBlock); !full {
				return errors.Join(a.err, errors.New(stop.String()))
			}
			<-writable
		}
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
	one := bytes.NewReader(b[:])
	for one.Len() > 0 {
		if _, stop := to.Write(one, tcpip.WriteOptions{}); stop != nil {
			if _, full := stop.(*tcpip.ErrWouldBlock); !full {
				return true, errors.New(stop.String())
			}
			<-writable
		}
	}
	return false, nil
}
