package gateway

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	together  = 4 << 10 // what is written is copied behind the header up to this size, to be sent with it
	writeHold = 512     // of the writer of an upgraded connection
)

// http1Response is the http.ResponseWriter of a request of HTTP/1, with what http.ResponseController asks for. What is written
// is sent with Flush, at the end, or when it is much. It adds to the header a date, the framing, and Connection where that
// must be. Write and WriteHeader are for the handler's goroutine.
type http1Response struct {
	c       *http1
	request plainRequest // with the life as its context; any request, once it is read
	body    http1Body
	sized   sizedReader // of a plain request's body
	life    lifetime    // of the request
	header  http.Header
	close   bool // the connection ends with the answer

	mu      sync.Mutex // the body's reader may ask for the body
	out     []byte     // not sent yet
	status  int        // 0: no header yet
	length  int64      // as declared; -1: not declared
	written int64
	chunked bool
	err     error

	answer   answer // of the gateway
	exchange exchange
}

var http1Responses = sync.Pool{New: func() any { return new(http1Response) }}

func newHTTP1Response(c *http1) *http1Response {
	w := http1Responses.Get().(*http1Response)
	w.c, w.out, w.length = c, c.out[:0], -1
	w.life.parent = c.ctx
	w.answer.head = newAnswerHead()
	w.body.w, w.body.seen = w, &w.request.Request
	return w
}

// parts implements ownWriter.
func (w *http1Response) parts() (*answer, *exchange, *watchdog) {
	return &w.answer, &w.exchange, &w.c.stalls
}

// read reads the request. What it returns is a part of w. Its errors are those of http.ReadRequest.
func (w *http1Response) read() (*http.Request, error) {
	r := &w.request.Request
	*r = *new(http.Request).WithContext(&w.life) // which takes no allocation: the compiler sees that the copy ends here
	order := &w.answer.head.order
	if w.request.read(w.c.r, order) {
		w.body.sent = r
		if r.ContentLength > 0 {
			w.sized = sizedReader{w.c.r, r.ContentLength}
			w.body.r = &w.sized
		}
	} else {
		w.c.awaitRest()
		order.readOrder(w.c.r)
		sent, err := http.ReadRequest(w.c.r)
		if err != nil {
			return nil, err
		}
		order.undoPragma(sent.Header)
		*r, w.body.sent = *sent.WithContext(&w.life), sent
		if r.ContentLength != 0 {
			w.body.r = r.Body
		}
	}
	w.close = r.Close || mayUpgrade(r) // after a handshake that is refused nobody watches what comes
	if w.body.r != nil {
		w.body.expects.Store(r.ProtoAtLeast(1, 1) && hasToken(r.Header["Expect"], "100-continue"))
		r.Body = &w.body
	}
	return r, nil
}

// free has another request use w, once the answer is whole. It does not where somebody may have kept anything of the request: its
// context, which whoever waits does, or its body.
func (w *http1Response) free() {
	x := &w.exchange
	if w.body.r != nil || w.life.watched() || x.gateway != nil && !x.over || w.answer.trace.ctx != nil {
		return
	}
	w.answer.dropHead()
	*w = http1Response{request: plainRequest{fields: w.request.emptied()}}
	http1Responses.Put(w)
}

// cancel ends the request's context.
func (w *http1Response) cancel() { w.life.end(nil) }

// Header is that of the answer until WriteHeader, and then that of its trailer.
func (w *http1Response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader sends informational answers at once, and others with what follows.
func (w *http1Response) WriteHeader(status int) { w.writeHeader(status, fieldsOfHeader(w.header)) }

// fieldsOfHeader are the fields of a header, without those that have net/http's prefix of a trailer's.
func fieldsOfHeader(header http.Header) *fieldList {
	var l fieldList
	for name, values := range header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, value := range values {
			l.add(name, value)
		}
	}
	return &l
}

// writeHeader is WriteHeader with other fields.
func (w *http1Response) writeHeader(status int, h *fieldList) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.status != 0:
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.appendStatus(status)
		w.appendFields(h)
		w.out = append(w.out, "\r\n"...)
		w.sendEarlyLocked()
	default:
		w.writeHeadLocked(status, h)
	}
}

func (w *http1Response) writeHeadLocked(status int, h *fieldList) {
	w.status = status
	if declared, n := h.count("Content-Length"); n == 1 {
		if n, ok := parseLength(declared); ok {
			w.length = n
		}
	}
	w.appendStatus(status)
	w.close = w.close || hasToken(h.values("Connection"), "close")
	if w.hasBody() && w.length < 0 {
		w.chunked = w.request.ProtoAtLeast(1, 1)
		w.close = w.close || !w.chunked
	}
	if w.chunked {
		w.out = append(w.out, "Transfer-Encoding: chunked\r\n"...)
	}
	w.out = append(w.out, w.connection(h)...)
	if !h.has("Date") {
		w.out = append(append(append(w.out, "Date: "...), dateNow()...), "\r\n"...)
	}
	w.appendFields(h)
	w.out = append(w.out, "\r\n"...)
}

// connection is the line of Connection (RFC 9110, 7.6.1); empty where nothing has to be said.
func (w *http1Response) connection(h *fieldList) string {
	upgrade := w.status == http.StatusUpgradeRequired && h.has("Upgrade")
	switch {
	case !w.request.ProtoAtLeast(1, 1) && w.close:
		return ""
	case !w.request.ProtoAtLeast(1, 1):
		return "Connection: keep-alive\r\n"
	case upgrade && w.close:
		return "Connection: close, upgrade\r\n"
	case upgrade:
		return "Connection: upgrade\r\n"
	case w.close:
		return "Connection: close\r\n"
	}
	return ""
}

// hasBody reports whether bytes follow the header (RFC 9112, 6.3).
func (w *http1Response) hasBody() bool {
	return w.request.Method != http.MethodHead && allowsBody(w.status)
}

// endsWithConn reports whether what has begun is a body that ends where the connection does (RFC 9112, 6.3).
func (w *http1Response) endsWithConn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status != 0 && w.hasBody() && w.length < 0 && !w.chunked
}

func allowsBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func (w *http1Response) appendStatus(status int) {
	if status == http.StatusOK && w.request.ProtoAtLeast(1, 1) {
		w.out = append(w.out, "HTTP/1.1 200 OK\r\n"...)
		return
	}
	version := "HTTP/1.1 "
	if !w.request.ProtoAtLeast(1, 1) {
		version = "HTTP/1.0 "
	}
	w.out = strconv.AppendInt(append(w.out, version...), int64(status), 10)
	text := http.StatusText(status)
	if text == "" {
		text = "Status"
	}
	w.out = append(append(append(w.out, ' '), text...), "\r\n"...)
}

// appendFields leaves out what is the connection's, and what does not go with the framing.
func (w *http1Response) appendFields(h *fieldList) {
	for i := range h.list {
		f := &h.list[i]
		switch {
		case f.name == "Connection", f.name == "Transfer-Encoding":
		case f.name == "Content-Length" && w.length < 0:
		case f.name == "Trailer" && !w.chunked:
		default:
			w.out = f.appendTo(w.out)
		}
	}
}

func (w *http1Response) appendValues(name string, values []string) {
	for _, value := range values {
		w.out, _ = appendField(w.out, name, value)
	}
}

// Write implements io.Writer.
func (w *http1Response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeadLocked(http.StatusOK, fieldsOfHeader(w.header))
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !allowsBody(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.request.Method == http.MethodHead {
		return len(p), nil
	}
	if w.chunked {
		w.out = append(strconv.AppendInt(w.out, int64(len(p)), 16), "\r\n"...)
	}
	if len(w.out)+len(p) <= together {
		w.out = append(w.out, p...)
	} else {
		w.sendWithLocked(p)
	}
	if w.chunked {
		w.out = append(w.out, "\r\n"...)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// sendWithLocked sends what is there and p with one call.
func (w *http1Response) sendWithLocked(p []byte) {
	if w.err == nil {
		w.err = w.c.conn.writeAll(w.out, p)
	}
	w.out = w.out[:0]
}

func (w *http1Response) sendLocked() {
	if w.err == nil && len(w.out) > 0 {
		_, w.err = w.c.conn.Write(w.out)
	}
	w.out = w.out[:0]
}

// sendEarlyLocked sends what comes before the answer. Nobody else watches over that, and the consumer may not read.
func (w *http1Response) sendEarlyLocked() {
	_ = w.c.conn.SetWriteDeadline(time.Now().Add(writeGrace))
	w.sendLocked()
	_ = w.c.conn.SetWriteDeadline(time.Time{})
}

// FlushError sends what was written.
func (w *http1Response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeadLocked(http.StatusOK, fieldsOfHeader(w.header))
	}
	w.sendLocked()
	return w.err
}

// goOn asks for the body, unless the answer has begun.
func (w *http1Response) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.out = append(w.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
		w.sendEarlyLocked()
	}
}

// finish ends the answer.
func (w *http1Response) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		if w.header["Content-Length"] == nil && w.request.Method != http.MethodHead {
			w.Header()["Content-Length"] = []string{"0"}
		}
		w.writeHeadLocked(http.StatusOK, fieldsOfHeader(w.header))
	}
	if w.chunked {
		w.out = append(w.out, "0\r\n"...)
		w.appendTrailer()
		w.out = append(w.out, "\r\n"...)
	}
	w.sendLocked()
	w.close = w.close || w.hasBody() && w.length >= 0 && w.written != w.length
	if cap(w.out) <= 2*together {
		w.c.out = w.out[:0]
	}
	return w.err
}

// appendTrailer writes the fields that were declared, and those that have net/http's prefix.
func (w *http1Response) appendTrailer() {
	for _, list := range w.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			w.appendValues(name, w.header[name])
		}
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.appendValues(name, values)
		}
	}
}

// SetReadDeadline serves http.ResponseController.
func (w *http1Response) SetReadDeadline(t time.Time) error { return w.c.conn.SetReadDeadline(t) }

// SetWriteDeadline serves http.ResponseController.
func (w *http1Response) SetWriteDeadline(t time.Time) error { return w.c.conn.SetWriteDeadline(t) }

// EnableFullDuplex serves http.ResponseController: it is never otherwise.
func (w *http1Response) EnableFullDuplex() error { return nil }

// Hijack gives the connection away, with small buffers: an upgraded connection waits most of the time.
func (w *http1Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.c
	c.watch.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.status != 0 || c.away {
		return nil, nil, http.ErrHijacked
	}
	c.away = true
	c.server.remove(c) // whoever has it ends it
	rest, _ := c.r.Peek(c.r.Buffered())
	c.conn.replay = append(c.conn.replay[:len(c.conn.replay):len(c.conn.replay)], rest...)
	c.dropBuffer()
	c.conn.secret.forget() // no request follows
	c.conn.host.forget()
	const least = 16
	return c.conn, bufio.NewReadWriter(bufio.NewReaderSize(c.conn, least), bufio.NewWriterSize(c.conn, writeHold)), nil
}

// date is the second that it is, as a Date field has it.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

func dateNow() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
