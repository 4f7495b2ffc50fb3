package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Stream is a request of HTTP/2, and the http.ResponseWriter of its answer, with what http.ResponseController asks for. Write and WriteHeader
// are for the handler's goroutine.
type http2Stream struct {
	c  *http2Conn
	id uint32

	request   http.Request // with the life as its context
	url       url.URL
	header    http.Header // of the request
	values    [fewFields]string
	body      http2Body
	life      lifetime
	malformed bool   // and not to be served
	wrong     string // the word for which the request is refused; empty: it is none
	declared  int64  // bytes of the body; -1: it was not said
	stalls    *watchdog

	out http.Header // of the answer: see Header

	// What follows is guarded by the connection's mutex.
	window     int64     // bytes of the answer's body that the consumer takes
	woken      sync.Cond // for who waits for room
	waits      waiting   // what for
	recvEnded  bool      // all of the request has come
	sentEnded  bool      // all of the answer was put behind what is to be sent
	cut        bool      // it has ended otherwise
	why        error     // it was cut
	status     int       // 0: no header yet
	length     int64     // of the answer, as declared; -1: not declared
	written    int64
	tail       []byte // of the answer, for which there was no room yet
	lost       bool   // some of it will not be sent
	writeBy    time.Time
	writeTimer *time.Timer
	armed      time.Time // writeTimer's

	answer   answer // of the gateway
	exchange exchange
}

var http2StreamPool = sync.Pool{New: func() any { return new(http2Stream) }}

func newHTTP2Stream(c *http2Conn, id uint32) *http2Stream {
	s := http2StreamPool.Get().(*http2Stream)
	s.c, s.id, s.declared, s.length = c, id, -1, -1
	s.life.parent = c.ctx
	s.body.s = s
	s.woken.L = &c.mu
	s.answer.head = newAnswerHead()
	return s
}

// parts implements ownWriter.
func (s *http2Stream) parts() (*answer, *exchange, *watchdog) {
	return &s.answer, &s.exchange, s.stalls
}

// serve has the request answered.
func (s *http2Stream) serve(stalls *watchdog) {
	c := s.c
	s.stalls = stalls
	c.mu.Lock()
	gone := s.cut
	c.mu.Unlock()
	if gone { // before anybody has begun
		return
	}
	whole := s.handle()
	s.end(whole)
	s.life.end(nil)
	c.flush()
	c.mu.Lock()
	_, err := s.takeRoomLocked(0) // nobody may have answers wait without end
	s.stopLocked()
	again := err == nil && s.request.Body == http.NoBody && s.writeTimer == nil
	c.mu.Unlock()
	x := &s.exchange
	if !again || s.life.watched() || x.gateway != nil && !x.over || s.answer.trace.ctx != nil || s.out != nil {
		return
	}
	s.answer.dropHead()
	header := s.header
	if len(header) > fewFields {
		header = nil
	}
	clear(header)
	*s = http2Stream{header: header}
	http2StreamPool.Put(s)
}

// handle calls the handler; false when it broke the answer off.
func (s *http2Stream) handle() (whole bool) {
	defer func() {
		p := recover()
		if err, ok := p.(error); p != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
			s.c.server.gateway.log.Error("panic", zap.Any("panic", p))
		}
		whole = p == nil
	}()
	if s.wrong != "" {
		s.c.server.gateway.refuseHead(s, &s.request, s.wrong)
		return true
	}
	s.c.server.handler.ServeHTTP(s, &s.request)
	return true
}

// cutLocked ends a stream: nobody waits for anything of it any more.
func (s *http2Stream) cutLocked(why error) {
	if s.cut {
		return
	}
	s.cut, s.why = true, why
	s.c.creditLocked(s.body.dropLocked())
	s.body.wakeLocked()
	s.woken.Signal()
}

// end ends the answer.
func (s *http2Stream) end(whole bool) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer s.stopLocked()
	if s.status == 0 && whole && !s.cut {
		s.writeHeadLocked(http.StatusOK, fieldsOfHeader(s.out))
	}
	if s.writeBy.IsZero() {
		s.writeBy = time.Now().Add(writeGrace)
	}
	_ = s.sendTailLocked() // an error is seen by what is lost
	if s.cut {
		return
	}
	short := s.length >= 0 && s.written < s.length && s.request.Method != http.MethodHead && allowsBody(s.status)
	early, reset := !s.recvEnded, false
	switch {
	case s.sentEnded:
	case !whole, short, s.lost:
		c.appendResetLocked(s.id, http2.ErrCodeInternal)
		reset = true
	case s.hasTrailer():
		s.appendTrailerLocked()
	default:
		c.appendHeadLocked(0, http2.FrameData, http2.FlagDataEndStream, s.id)
	}
	s.sentEnded = true
	if early && !reset && !s.body.mayEndLocked() { // the consumer need send no more of it (RFC 9113, 8.1)
		c.appendResetLocked(s.id, http2.ErrCodeNo)
	}
	if c.streams[s.id] == s {
		c.forgetLocked(s.id, early)
	}
	c.creditLocked(s.body.dropLocked())
}

// closeLocked has a stream that has ended in both directions not be counted any more: the consumer may open another one as soon as it knows.
func (s *http2Stream) closeLocked() {
	if s.sentEnded && s.recvEnded {
		s.c.forgetLocked(s.id, false)
	}
}

// stopLocked ends what was to come at a time.
func (s *http2Stream) stopLocked() {
	if s.writeTimer != nil {
		s.writeTimer.Stop()
		s.armed = time.Time{}
	}
	s.body.stopLocked()
}

// Header is that of the answer until WriteHeader, and then that of its trailer.
func (s *http2Stream) Header() http.Header {
	if s.out == nil {
		s.out = make(http.Header)
	}
	return s.out
}

// WriteHeader implements http.ResponseWriter.
func (s *http2Stream) WriteHeader(status int) { s.writeHeader(status, fieldsOfHeader(s.out)) }

// writeHeader sends informational answers at once, and others with what follows. One that is not large does not wait for a consumer who takes
// nothing: its request may hold a place.
func (s *http2Stream) writeHeader(status int, h *fieldList) {
	c := s.c
	c.mu.Lock()
	wait := (status < 200 || h.size() > together) && len(c.out) >= http2Pending
	if !wait || s.waitLocked() == nil || status >= 200 { // what follows it finds out as well
		s.writeHeadLocked(status, h)
	}
	c.mu.Unlock()
	if status < 200 {
		c.flush()
	}
}

// waitLocked waits until not too much waits to be sent, for a while.
func (s *http2Stream) waitLocked() error {
	if s.writeBy.IsZero() {
		by := time.Now().Add(writeGrace)
		s.writeBy = by
		defer func() {
			if s.writeBy.Equal(by) {
				s.writeBy = time.Time{}
			}
		}()
	}
	_, err := s.takeRoomLocked(0)
	return err
}

func (s *http2Stream) writeHeadLocked(status int, h *fieldList) {
	c := s.c
	if s.status != 0 {
		return
	}
	if status >= 200 {
		s.status = status
	}
	if s.cut || c.failed != nil {
		return
	}
	c.fields.b = c.fields.b[:0]
	c.encodeLocked(":status", strconv.Itoa(status), false)
	if status >= 200 && !h.has("Date") {
		c.encodeLocked("date", dateNow(), false)
	}
	for i := range h.list {
		f := &h.list[i]
		switch f.name {
		case "Connection":
			if hasToken([]string{f.value}, "close") {
				c.partSoonLocked()
			}
			continue
		case "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "Upgrade":
			continue
		case "Content-Length":
			if n, ok := parseLength(f.value); ok && status >= 200 {
				s.length = n
			}
		}
		c.encodeLocked(lowerName(f.name), f.value, isFresh(f.name))
	}
	ends := status >= 200 && s.endsWithHead() && s.answer.isRecorded()
	c.appendFieldsLocked(s.id, ends)
	if ends {
		s.sentEnded = true
		s.closeLocked()
	}
}

// endsWithHead reports whether no body can follow the header.
func (s *http2Stream) endsWithHead() bool {
	return s.request.Method == http.MethodHead || !allowsBody(s.status) || s.length == 0
}

// isFresh reports whether a field has another value each time, or one that should not be kept: it is no use in a table, where it would take the place
// of others, and can be guessed at there (RFC 7541, 7.1.3).
func isFresh(name string) bool {
	switch name {
	case "X-Request-Id", "Ratelimit", "Set-Cookie", "Etag", "Content-Length":
		return true
	}
	return false
}

func (c *http2Conn) encodeLocked(name, value string, fresh bool) {
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: fresh}) // to memory
}

// appendFieldsLocked puts the fields that were encoded behind what is to be sent.
func (c *http2Conn) appendFieldsLocked(id uint32, ends bool) {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if ends {
		flags = http2.FlagHeadersEndStream
	}
	for b := c.fields.b; ; {
		n := min(len(b), c.frame)
		if n == len(b) {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.appendHeadLocked(n, kind, flags, id)
		c.out = append(c.out, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

// lowerNames are fields of nearly all answers.
var lowerNames = func() map[string]string {
	names := make(map[string]string)
	for _, name := range []string{
		"accept-ranges", "access-control-allow-origin", "cache-control", "content-encoding", "content-length", "content-security-policy", "content-type",
		"cross-origin-opener-policy", "cross-origin-resource-policy", "date", "etag", "last-modified", "location", "origin-agent-cluster", "ratelimit",
		"ratelimit-policy", "retry-after", "server", "set-cookie", "vary", "via", "x-content-type-options", "x-request-id",
	} {
		names[http.CanonicalHeaderKey(name)] = name
	}
	return names
}()

func lowerName(s string) string {
	if lower, ok := lowerNames[s]; ok {
		return lower
	}
	return strings.ToLower(s)
}

// Write implements io.Writer.
func (s *http2Stream) Write(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.status == 0 {
		s.writeHeadLocked(http.StatusOK, fieldsOfHeader(s.out))
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !allowsBody(s.status):
		return 0, http.ErrBodyNotAllowed
	case s.length >= 0 && s.written+int64(len(p)) > s.length:
		return 0, http.ErrContentLength
	case s.request.Method == http.MethodHead:
		s.written += int64(len(p))
		return len(p), nil
	}
	if s.cut {
		return 0, s.why
	}
	// Little may wait until the handler has returned, and holds nobody's place meanwhile.
	waits := len(s.tail) > 0 || int64(len(p)) > min(s.window, c.window) || len(c.starved) > 0 || len(c.out) >= http2Pending
	if waits && len(s.tail)+len(p) <= together {
		s.tail = append(s.tail, p...)
		s.written += int64(len(p))
		return len(p), nil
	}
	if err := s.sendTailLocked(); err != nil {
		return 0, err
	}
	s.written += int64(len(p))
	if n, err := s.sendLocked(p); err != nil {
		return n, err
	}
	if len(c.out) > together {
		c.mu.Unlock()
		c.flush()
		c.mu.Lock()
	}
	return len(p), nil
}

// sendTailLocked sends what had to wait.
func (s *http2Stream) sendTailLocked() error {
	if len(s.tail) == 0 {
		return nil
	}
	tail := s.tail
	s.tail = nil
	_, err := s.sendLocked(tail)
	return err
}

// sendLocked puts p behind what is to be sent, as far and as soon as there is room for it.
func (s *http2Stream) sendLocked(p []byte) (sent int, err error) {
	c := s.c
	for sent < len(p) {
		n, err := s.takeRoomLocked(len(p) - sent)
		if err != nil {
			s.lost = true
			return sent, err
		}
		last := sent+n == len(p) && s.written == s.length && s.answer.isRecorded()
		var flags http2.Flags
		if last {
			flags, s.sentEnded = http2.FlagDataEndStream, true
			s.closeLocked()
		}
		c.appendHeadLocked(n, http2.FrameData, flags, s.id)
		c.out = append(c.out, p[sent:sent+n]...)
		sent += n
	}
	return sent, nil
}

// FlushError sends what was written.
func (s *http2Stream) FlushError() error {
	c := s.c
	c.mu.Lock()
	if s.status == 0 {
		s.writeHeadLocked(http.StatusOK, fieldsOfHeader(s.out))
	}
	err := s.sendTailLocked()
	c.mu.Unlock()
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case s.cut:
		return s.why
	}
	return c.failed
}

func (s *http2Stream) hasTrailer() bool {
	return len(s.out) > 0 && s.request.Method != http.MethodHead && allowsBody(s.status)
}

// appendTrailerLocked puts the fields behind the body that have net/http's prefix.
func (s *http2Stream) appendTrailerLocked() {
	c := s.c
	c.fields.b = c.fields.b[:0]
	for name, values := range s.out {
		name, ok := strings.CutPrefix(name, http.TrailerPrefix)
		for _, value := range values {
			if ok && isToken(name) && isFieldValue(value) {
				c.encodeLocked(strings.ToLower(name), value, true)
			}
		}
	}
	if len(c.fields.b) == 0 {
		c.appendHeadLocked(0, http2.FrameData, http2.FlagDataEndStream, s.id)
		return
	}
	c.appendFieldsLocked(s.id, true)
}

// SetReadDeadline serves http.ResponseController.
func (s *http2Stream) SetReadDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.body.setDeadlineLocked(t)
	return nil
}

// SetWriteDeadline serves http.ResponseController.
func (s *http2Stream) SetWriteDeadline(t time.Time) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.writeBy = t
	s.woken.Signal()
	return nil
}

// EnableFullDuplex serves http.ResponseController: it is never otherwise.
func (s *http2Stream) EnableFullDuplex() error { return nil }
