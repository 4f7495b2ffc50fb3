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

// intake gives the stack what a server sends.
type intake struct {
	to       tcpip.Endpoint
	from     *egress.Conn
	writable <-chan struct{}
	pieces   pieces
}

// copyIn passes on what a server sends, until it says that nothing more comes. The stack holds at most so many bytes of it.
func copyIn(to tcpip.Endpoint, events *waiter.Queue, from *egress.Conn, most int64) error {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents)
	events.EventRegister(&entry)
	defer events.EventUnregister(&entry)
	in := intake{to: to, from: from, writable: writable, pieces: pieces{most: most}}
	for {
		n, err := from.Arrived()
		if err == nil && n > 0 {
			err = in.take(min(n, mostTaken))
		} else if err == nil {
			var done bool
			if done, err = in.takeLast(); done {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// take has the stack take up to n bytes that are there.
func (in *intake) take(n int) error {
	a := arrived{from: in.from, left: n}
	if err := in.give(&a); err != nil {
		return errors.Join(a.err, err)
	}
	return nil
}

// takeLast asks where nothing is there: it is the end, or something comes just now.
func (in *intake) takeLast() (done bool, err error) {
	var b [1]byte
	n, err := in.from.Read(b[:])
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return true, err
	}
	err = in.give(bytes.NewReader(b[:]))
	return err != nil, err
}

// give has the stack take some of p, which is not empty, and waits where it has no room.
func (in *intake) give(p tcpip.Payloader) error {
	for whole := p.Len(); p.Len() == whole; {
		in.to.SocketOptions().SetSendBufferSize(in.pieces.room(), false)
		n, stop := in.to.Write(p, tcpip.WriteOptions{})
		in.pieces.wrote(n)
		if stop != nil {
			if _, full := stop.(*tcpip.ErrWouldBlock); !full {
				return errors.New(stop.String())
			}
			<-in.writable
		}
	}
	return nil
}
