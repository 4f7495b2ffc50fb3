package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A body that arrives more slowly than this, over all the time that was spent waiting for it beyond the grace, is cut
// off: it holds a place in the program. Time in which the program did not read does not count.
const (
	crawlBytesPerSecond = 240
	crawlGrace          = 10 * time.Second
)

// kickGrace is what a read that must end is given, so that the bytes of a consumer that does send still arrive whole.
const kickGrace = 100 * time.Millisecond

// stuckGrace is how long a read may go on that its deadline does not end: longer than one does that waits for the end of a stream of HTTP/2.
const stuckGrace = 2 * endGrace

var (
	errBodyTooLarge = errors.New("request body too large")
	errBodyCrawls   = errors.New("request body too slow")
	errUploadOver   = errors.New("upload over")
)

// upload is the consumer's body on its way to the program. the Transport reads it in a goroutine of its own, which may
// outlive RoundTrip; stop ends that. A nil upload is an empty body.
type upload struct {
	body    io.Reader
	control *http.ResponseController // of the consumer's connection
	length  int64                    // as declared, or -1
	most    int64                    // 0: any
	ctx     context.Context          // of the consumer's request
	moved   func()
	ended   func() // at the end of the body, before the reader sees it

	count    atomic.Int64
	whole    atomic.Bool
	relaxed  atomic.Bool // the answer has begun: a slow body is part of a conversation
	reading  atomic.Bool // a read waits for the consumer
	over     atomic.Bool // no more reads
	blocking sync.Mutex  // held by a read

	mu      sync.Mutex
	stopped bool // the connection may belong to the next request
	kicked  bool // aborted while the consumer was there
	err     error

	waited time.Duration // guarded by blocking
}

// size returns how many bytes have arrived.
func (u *upload) size() int64 {
	if u == nil {
		return 0
	}
	return u.count.Load()
}

// complete reports whether the whole body has arrived.
func (u *upload) complete() bool { return u == nil || u.whole.Load() }

// waiting reports whether the program waits for the consumer, and not the other way round.
func (u *upload) waiting() bool { return u != nil && u.reading.Load() && !u.unasked() }

// invited is a body that a consumer may wait to be asked for (RFC 9110, 10.1.1).
type invited interface {
	hold()         // leaves asking to ask, while it has not to be done any more
	ask() bool     // asks, once, unless the body comes already, and reports whether it has
	unasked() bool // reports whether a read may wait for a consumer who waits as well
}

// hold has the consumer be asked for the body when the program asks for it, and not by a read: a consumer who does not wait for that sends it all the
// same.
func (u *upload) hold() {
	if b, ok := u.body.(invited); ok {
		b.hold()
	}
}

// ask implements asker. A program that asks again and again gets no more time by it.
func (u *upload) ask() {
	if b, ok := u.body.(invited); ok && b.ask() {
		u.moved() // the consumer's time begins
	}
}

// unasked reports whether the consumer waits to be asked.
func (u *upload) unasked() bool {
	b, ok := u.body.(invited)
	return ok && b.unasked()
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) { return u.read(p, nil) }

// readInto implements lender.
func (u *upload) readInto(b *pieceBuffer) (int, error) { return u.read(nil, b) }

// read reads into p, or into b as soon as there is something to read.
func (u *upload) read(p []byte, b *pieceBuffer) (int, error) {
	u.blocking.Lock()
	defer u.blocking.Unlock()
	u.reading.Store(true) // before looking at over, see abort
	defer u.reading.Store(false)
	if u.over.Load() {
		return 0, errUploadOver
	}
	begin, unasked := time.Now(), u.unasked()
	if b != nil {
		p = b.next(u.body)
	}
	n, err := u.body.Read(p)
	if !unasked {
		u.waited += time.Since(begin)
	}
	total := u.count.Add(int64(n))
	if n > 0 {
		u.moved()
	}
	if errors.Is(err, io.EOF) || u.length >= 0 && total == u.length {
		u.finish()
	}
	switch {
	case u.most > 0 && total > u.most: // also where the end comes with the last bytes
		err = errBodyTooLarge
	case errors.Is(err, io.EOF):
		u.ended()
		return n, err
	case err == nil && u.crawls(total):
		err = errBodyCrawls
	}
	return n, u.keep(err)
}

// finish notes that the body is whole. A deadline that abort set meanwhile would end the wait for the next request.
func (u *upload) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.whole.Store(true)
	if u.over.Load() && !u.stopped {
		_ = u.control.SetReadDeadline(time.Time{})
	}
}

func (u *upload) crawls(total int64) bool {
	allowed := u.waited - crawlGrace
	return !u.relaxed.Load() && allowed > 0 && float64(total) < allowed.Seconds()*crawlBytesPerSecond
}

// keep remembers why the body ended early, unless it was made to.
func (u *upload) keep(err error) error {
	if err != nil && !u.over.Load() {
		u.mu.Lock()
		u.err = err
		u.mu.Unlock()
	}
	return err
}

// Close is called by the Transport. The body itself is the server's to close.
func (u *upload) Close() error { return nil }

// abort makes a read that goes on, and every later one, fail soon. It may be called concurrently with everything.
func (u *upload) abort() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over.Swap(true) || u.stopped {
		return
	}
	u.kicked = u.ctx.Err() == nil
	if !u.reading.Load() || u.whole.Load() {
		return
	}
	grace := kickGrace
	if u.unasked() { // nothing is on its way
		grace = 0
	}
	_ = u.control.SetReadDeadline(time.Now().Add(grace))
}

// gone reports whether the consumer's connection has ended. The server cancels the request's context for every failed
// read of HTTP/1, also for one that abort made fail: what the context says after that means nothing.
func (u *upload) gone(ctx context.Context) bool {
	if u == nil {
		return ctx.Err() != nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return ctx.Err() != nil && !u.kicked
}

// stop aborts and waits for the read that goes on. What the consumer still sends is then the server's to discard.
func (u *upload) stop() {
	if u == nil {
		return
	}
	u.abort()
	if u.reading.Load() { // inside TLS it may write, which takes a deadline of its own to end: see consumerConn.awaitUntil
		stuck := time.AfterFunc(stuckGrace, func() { _ = u.control.SetWriteDeadline(time.Now()) })
		defer stuck.Stop()
	}
	u.blocking.Lock()
	defer u.blocking.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = true
	if !u.whole.Load() {
		_ = u.control.SetReadDeadline(time.Now().Add(linger))
	}
}

// blame returns the word for what the consumer did wrong with its body, or nothing.
func (u *upload) blame() (string, error) {
	if u == nil {
		return "", nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var network net.Error
	switch err := u.err; {
	case err == nil:
		return "", nil
	case errors.Is(err, errBodyTooLarge):
		return wordBodyTooLarge, err
	case errors.Is(err, errBodyCrawls):
		return wordBodyTimeout, err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.As(err, &network):
		return wordClientGone, err
	default:
		return wordBadRequest, err
	}
}
