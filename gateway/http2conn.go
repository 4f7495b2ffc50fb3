package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	http2Streams    = 100       // that are under way on one connection at a time
	http2Window     = 256 << 10 // bytes of a request's body that nobody has read
	http2ConnWindow = 1 << 20   // the same of all on a connection
	http2Frame      = 16 << 10  // bytes of a frame that a consumer may send, which is the least that every one can (RFC 9113, 4.2)
	http2Table      = 4 << 10   // bytes of a table of fields, in either direction (RFC 7541, 4.2)
	http2Pending    = 64 << 10  // bytes that wait to be sent: who has more waits
	http2Flood      = 1 << 20   // bytes that wait because of what was read: whoever lets so many wait does so on purpose
	http2Settings   = 100       // of one frame
	http2Parts      = 32        // CONTINUATION frames of one head
	http2Ended      = 256       // streams whose end is remembered
	http2Inline     = 36 << 10  // bytes that a request's goroutine sends by itself, which nobody can break off
	http2Takes      = 8 << 10   // bytes that a consumer must take in takeTime while more wait
	takeTime        = 15 * time.Second
	http2Idlers     = 4 // goroutines of a connection that wait for another request
	pingTimeout     = 15 * time.Second
	partTime        = 2 * time.Second // for what is under way when a connection is to end
	endGrace        = time.Second     // for the end of a stream behind the last byte of its body
	lastWords       = 2 * time.Second // after the last that was sent, from one sign of the consumer's to the next
	unknownStream   = 1<<31 - 1
	errorFrameBytes = 4
)

// http2Conn is a consumer's connection on which HTTP/2 is spoken (RFC 9113). One goroutine reads; requests have goroutines of their own, which are
// used again. Whoever has something to send puts it behind what waits to be sent, and sends all of it, unless somebody is doing so.
type http2Conn struct {
	server *consumerServer
	conn   *consumerConn
	ctx    context.Context // of the connection
	remote string

	// The reader's.
	r        *bufio.Reader
	decoder  *hpack.Decoder
	head     headReader // what the decoder's fields are for
	mostHead int        // bytes of a head, as MAX_HEADER_LIST_SIZE counts them
	peeked   int        // of r, to be discarded
	large    []byte     // for a frame that r cannot hold
	block    []byte     // a head that came in parts
	parts    int
	blockOf  frameHead // whose first part block begins with; 0: none is under way
	blockBy  time.Time // when all of it must have come
	pinged   bool      // nothing has come since

	takenAtPing int64 // of what was sent, when the consumer was asked for a sign, or had one

	mu      sync.Mutex
	quieter sync.Cond // all is sent, or a request is over: for end
	out     []byte    // to be sent
	sent    []byte    // memory for the next out
	sending bool
	failed  error // nothing can be sent any more
	encoder *hpack.Encoder
	fields  fieldBlock
	streams map[uint32]*http2Stream // that have not ended in both directions
	last    uint32                  // the consumer has opened all up to here that are, or were, served
	seen    uint32                  // and up to here in all
	ended   [http2Ended]endedStream // those that ended lately
	parting bool                    // none is to come when nothing is under way
	leaving bool                    // no more are served
	shut    time.Time               // since then nothing is sent any more

	window  int64          // bytes of bodies that the consumer takes
	starved []*http2Stream // wait for it, though their own would let them send: the first one is next
	crowded []*http2Stream // wait until less is to be sent
	initial int64          // of a new stream's window
	frame   int            // bytes of a frame that the consumer takes
	room    int64          // bytes of bodies that the consumer may send
	read    int64          // bytes that were read, and that it has not been told of

	written      atomic.Int64                  // bytes
	acknowledged func() (bytes int64, ok bool) // of them, where that is known
	watch        *writeWatch                   // where a write that has met its deadline is the last; nil: it is not

	running int         // requests
	quiet   time.Time   // since then none is
	over    atomic.Bool // the connection ends: there is one time for all that is still sent
	idlers  int
	queue   []*http2Stream
	work    sync.Cond
}

// endedStream is one that is not among those that are open any more.
type endedStream struct {
	id    uint32
	early bool // before all of the request had come: what was on its way means nothing
}

// forgetLocked has a stream be one that has ended.
func (c *http2Conn) forgetLocked(id uint32, early bool) {
	delete(c.streams, id)
	c.ended[id/2%http2Ended] = endedStream{id, early}
}

// endedLocked reports whether a stream has ended lately, and how.
func (c *http2Conn) endedLocked(id uint32) (is, early bool) {
	e := c.ended[id/2%http2Ended]
	return e.id == id, e.early && e.id == id
}

// http2Error ends a connection.
type http2Error struct {
	code http2.ErrCode
	why  string
}

func (e *http2Error) Error() string { return fmt.Sprintf("%v: %s", e.code, e.why) }

func protocolError(why string) error { return &http2Error{http2.ErrCodeProtocol, why} }

func newHTTP2Conn(c *http1) *http2Conn {
	limits := c.server.gateway.config.Limits
	h := &http2Conn{
		server: c.server, conn: c.conn, ctx: c.ctx, remote: c.remote, r: c.r, streams: make(map[uint32]*http2Stream),
		mostHead: limits.HeaderBytes + mostRequestFields*fieldOverhead,
		window:   65535, initial: 65535, frame: http2Frame, room: http2ConnWindow, quiet: time.Now(),
	}
	h.quieter.L, h.work.L = &h.mu, &h.mu
	h.acknowledged = c.conn.acknowledged
	if !isPlainSocket(h.conn.Conn) {
		h.watch = &writeWatch{}
	}
	h.encoder = hpack.NewEncoder(&h.fields)
	h.decoder = hpack.NewDecoder(http2Table, h.takeField)
	h.decoder.SetMaxStringLength(h.mostHead)
	return h
}

// serve serves requests until the connection ends. It returns how it did; nil: in order.
func (c *http2Conn) serve() error {
	err := c.readAll()
	var broken *http2Error
	code := http2.ErrCodeNo
	if errors.As(err, &broken) {
		code = broken.code
	}
	c.mu.Lock()
	if broken != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.goAwayLocked(code)
	}
	c.leaving = true
	c.over.Store(true)
	c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeGrace))
	c.flush()
	c.end()
	if broken != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.gateway.log.Debug("a connection of HTTP/2 ends", zap.Error(err))
		return err
	}
	return nil
}

// end ends what is under way, and waits until it has.
func (c *http2Conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := make([]*http2Stream, 0, len(c.streams))
	for _, s := range c.streams {
		s.cutLocked(io.ErrUnexpectedEOF)
		left = append(left, s)
	}
	clear(c.streams)
	c.mu.Unlock()
	for _, s := range left {
		s.life.end(nil)
	}
	c.mu.Lock()
	for c.sending { // the last words, for which there is a time
		c.quieter.Wait()
	}
	if c.failed == nil {
		c.failed = net.ErrClosed
	}
	c.work.Broadcast()
	for c.running > 0 {
		c.quieter.Wait()
	}
}

// greet says what the consumer may send (RFC 9113, 6.5.2). It is the first that is sent.
func (c *http2Conn) greet() {
	c.mu.Lock()
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: http2Streams},
		{ID: http2.SettingInitialWindowSize, Val: http2Window},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.mostHead)}, //nolint:gosec // some KiB
	}
	c.appendHeadLocked(6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		c.out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(c.out, uint16(s.ID)), s.Val)
	}
	c.appendWindowLocked(0, http2ConnWindow-65535)
	c.mu.Unlock()
	c.flush()
}

// shutdown has the requests that are under way be the last ones. Some consumers take no more of an answer once they were told so: GOAWAY waits for what
// ends soon.
func (c *http2Conn) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		c.partSoonLocked()
		return
	}
	c.partLocked()
}

// partSoonLocked has no more requests be served when none is under way, or after a while.
func (c *http2Conn) partSoonLocked() {
	if c.parting {
		return
	}
	c.parting = true
	time.AfterFunc(partTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.partLocked()
	})
}

func (c *http2Conn) partLocked() {
	c.goAwayLocked(http2.ErrCodeNo)
	c.sendSoonLocked()
}

// isOverLocked reports whether nothing is to be served any more.
func (c *http2Conn) isOverLocked() bool { return c.leaving && c.running == 0 }

// leaveIfOverLocked ends a connection on which nothing is to be served or sent any more. The reader finds out.
func (c *http2Conn) leaveIfOverLocked() {
	if c.shut.IsZero() && c.isOverLocked() && !c.sending && len(c.out) == 0 {
		c.shut = time.Now()
		if c.conn.isSecure() { // which has a last word of its own, and waits for who writes
			_ = c.conn.SetWriteDeadline(c.shut.Add(lastWords))
		}
		_ = c.conn.CloseWrite()
		_ = c.conn.SetReadDeadline(c.shut.Add(lastWords))
	}
}

// allow gives the consumer so long for what comes next. Where nothing is sent any more it may take a while to read what was: a connection that is
// closed before would lose it, because the consumer still says how much it has read.
func (c *http2Conn) allow(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := time.Now().Add(d)
	if !c.shut.IsZero() {
		by = time.Now().Add(lastWords)
		if last := c.shut.Add(writeGrace); by.After(last) {
			by = last
		}
	}
	_ = c.conn.SetReadDeadline(by)
	c.easeLocked()
}

// patience is how long the next frame may take. What a consumer says without a request makes it no longer.
func (c *http2Conn) patience() time.Duration {
	switch {
	case c.blockOf.id != 0:
		return max(time.Until(c.blockBy), 0)
	case c.pinged:
		return pingTimeout
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		return keepAlive
	}
	c.large, c.block = nil, nil // an idle connection holds little
	return max(keepAlive-time.Since(c.quiet), 0)
}

// ping asks the consumer for a sign.
func (c *http2Conn) ping() {
	c.mu.Lock()
	c.appendHeadLocked(8, http2.FramePing, 0, 0)
	c.out = append(c.out, "are you?"...)
	c.mu.Unlock()
	c.flush()
}

// workOn serves requests of the connection, one after the other, and waits for some more.
func (c *http2Conn) workOn() {
	var stalls watchdog
	defer stalls.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.queue) == 0 {
			c.dropMemoryLocked()
			if c.idlers >= http2Idlers || c.failed != nil {
				return
			}
			c.idlers++
			c.work.Wait()
			c.idlers--
		}
		s := c.queue[0]
		c.queue = c.queue[:copy(c.queue, c.queue[1:])]
		c.mu.Unlock()
		s.serve(&stalls)
		c.mu.Lock()
		if c.running--; c.running == 0 {
			c.quiet = time.Now()
			if c.parting {
				c.partLocked()
			}
			c.leaveIfOverLocked()
		}
		c.quieter.Signal()
	}
}

// dropMemoryLocked gives memory back that an idle connection does not need.
func (c *http2Conn) dropMemoryLocked() {
	if c.running > 0 || c.sending || len(c.out) > 0 {
		return
	}
	if cap(c.out)+cap(c.sent) > together {
		c.out, c.sent = nil, nil
	}
	if cap(c.fields.b) > together {
		c.fields.b = nil
	}
}
