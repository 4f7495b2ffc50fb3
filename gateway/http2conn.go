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
	http2Idlers     = 4         // goroutines of a connection that wait for another request
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

// fieldBlock is what the encoder writes to.
type fieldBlock struct{ b []byte }

func (f *fieldBlock) Write(p []byte) (int, error) {
	f.b = append(f.b, p...)
	return len(p), nil
}

// frameHead begins a frame (RFC 9113, 4.1).
type frameHead struct {
	size  int
	kind  http2.FrameType
	flags http2.Flags
	id    uint32
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

func (c *http2Conn) goAwayLocked(code http2.ErrCode) {
	if c.leaving && code == http2.ErrCodeNo {
		return
	}
	c.leaving = true
	c.appendHeadLocked(8, http2.FrameGoAway, 0, 0)
	c.out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(c.out, c.last), uint32(code))
}

// readAll reads frames until the connection ends.
func (c *http2Conn) readAll() error {
	if _, err := c.r.Discard(len(http2.ClientPreface)); err != nil {
		return err
	}
	for first := true; ; first = false {
		h, err := c.next()
		if err != nil {
			return err
		}
		switch {
		case first && (h.kind != http2.FrameSettings || h.flags.Has(http2.FlagSettingsAck)):
			return protocolError("the first frame is no SETTINGS")
		case c.blockOf.id != 0 && (h.kind != http2.FrameContinuation || h.id != c.blockOf.id):
			return protocolError("another frame within a head")
		case h.size > http2Frame:
			return &http2Error{http2.ErrCodeFrameSize, "a frame is too large"}
		}
		if err := c.take(h); err != nil {
			return err
		}
	}
}

// next reads what begins a frame. A consumer that says nothing for long is asked whether it is there, or left when it has no request under way.
func (c *http2Conn) next() (h frameHead, err error) {
	const size = 9
	c.skip()
	for {
		if c.r.Buffered() < size {
			c.allow(c.patience())
		}
		b, err := c.r.Peek(size)
		switch {
		case err == nil:
			h = frameHead{
				int(b[0])<<16 | int(b[1])<<8 | int(b[2]), http2.FrameType(b[3]), http2.Flags(b[4]), binary.BigEndian.Uint32(b[5:]) & unknownStream,
			}
			_, _ = c.r.Discard(size) // as above
			c.pinged = false
			return h, nil
		case !errors.Is(err, os.ErrDeadlineExceeded), c.blockOf.id != 0, c.pinged || !c.ping():
			return h, err
		}
		c.pinged = true
	}
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

// ping asks the consumer for a sign, unless it has no request under way, or is to leave.
func (c *http2Conn) ping() bool {
	c.mu.Lock()
	if c.running == 0 {
		c.mu.Unlock()
		return false
	}
	c.appendHeadLocked(8, http2.FramePing, 0, 0)
	c.out = append(c.out, "are you?"...)
	c.mu.Unlock()
	c.flush()
	return true
}

// skip passes over what was looked at.
func (c *http2Conn) skip() {
	_, _ = c.r.Discard(c.peeked) // it is there
	c.peeked = 0
}

// payload reads so much of a frame. It is good until the next call.
func (c *http2Conn) payload(size int) ([]byte, error) {
	c.skip()
	if c.r.Buffered() < size {
		c.allow(headerTimeout)
	}
	if size <= c.r.Size() {
		c.peeked = size
		return c.r.Peek(size)
	}
	if c.large == nil {
		c.large = make([]byte, http2Frame)
	}
	_, err := io.ReadFull(c.r, c.large[:size])
	return c.large[:size], err
}

// take does what a frame says.
func (c *http2Conn) take(h frameHead) error {
	if h.kind == http2.FrameData {
		return c.takeData(h)
	}
	p, err := c.payload(h.size)
	if err != nil {
		return err
	}
	switch h.kind {
	case http2.FrameHeaders:
		return c.takeHeaders(h, p)
	case http2.FrameContinuation:
		return c.takeContinuation(h, p)
	case http2.FrameSettings:
		return c.takeSettings(h, p)
	case http2.FramePing:
		return c.takePing(h, p)
	case http2.FrameWindowUpdate:
		return c.takeWindow(h, p)
	case http2.FrameRSTStream:
		return c.takeReset(h, p)
	case http2.FramePriority:
		switch {
		case h.id == 0:
			return protocolError("PRIORITY of no stream")
		case len(p) != 5:
			return c.breakOff(h.id, http2.ErrCodeFrameSize)
		case dependsOn(p) == h.id:
			return c.breakOff(h.id, http2.ErrCodeProtocol)
		}
	case http2.FrameGoAway:
		if h.id != 0 || len(p) < 8 {
			return protocolError("GOAWAY")
		}
	case http2.FramePushPromise:
		return protocolError("PUSH_PROMISE of a client")
	}
	return nil // of other kinds there may be any (RFC 9113, 5.5)
}

// unpadded is a payload without its padding (RFC 9113, 6.1).
func unpadded(flags http2.Flags, p []byte) ([]byte, error) {
	if !flags.Has(http2.FlagDataPadded) { // the same bit in all kinds of frames
		return p, nil
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, protocolError("more padding than there is")
	}
	return p[1 : len(p)-int(p[0])], nil
}

func (c *http2Conn) takeHeaders(h frameHead, p []byte) error {
	if h.id%2 == 0 {
		return protocolError("HEADERS of a stream that is no client's")
	}
	p, err := unpadded(h.flags, p)
	if err != nil {
		return err
	}
	if h.flags.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return &http2Error{http2.ErrCodeFrameSize, "HEADERS without their priority"}
		}
		if dependsOn(p) == h.id {
			return protocolError("HEADERS of a stream that depends on itself")
		}
		p = p[5:]
	}
	if h.flags.Has(http2.FlagHeadersEndHeaders) {
		return c.takeHead(h, p)
	}
	c.blockOf, c.block, c.parts, c.blockBy = h, append(c.block[:0], p...), 0, time.Now().Add(headerTimeout)
	return nil
}

// dependsOn is the stream that a priority names (RFC 7540, 6.3), which is looked at for nothing else (RFC 9113, 5.3.2).
func dependsOn(priority []byte) uint32 { return binary.BigEndian.Uint32(priority) & unknownStream }

func (c *http2Conn) takeContinuation(h frameHead, p []byte) error {
	c.parts++
	switch {
	case c.blockOf.id == 0:
		return protocolError("CONTINUATION of nothing")
	case len(c.block)+len(p) > c.mostHead, c.parts > http2Parts:
		return &http2Error{http2.ErrCodeEnhanceYourCalm, "a head that does not end"}
	}
	c.block = append(c.block, p...)
	if !h.flags.Has(http2.FlagContinuationEndHeaders) {
		return nil
	}
	first, block := c.blockOf, c.block
	c.blockOf, c.block = frameHead{}, nil
	return c.takeHead(first, block)
}

// takeHead is for all of a head, a request's or a trailer's.
func (c *http2Conn) takeHead(h frameHead, block []byte) error {
	c.mu.Lock()
	s, seen, leaving := c.streams[h.id], c.seen, c.leaving
	ended, early := c.endedLocked(h.id)
	c.seen = max(seen, h.id)
	unserved := leaving && h.id > seen
	if unserved {
		c.forgetLocked(h.id, true)
	}
	c.mu.Unlock()
	ends := h.flags.Has(http2.FlagHeadersEndStream)
	switch {
	case s != nil:
		return c.takeTrailer(h.id, ends, block)
	case early || unserved:
		return c.skipHead(block)
	case ended:
		return &http2Error{http2.ErrCodeStreamClosed, "HEADERS of a stream that has ended"}
	case h.id <= seen:
		return protocolError("HEADERS of a stream that is behind others")
	}
	s = newHTTP2Stream(c, h.id)
	if err := s.readHead(block, ends); err != nil {
		return err
	}
	c.mu.Lock()
	code := http2.ErrCodeNo
	switch {
	case c.leaving: // since, so that the consumer was told that it is not served
		c.forgetLocked(h.id, true)
		c.mu.Unlock()
		return nil
	case len(c.out) > http2Flood:
		c.mu.Unlock()
		return &http2Error{http2.ErrCodeEnhanceYourCalm, "answers are not read"}
	case s.malformed:
		c.server.gateway.log.Debug("refused", zap.String("reason", wordBadRequest), zap.Stringer("code", http2.ErrCodeProtocol))
		code = http2.ErrCodeProtocol // RFC 9113, 8.1.1
	case len(c.streams) >= http2Streams, c.running >= 2*http2Streams: // those that were taken back have to end, too
		code = http2.ErrCodeRefusedStream
	}
	c.last = h.id
	if code != http2.ErrCodeNo {
		c.forgetLocked(h.id, !ends)
		c.appendResetLocked(h.id, code)
		c.mu.Unlock()
		return c.answerReading()
	}
	s.window, s.recvEnded = c.initial, ends
	c.streams[h.id] = s
	c.running++
	c.queue = append(c.queue, s)
	idle := c.idlers >= len(c.queue)
	c.mu.Unlock()
	if idle {
		c.work.Signal()
	} else {
		go c.workOn()
	}
	return nil
}

// skipHead reads a head for what it does to the table of fields.
func (c *http2Conn) skipHead(block []byte) error {
	c.decoder.SetEmitEnabled(false)
	return c.decode(block)
}

func (c *http2Conn) decode(block []byte) error {
	_, err := c.decoder.Write(block)
	if err == nil {
		err = c.decoder.Close()
	}
	if err != nil {
		return &http2Error{http2.ErrCodeCompression, err.Error()}
	}
	return nil
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

func (c *http2Conn) takeSettings(h frameHead, p []byte) error {
	ack := h.flags.Has(http2.FlagSettingsAck)
	switch {
	case h.id != 0:
		return protocolError("SETTINGS of a stream")
	case len(p)%6 != 0, ack && len(p) > 0:
		return &http2Error{http2.ErrCodeFrameSize, "SETTINGS"}
	case len(p) > 6*http2Settings:
		return &http2Error{http2.ErrCodeEnhanceYourCalm, "SETTINGS"}
	case ack:
		return nil
	}
	c.mu.Lock()
	for ; len(p) > 0; p = p[6:] {
		if err := c.settleLocked(http2.SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])); err != nil {
			c.mu.Unlock()
			return err
		}
	}
	c.appendHeadLocked(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	c.mu.Unlock()
	return c.answerReading()
}

func (c *http2Conn) settleLocked(id http2.SettingID, value uint32) error {
	switch id {
	case http2.SettingInitialWindowSize:
		if value > unknownStream {
			return &http2Error{http2.ErrCodeFlowControl, "INITIAL_WINDOW_SIZE"}
		}
		more := int64(value) - c.initial
		c.initial = int64(value)
		for _, s := range c.streams {
			if s.window += more; s.window > unknownStream {
				return &http2Error{http2.ErrCodeFlowControl, "INITIAL_WINDOW_SIZE"}
			}
			s.windowMovedLocked()
		}
	case http2.SettingMaxFrameSize:
		if value < http2Frame || value >= 1<<24 {
			return protocolError("MAX_FRAME_SIZE")
		}
		c.frame = min(int(value), http2Pending)
	case http2.SettingHeaderTableSize:
		c.encoder.SetMaxDynamicTableSizeLimit(min(value, http2Table))
		c.encoder.SetMaxDynamicTableSize(min(value, http2Table))
	case http2.SettingEnablePush:
		if value > 1 {
			return protocolError("ENABLE_PUSH")
		}
	}
	return nil
}

func (c *http2Conn) takePing(h frameHead, p []byte) error {
	switch {
	case h.id != 0:
		return protocolError("PING of a stream")
	case len(p) != 8:
		return &http2Error{http2.ErrCodeFrameSize, "PING"}
	case h.flags.Has(http2.FlagPingAck):
		return nil
	}
	c.mu.Lock()
	c.appendHeadLocked(8, http2.FramePing, http2.FlagPingAck, 0)
	c.out = append(c.out, p...)
	c.mu.Unlock()
	return c.answerReading()
}

func (c *http2Conn) takeWindow(h frameHead, p []byte) error {
	if len(p) != 4 {
		return &http2Error{http2.ErrCodeFrameSize, "WINDOW_UPDATE"}
	}
	n := int64(binary.BigEndian.Uint32(p) & unknownStream)
	c.mu.Lock()
	s := c.streams[h.id]
	switch {
	case h.id > c.seen:
		c.mu.Unlock()
		return protocolError("WINDOW_UPDATE of no stream")
	case h.id == 0:
		c.window += n
		if c.window > unknownStream {
			c.mu.Unlock()
			return &http2Error{http2.ErrCodeFlowControl, "WINDOW_UPDATE"}
		}
		if n == 0 {
			c.mu.Unlock()
			return protocolError("WINDOW_UPDATE of nothing")
		}
		c.passOnLocked()
	case n == 0:
		c.mu.Unlock()
		return c.breakOff(h.id, http2.ErrCodeProtocol)
	case s != nil:
		s.window += n
		if s.window > unknownStream {
			c.mu.Unlock()
			return c.breakOff(h.id, http2.ErrCodeFlowControl)
		}
		s.windowMovedLocked()
	}
	c.mu.Unlock()
	return nil
}

// passOnLocked has the stream that has waited for longest see that the consumer takes bytes. When that one has taken some it does the same.
func (c *http2Conn) passOnLocked() {
	if c.window > 0 && len(c.starved) > 0 {
		c.starved[0].woken.Signal()
	}
}

func (c *http2Conn) takeReset(h frameHead, p []byte) error {
	c.mu.Lock()
	s, seen := c.streams[h.id], c.seen
	if s != nil {
		s.cutLocked(io.ErrUnexpectedEOF)
	}
	if h.id > 0 && h.id <= seen {
		c.forgetLocked(h.id, false) // nothing of it comes any more
	}
	c.mu.Unlock()
	if s != nil {
		s.life.end(nil)
	}
	switch {
	case h.id == 0 || h.id > seen:
		return protocolError("RST_STREAM of no stream")
	case len(p) != 4:
		return &http2Error{http2.ErrCodeFrameSize, "RST_STREAM"}
	}
	return c.answerReading() // what of the body was not read is given back
}

// breakOff ends a stream by a consumer's fault; of one that has ended it only tells.
func (c *http2Conn) breakOff(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	s := c.streams[id]
	c.appendResetLocked(id, code)
	if s != nil {
		c.forgetLocked(id, !s.recvEnded)
		s.cutLocked(errBroken)
	}
	c.mu.Unlock()
	if s != nil {
		s.life.end(nil)
	}
	return c.answerReading()
}

var errBroken = errors.New("the stream is malformed")

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
	if c.read >= http2ConnWindow/4 {
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

// write writes all of b. A consumer has a while for each http2Frame bytes of it.
func (c *http2Conn) write(b []byte) error {
	step := len(b)
	if !isPlainSocket(c.conn.Conn) { // one that does not outlive a timeout
		step = http2Frame
	}
	for len(b) > 0 {
		if !c.over.Load() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(writeGrace))
		}
		n, err := c.conn.Write(b[:min(len(b), step)])
		b = b[n:]
		if err != nil && (n < http2Frame || step == http2Frame || c.over.Load() || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
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
