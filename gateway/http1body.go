package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// http1Body is the body of a request. It asks for the body (RFC 9110, 10.1.1) when it is read for the first time, or when it is told to, knows
// whether it came to its end, and cancels the request when it broke off, as net/http does.
type http1Body struct {
	r       io.Reader // nil: there is none
	w       *http1Response
	expects atomic.Bool   // the consumer waits to be asked, and has sent nothing
	held    atomic.Bool   // reading does not ask: somebody else will
	sent    *http.Request // to which net/http's reader adds the trailer
	seen    *http.Request // which the handler has
	reads   atomic.Uint32 // that have ended
	over    atomic.Bool
	broken  atomic.Bool
}

// Read implements io.Reader.
func (b *http1Body) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, io.EOF
	}
	b.begin()
	n, err := b.r.Read(p)
	b.reads.Add(1)
	if n > 0 {
		b.expects.Store(false)
	}
	switch {
	case errors.Is(err, io.EOF):
		b.seen.Trailer = b.sent.Trailer
		b.over.Store(true)
	case err != nil:
		b.broken.Store(true)
		b.w.cancel()
	}
	return n, err
}

// await implements awaiter. It asks, as Read does.
func (b *http1Body) await() {
	if b.over.Load() {
		return
	}
	b.begin()
	if c := b.w.c; c.r.Buffered() == 0 {
		c.conn.await()
	}
}

// begin asks for the body, unless somebody else will.
func (b *http1Body) begin() {
	if !b.held.Load() {
		b.ask()
	}
}

// ask implements invited.
func (b *http1Body) ask() bool {
	if !b.expects.CompareAndSwap(true, false) {
		return false
	}
	b.w.goOn()
	return true
}

// hold implements invited.
func (b *http1Body) hold() { b.held.Store(true) }

// unasked implements invited.
func (b *http1Body) unasked() bool { return b.held.Load() && b.expects.Load() }

// Close implements io.Closer: what is not read is settled after the answer.
func (b *http1Body) Close() error { return nil }

// ended reports whether all of it was read.
func (b *http1Body) ended() bool { return b.r == nil || b.over.Load() }

// settle reads what nobody has read, and reports whether the next request can follow.
func (b *http1Body) settle() bool {
	switch {
	case b.ended():
		return true
	case b.broken.Load() || b.expects.Load() || b.w.close:
		return false
	}
	_, err := io.CopyN(io.Discard, b, mostDiscard)
	return errors.Is(err, io.EOF) && b.over.Load()
}
