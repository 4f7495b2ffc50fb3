package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// fieldBlock is what the encoder writes to.
type fieldBlock struct{ b []byte }

func (f *fieldBlock) Write(p []byte) (int, error) {
	f.b = append(f.b, p...)
	return len(p), nil
}

func (c *http2Conn) goAwayLocked(code http2.ErrCode) {
	if c.leaving && code == http2.ErrCodeNo {
		return
	}
	c.leaving = true
	c.appendHeadLocked(8, http2.FrameGoAway, 0, 0)
	c.out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(c.out, c.last), uint32(code))
}

// passOnLocked has the stream that has waited for longest see that the consumer takes bytes. When that one has taken some it does the same.
func (c *http2Conn) passOnLocked() {
	if c.window > 0 && len(c.starved) > 0 {
		c.starved[0].woken.Signal()
	}
}

// answerReading sends what was put behind because of what was read.
func (c *http2Conn) answerReading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > http2Flood {
		return &http2Error{http2.ErrCodeEnhanceYourCalm, "answers are not read"}
	}
	c.sendSoonLocked()
	return c.failed
}

// sendSoonLocked has what waits be sent by somebody else, for who must not wait.
func (c *http2Conn) sendSoonLocked() {
	if !c.sending && c.hasMoreLocked() {
		c.sending = true
		go c.sendOn()
	}
}

func (c *http2Conn) appendHeadLocked(size int, kind http2.FrameType, flags http2.Flags, id uint32) {
	c.out = append(c.out, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	c.out = binary.BigEndian.AppendUint32(c.out, id)
}

func (c *http2Conn) appendResetLocked(id uint32, code http2.ErrCode) {
	c.appendHeadLocked(errorFrameBytes, http2.FrameRSTStream, 0, id)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
}

func (c *http2Conn) appendWindowLocked(id uint32, n int64) {
	c.appendHeadLocked(errorFrameBytes, http2.FrameWindowUpdate, 0, id)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(n)) //nolint:gosec // a window's
}

// creditLocked says that bytes of bodies were read, or never will be: the consumer may send as many more.
func (c *http2Conn) creditLocked(n int64) {
	c.read += n
	if c.read >= http2ConnWindow/4 || c.read > 0 && c.room <= c.read { // others may hold what is left of it
		c.room += c.read
		c.appendWindowLocked(0, c.read)
		c.read = 0
	}
}

// flush sends what waits, unless somebody does so. What comes to be there meanwhile, and what is much, is sent by a goroutine of its own: nobody
// else has to send for others without end, or for a consumer that takes little at a time.
func (c *http2Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending {
		return
	}
	c.sending = true
	if len(c.out) <= http2Inline {
		c.sendLocked()
	}
	if c.hasMoreLocked() {
		go c.sendOn()
		return
	}
	c.sentLocked()
}

func (c *http2Conn) hasMoreLocked() bool { return len(c.out) > 0 && c.failed == nil }

func (c *http2Conn) sendOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.hasMoreLocked() {
		c.sendLocked()
	}
	c.sentLocked()
}

// easeLocked gives what a read may write its time (see consumerConn.awaitUntil), while nobody else writes.
func (c *http2Conn) easeLocked() {
	if c.conn.isSecure() && !c.sending && c.shut.IsZero() && !c.over.Load() {
		_ = c.conn.SetWriteDeadline(time.Now().Add(2 * keepAlive))
	}
}

// sentLocked says that all was sent.
func (c *http2Conn) sentLocked() {
	c.sending = false
	c.easeLocked()
	c.leaveIfOverLocked()
	c.dropMemoryLocked()
	c.quieter.Signal()
}

// sendLocked sends what there is now. Nobody else does so meanwhile.
func (c *http2Conn) sendLocked() {
	switch {
	case !c.shut.IsZero(): // nobody reads it any more
		c.out = nil
		return
	case !c.hasMoreLocked():
		return
	}
	b := c.out
	c.out = c.sent[:0]
	c.wakeCrowdedLocked()
	c.mu.Unlock()
	err := c.write(b)
	if err != nil {
		_ = c.conn.Close() // the reader ends, and with it all streams
	}
	c.mu.Lock()
	if c.sent = b[:0]; cap(b) > 2*http2Pending {
		c.sent = nil
	}
	if err != nil {
		c.failed = err
		c.wakeCrowdedLocked()
	}
}

// wakeCrowdedLocked has those look again for whom too much had to be sent.
func (c *http2Conn) wakeCrowdedLocked() {
	for _, s := range c.crowded {
		s.woken.Signal()
	}
	clear(c.crowded)
	c.crowded = c.crowded[:0]
}

// write writes all of b. A consumer has takeTime for each http2Takes bytes of it.
func (c *http2Conn) write(b []byte) error {
	if c.watch != nil {
		return c.writeWatched(b)
	}
	taken, known := int64(0), false
	for len(b) > 0 {
		if !c.over.Load() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(takeTime))
		}
		n, err := c.conn.Write(b)
		b = b[n:]
		c.written.Add(int64(n))
		if err != nil {
			before := taken
			if taken = c.taken(); c.over.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || known && taken-before < http2Takes {
				return err
			}
			known = true
		}
	}
	return nil
}

// writeWatched writes all of b where a write that has met its deadline is the last one: the deadline is moved before.
func (c *http2Conn) writeWatched(b []byte) error {
	for len(b) > 0 {
		if !c.over.Load() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(3 * takeTime))
		}
		c.watch.begin(c)
		n, err := c.conn.Write(b[:min(len(b), http2Frame)])
		c.watch.end()
		b = b[n:]
		c.written.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return nil
}

// writeWatch gives a write more time whose consumer takes bytes.
type writeWatch struct {
	mu      sync.Mutex
	timer   *time.Timer
	writing bool
	known   bool  // taken is of this write
	taken   int64 // when the timer went off last
}

func (w *writeWatch) begin(c *http2Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing, w.known = true, false
	if w.timer == nil {
		w.timer = time.AfterFunc(takeTime, func() { w.look(c) })
		return
	}
	w.timer.Reset(takeTime)
}

func (w *writeWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
	w.timer.Stop()
}

func (w *writeWatch) look(c *http2Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.writing || c.over.Load() {
		return
	}
	before, known := w.taken, w.known
	w.taken, w.known = c.taken(), true
	if known && w.taken-before < http2Takes {
		_ = c.conn.SetWriteDeadline(time.Now())
		return
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(3 * takeTime))
	w.timer.Reset(takeTime)
}

// taken counts the bytes that the consumer has taken. For what a socket has room is no measure of it: Linux tells of room when a third of the
// buffer is free (sk_stream_is_writeable, include/net/sock.h), which is a megabyte.
func (c *http2Conn) taken() int64 {
	if n, ok := c.acknowledged(); ok {
		return n
	}
	return c.written.Load()
}

// waiting is what a stream waits for.
type waiting int

const (
	waitsForNothing waiting = iota
	waitsForRoom            // less has to be there to be sent: among those that are crowded
	waitsForAll             // the window of all: among those that are starved
	waitsForOwn             // its own window
)

// takeRoomLocked waits until some of so many bytes may be sent, and takes them from the windows; of 0, until not too much waits. It sends what waits
// meanwhile. Of those for whom the window of all is too small, whoever comes first has it first.
func (s *http2Stream) takeRoomLocked(want int) (int, error) {
	c := s.c
	defer s.waitForLocked(waitsForNothing)
	for {
		switch {
		case s.cut:
			return 0, s.why
		case c.failed != nil:
			return 0, c.failed
		case !s.writeBy.IsZero() && !time.Now().Before(s.writeBy):
			return 0, &net.OpError{Op: "write", Net: "http2", Err: os.ErrDeadlineExceeded}
		}
		var next waiting
		switch {
		case len(c.out) >= http2Pending:
			next = waitsForRoom
		case want == 0:
			return 0, nil
		case s.window <= 0:
			next = waitsForOwn
		case c.window <= 0, len(c.starved) > 0 && c.starved[0] != s:
			next = waitsForAll
		default:
			room := min(s.window, c.window, int64(c.frame), int64(want))
			s.window -= room
			c.window -= room
			return int(room), nil
		}
		if len(c.out) > 0 && !c.sending {
			c.mu.Unlock()
			c.flush()
			c.mu.Lock()
			continue
		}
		s.armLocked()
		s.waitForLocked(next)
		s.woken.Wait()
	}
}

// waitForLocked has the stream be among those that wait for something, where it keeps its turn when it was there before.
func (s *http2Stream) waitForLocked(what waiting) {
	c := s.c
	if s.waits == waitsForRoom { // unless all of them were woken
		c.crowded = without(c.crowded, s)
	}
	if s.waits == waitsForAll && what != waitsForAll {
		c.starved = without(c.starved, s)
	}
	switch {
	case what == waitsForRoom:
		c.crowded = append(c.crowded, s)
	case what == waitsForAll && s.waits != waitsForAll:
		c.starved = append(c.starved, s)
	}
	s.waits = what
	if what != waitsForAll {
		c.passOnLocked()
	}
}

func without(all []*http2Stream, s *http2Stream) []*http2Stream {
	if at := slices.Index(all, s); at >= 0 {
		return slices.Delete(all, at, at+1)
	}
	return all
}

// windowMovedLocked has whoever waits for the stream's own window look again.
func (s *http2Stream) windowMovedLocked() {
	if s.waits == waitsForOwn && s.window > 0 {
		s.woken.Signal()
	}
}

// armLocked has the end of the time to write be noticed.
func (s *http2Stream) armLocked() {
	if s.writeBy.IsZero() || s.writeBy.Equal(s.armed) {
		return
	}
	s.armed = s.writeBy
	left := time.Until(s.writeBy)
	if s.writeTimer != nil {
		s.writeTimer.Reset(left)
		return
	}
	s.writeTimer = time.AfterFunc(left, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.woken.Signal()
	})
}
