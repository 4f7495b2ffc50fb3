package gateway

import (
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// http2Body is the body of a request: what has come and was not read. Bytes, and what else is not the reader's, are guarded by the connection's mutex.
type http2Body struct {
	s       *http2Stream
	arrived sync.Cond
	parts   [][]byte // of which the first may be small
	begin   int      // in the first part
	got     int64
	room    int64 // bytes that the consumer may send
	read    int64 // bytes that it has not been told of
	expects bool  // the consumer waits to be asked, and has sent nothing
	held    bool  // reading does not ask: somebody else will
	short   bool  // it has ended before its length
	trailer http.Header

	readBy time.Time
	timer  *time.Timer
	endBy  time.Time // when a body that is whole has to end
	ender  *time.Timer
}

// open makes it ready.
func (b *http2Body) open() {
	b.arrived.L = &b.s.c.mu
	b.room = http2Window
}

func (b *http2Body) wakeLocked() {
	if b.arrived.L != nil {
		b.arrived.Broadcast()
	}
}

// isWholeLocked reports whether as much has come as was declared.
func (b *http2Body) isWholeLocked() bool { return b.s.declared >= 0 && b.got == b.s.declared }

// mayEndLocked reports whether nothing but a stream's end is missing, and not for long. A consumer that sends it by a frame of its own is not to be told
// that it need send no more: some take that for a failure.
func (b *http2Body) mayEndLocked() bool {
	return b.isWholeLocked() && (b.endBy.IsZero() || time.Now().Before(b.endBy))
}

// isLateLocked reports whether the end of a body that is whole is not worth waiting for any longer.
func (b *http2Body) isLateLocked() bool {
	if b.endBy.IsZero() {
		b.endBy = time.Now().Add(endGrace)
		b.ender = b.wakeAfter(endGrace)
	}
	return !time.Now().Before(b.endBy)
}

// wakeAfter has readers look again after a time.
func (b *http2Body) wakeAfter(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() {
		b.s.c.mu.Lock()
		defer b.s.c.mu.Unlock()
		b.arrived.Broadcast()
	})
}

func (b *http2Body) lenLocked() int {
	n := -b.begin
	for _, part := range b.parts { // eight, and two small ones
		n += len(part)
	}
	return n
}

// addLocked keeps bytes.
func (b *http2Body) addLocked(p []byte) {
	b.got += int64(len(p))
	b.expects = false
	for len(p) > 0 {
		last := len(b.parts) - 1
		switch {
		case last < 0 && len(p) <= smallBytes:
			b.parts = append(b.parts, make([]byte, 0, smallBytes))
			continue
		case last <= 0 && len(p) <= together && (last < 0 || len(b.parts[0]) == smallBytes):
			b.parts = append(b.parts, make([]byte, 0, together))
			continue
		case last < 0 || len(b.parts[last]) == cap(b.parts[last]):
			b.parts = append(b.parts, copyBuffers.Get().(*[copyBytes]byte)[:0])
			continue
		}
		part := b.parts[last]
		n := min(len(p), cap(part)-len(part))
		b.parts[last] = append(part, p[:n]...)
		p = p[n:]
	}
}

// takeLocked reads bytes.
func (b *http2Body) takeLocked(p []byte) (n int) {
	for len(p) > 0 && len(b.parts) > 0 {
		some := copy(p, b.parts[0][b.begin:])
		p = p[some:]
		n += some
		if b.begin += some; b.begin == len(b.parts[0]) {
			b.dropFirstLocked()
		}
	}
	return n
}

func (b *http2Body) dropFirstLocked() {
	if part := b.parts[0]; cap(part) == copyBytes {
		copyBuffers.Put((*[copyBytes]byte)(part[:copyBytes]))
	}
	b.parts, b.begin = slices.Delete(b.parts, 0, 1), 0
}

// dropLocked forgets what was not read, and returns how much that was.
func (b *http2Body) dropLocked() (n int64) {
	n = int64(b.lenLocked())
	for len(b.parts) > 0 {
		b.dropFirstLocked()
	}
	return n
}

// Read implements io.Reader.
func (b *http2Body) Read(p []byte) (int, error) {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.held {
		b.askLocked()
	}
	for len(p) > 0 {
		b.awaitLocked()
		if n := b.takeLocked(p); n > 0 {
			if b.creditLocked(int64(n)) {
				c.sendSoonLocked()
			}
			return n, nil
		}
		if err := b.endLocked(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// await implements awaiter. It asks, as Read does.
func (b *http2Body) await() {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.held {
		b.askLocked()
	}
	b.awaitLocked()
}

// awaitLocked waits for bytes, or for why none come.
func (b *http2Body) awaitLocked() {
	for len(b.parts) == 0 && b.endLocked() == nil {
		b.arrived.Wait()
	}
}

// endLocked is what Read says when there are no more bytes; nil: some may come. At the end the request has its trailer.
func (b *http2Body) endLocked() error {
	s := b.s
	switch {
	case s.cut:
		return s.why
	case b.short:
		return errBroken
	case s.recvEnded:
		for name, values := range b.trailer {
			s.request.Trailer[name] = values
		}
		return io.EOF
	case b.isWholeLocked() && b.isLateLocked():
		return io.EOF
	case !b.readBy.IsZero() && !time.Now().Before(b.readBy):
		return &net.OpError{Op: "read", Net: "http2", Err: os.ErrDeadlineExceeded}
	}
	return nil
}

// askLocked asks for the body (RFC 9110, 10.1.1), once, unless it comes already, and reports whether it has.
func (b *http2Body) askLocked() bool {
	s, c := b.s, b.s.c
	if !b.expects || s.status != 0 || s.recvEnded || s.cut || c.failed != nil {
		return false
	}
	b.expects = false
	c.fields.b = c.fields.b[:0]
	c.encodeLocked(":status", "100", false)
	c.appendFieldsLocked(s.id, false)
	c.sendSoonLocked()
	return true
}

// ask implements invited.
func (b *http2Body) ask() bool {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	return b.askLocked()
}

// hold implements invited.
func (b *http2Body) hold() {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	b.held = true
}

// unasked implements invited.
func (b *http2Body) unasked() bool {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	return b.held && b.expects
}

// creditLocked lets the consumer send more; true when it is to be told.
func (b *http2Body) creditLocked(n int64) bool {
	c := b.s.c
	before := len(c.out)
	c.creditLocked(n)
	if b.read += n; b.read >= http2Window/4 && !b.s.recvEnded && !b.s.cut {
		b.room += b.read
		c.appendWindowLocked(b.s.id, b.read)
		b.read = 0
	}
	return len(c.out) > before
}

// Close implements io.Closer: what is not read is dropped when the stream ends.
func (b *http2Body) Close() error { return nil }

func (b *http2Body) setDeadlineLocked(t time.Time) {
	b.readBy = t
	if b.arrived.L == nil {
		return
	}
	b.arrived.Broadcast()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if left := time.Until(t); !t.IsZero() && left > 0 {
		b.timer = b.wakeAfter(left)
	}
}

func (b *http2Body) stopLocked() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if b.ender != nil {
		b.ender.Stop()
	}
}

// takeData reads a piece of a body, as far as it has come: a frame need not be whole to be passed on.
func (c *http2Conn) takeData(h frameHead) error {
	c.mu.Lock()
	seen := c.seen
	c.room -= int64(h.size)
	over := c.room < 0
	c.mu.Unlock()
	switch {
	case h.id == 0 || h.id > seen || h.id%2 == 0:
		return protocolError("DATA of no stream")
	case over:
		return &http2Error{http2.ErrCodeFlowControl, "more DATA than was asked for"}
	}
	left, padding := h.size, 0
	if h.flags.Has(http2.FlagDataPadded) {
		if h.size == 0 {
			return &http2Error{http2.ErrCodeFrameSize, "DATA without its padding"}
		}
		p, err := c.payload(1)
		if err != nil {
			return err
		}
		padding = int(p[0])
		left -= 1 + padding
		if left < 0 {
			return protocolError("more padding than there is")
		}
	}
	if err := c.beginData(h, int64(h.size-left)); err != nil {
		return err
	}
	for left > 0 {
		p, err := c.some(left)
		if err != nil {
			return err
		}
		if err := c.addData(h.id, p); err != nil {
			return err
		}
		left -= len(p)
	}
	if _, err := c.payload(padding); err != nil {
		return err
	}
	if !h.flags.Has(http2.FlagDataEndStream) {
		return nil
	}
	return c.endData(h.id)
}

// some waits for bytes of a frame, and returns those that have come, which are good until the next call.
func (c *http2Conn) some(most int) ([]byte, error) {
	c.skip()
	if c.r.Buffered() > 0 {
		c.peeked = min(most, c.r.Buffered())
		return c.r.Peek(c.peeked)
	}
	c.allow(c.patience())
	if c.large == nil {
		c.large = make([]byte, http2Frame)
	}
	n, err := c.r.Read(c.large[:most]) // past the buffer, where it is much
	if n > 0 {
		err = nil
	}
	return c.large[:n], err
}

// beginData looks whether a stream may have a frame; padded is what of it is no data.
func (c *http2Conn) beginData(h frameHead, padded int64) error {
	c.mu.Lock()
	s := c.streams[h.id]
	code := http2.ErrCodeNo
	switch {
	case s == nil:
		if _, early := c.endedLocked(h.id); !early {
			code = http2.ErrCodeStreamClosed
		}
	case s.recvEnded:
		code = http2.ErrCodeStreamClosed
	case s.body.room < int64(h.size):
		code = http2.ErrCodeFlowControl
	default:
		s.body.room -= int64(h.size)
	}
	before := len(c.out)
	if s != nil && code == http2.ErrCodeNo {
		s.body.creditLocked(padded)
	} else {
		c.creditLocked(padded)
	}
	told := len(c.out) > before
	c.mu.Unlock()
	switch {
	case code != http2.ErrCodeNo:
		return c.breakOff(h.id, code)
	case told:
		return c.answerReading()
	}
	return nil
}

func (c *http2Conn) addData(id uint32, p []byte) error {
	c.mu.Lock()
	s := c.streams[id]
	before := len(c.out)
	tooMuch := s != nil && s.declared >= 0 && s.body.got+int64(len(p)) > s.declared
	if s == nil || tooMuch { // what is too much would be another request to the program
		c.creditLocked(int64(len(p)))
	} else {
		s.body.addLocked(p)
		s.body.arrived.Signal()
	}
	told := len(c.out) > before
	c.mu.Unlock()
	switch {
	case tooMuch:
		return c.breakOff(id, http2.ErrCodeProtocol)
	case told:
		return c.answerReading()
	}
	return nil
}

// endData says that a request is whole.
func (c *http2Conn) endData(id uint32) error {
	c.mu.Lock()
	s := c.streams[id]
	defer c.mu.Unlock()
	if s != nil {
		s.body.short = s.declared >= 0 && s.body.got != s.declared // whoever reads it answers
		s.recvEnded = true
		s.body.arrived.Broadcast()
		s.closeLocked()
	}
	return nil
}
