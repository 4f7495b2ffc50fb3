package netstack

import (
	"errors"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
)

const (
	leastDirect = 8 << 10   // bytes in a row that go to the socket from where the stack has them; less is put together first
	mostDirect  = 256 << 10 // bytes between two looks at the bandwidth; egress.Conn's bound
)

var (
	errSmall = errors.New("too little for a write of its own")
	errFull  = errors.New("nothing more is taken now")
)

// direct writes to a connection what the stack holds, without a copy in between. The stack keeps the endpoint locked meanwhile,
// so that nothing here waits.
type direct struct {
	to   *egress.Conn
	left int   // bytes until the bandwidth is looked at
	err  error // why no more was taken
}

// Write implements io.Writer.
func (d *direct) Write(b []byte) (n int, err error) {
	switch {
	case len(b) < leastDirect:
		d.err = errSmall
	case d.left < len(b):
		d.err = errFull
	default:
		n, d.err = d.to.WriteNow(b)
		d.left -= n
		if d.err == nil && n < len(b) {
			d.err = errFull
		}
	}
	return n, d.err
}

// copyOut passes on what a program sends, until it says that nothing more comes.
func copyOut(to *egress.Conn, from tcpip.Endpoint, events *waiter.Queue) error {
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	events.EventRegister(&entry)
	defer events.EventUnregister(&entry)
	small := make([]byte, firstCopy)
	for {
		d := direct{to: to, left: mostDirect}
		got, stop := from.Read(&d, tcpip.ReadOptions{})
		if got.Count > 0 {
			to.Wrote(got.Count)
		}
		if stop == nil && d.err == nil {
			continue
		}
		var err error
		switch {
		case errors.Is(d.err, errSmall), errors.Is(d.err, errFull) && got.Count == 0: // a system without memory takes nothing, and says it would
			small, err = copySmall(to, from, small)
		case errors.Is(d.err, errFull):
			err = to.Writable()
		case d.err != nil:
			err = d.err
		default:
			var done bool
			if done, err = awaitMore(stop, readable); done {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// copySmall passes on what comes in small pieces, put together, and returns the buffer for the next time.
func copySmall(to *egress.Conn, from tcpip.Endpoint, b []byte) ([]byte, error) {
	w := tcpip.SliceWriter(b)
	got, stop := from.Read(&w, tcpip.ReadOptions{})
	if stop != nil {
		return b, nil // copyOut finds it too
	}
	if got.Count == len(b) && len(b) < mostCopy {
		if _, err := to.Write(b); err != nil {
			return nil, err
		}
		return make([]byte, 4*len(b)), nil
	}
	_, err := to.Write(b[:got.Count])
	return b, err
}

// awaitMore waits where there is nothing to read; done when nothing more comes.
func awaitMore(stop tcpip.Error, readable <-chan struct{}) (done bool, err error) {
	switch stop.(type) {
	case *tcpip.ErrWouldBlock:
		<-readable
		return false, nil
	case *tcpip.ErrClosedForReceive:
		return true, nil
	default:
		return true, errors.New(stop.String())
	}
}
