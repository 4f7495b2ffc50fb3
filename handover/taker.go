package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout is what the server may take for each answer: it may wait for its own predecessor's end, and ends deploys.
const answerTimeout = 3 * time.Minute

// ErrEnded says that the server closed the stream, because it has ended or is about to.
var ErrEnded = errors.New("the running server ended")

// Claim is a successor's side. Its methods are called one after the other, but for Close and Ended.
type Claim struct {
	conn  *net.UnixConn
	ended chan struct{}
	left  bool // its end is seen to
}

// Ask asks the server at the other end of conn for its sockets. The caller closes the descriptors and the Claim, which
// takes conn over.
func Ask(ctx context.Context, conn *net.UnixConn) (*Claim, Offer, error) {
	c := &Claim{conn: conn, ended: make(chan struct{})}
	defer c.within(ctx)()
	err := send(conn, message{Word: wordAsk})
	var m message
	if err == nil {
		m, err = receive(conn, wordOffer, answerTimeout)
	}
	if err == nil && m.Seat != 0 && m.Seat != 1 {
		err = fmt.Errorf("it sits in place %d", m.Seat)
		Offer{Sockets: m.Sockets}.Close()
	}
	if err != nil {
		_ = conn.Close()
		return nil, Offer{}, fmt.Errorf("ask the running server for its sockets: %w", ended(err))
	}
	return c, Offer{Seat: m.Seat, PID: m.PID, Sockets: m.Sockets}, nil
}

// within has the end of ctx break off what is under way, until the function that it returns is called.
func (c *Claim) within(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = c.conn.Close() })
}

// Freeze tells the server that everything is prepared. From its return on the server changes nothing any more.
func (c *Claim) Freeze(ctx context.Context) error {
	defer c.within(ctx)()
	err := send(c.conn, message{Word: wordPrepared})
	if err == nil {
		_, err = receive(c.conn, wordYours, answerTimeout)
	}
	if err != nil {
		return fmt.Errorf("take over from the running server: %w", ended(err))
	}
	return nil
}

// ended tells the end of a stream from what else may go wrong with it.
func ended(err error) error {
	for _, end := range []error{io.EOF, unix.ECONNRESET, unix.EPIPE} {
		if errors.Is(err, end) {
			return fmt.Errorf("%w: %w", ErrEnded, err)
		}
	}
	return err
}

// Serving tells the server that this process serves. On an error the server goes on, and this process must
// end, unless that is ErrEnded and the server's process has.
func (c *Claim) Serving(ctx context.Context) error {
	stop := c.within(ctx)
	err := send(c.conn, message{Word: wordServing})
	if err == nil {
		_, err = receive(c.conn, wordLeaving, answerTimeout)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("take over from the running server: %w", ended(err))
	}
	c.left = true
	go func() {
		defer close(c.ended)
		_, _ = io.Copy(io.Discard, c.conn)
	}()
	return nil
}

// Outlive says that the server's process has ended before Serving came through.
func (c *Claim) Outlive() {
	if !c.left {
		c.left = true
		close(c.ended)
	}
}

// Ended is closed when the server's process has ended, or with Close; after Serving or Outlive only.
func (c *Claim) Ended() <-chan struct{} { return c.ended }

// Close gives up. It may be called again, and after Serving.
func (c *Claim) Close() error { return c.conn.Close() }
