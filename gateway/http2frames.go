package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
)

// frameHead begins a frame (RFC 9113, 4.1).
type frameHead struct {
	size  int
	kind  http2.FrameType
	flags http2.Flags
	id    uint32
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
		case !errors.Is(err, os.ErrDeadlineExceeded), c.blockOf.id != 0, !c.isThere():
			return h, err
		}
	}
}

// isThere reports whether a consumer that has said nothing in its time may stay: it is asked for a sign while it has a request under way, and taking bytes is one,
// as the question is behind what was sent before.
func (c *http2Conn) isThere() bool {
	c.mu.Lock()
	shut, running := !c.shut.IsZero(), c.running > 0
	c.mu.Unlock()
	taken := c.taken()
	before := c.takenAtPing
	c.takenAtPing = taken
	switch {
	case shut:
		return false
	case c.pinged:
		return taken-before > 64 // more than the question, and what TLS makes of it
	case running:
		c.pinged = true
		c.ping()
		return true
	}
	return c.patience() > 0 // a request has ended meanwhile
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
