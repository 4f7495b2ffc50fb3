package gateway

import (
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

const (
	statusClientGone = 499 // nginx's code for it

	smallBody  = 64 << 10         // a refused request's body up to this size is read, to keep the connection
	bodyGrace  = time.Second      // how long that may take
	linger     = time.Second / 2  // how long the server may go on reading what a consumer still sends after its answer
	writeGrace = 30 * time.Second // for the last bytes of an answer
)

// answer is the http.ResponseWriter of one request. It puts the gateway's own fields on the response's header, counts
// what is sent, and sees to it that the usage record is kept before the consumer can have the whole answer: just before
// the last byte when the length is known, else before the server ends the response. Write and WriteHeader are for the
// handler's goroutine.
type answer struct {
	gateway *Gateway
	w       http.ResponseWriter
	control http.ResponseController // of w
	request *http.Request
	id      string
	head    *answerHead // nil when the header was sent
	start   time.Time
	from    origin

	quotas []ratelimit.Quota  // that it was charged to
	space  [3]ratelimit.Quota // for them, so that they allocate nothing

	wait startWait // for a sandbox

	retryAfter time.Duration // until a quota is there again, or a program that keeps failing is started; 0: see limits

	usage   *store.Usage // nil: not counted
	counted store.Usage  // what usage points to
	kept    bool         // usage is with the journal
	ended   time.Time    // then; zero: it is not, or was long before the last byte
	upload  *upload      // nil: no body, or nobody read it
	parting parting

	status  int   // 0: no header yet
	length  int64 // of the body as declared, -1: not declared
	written int64 // of the body
	word    string
	cause   error // for the log
	abort   bool  // the answer broke off

	trace tracing

	cors      *corsPolicy // of the API; nil: the program's own
	preflight bool        // the answer says what pages may do
}

// answerHead is what a request needs until the answer's header is sent, and not for the hours that a stream may go on from there.
type answerHead struct {
	fieldList            // first those that the program says
	order     fieldOrder // of the request's fields
	limits    ratelimit.Result
	checks    [3]ratelimit.Check // that the limits are decided by
}

var answerHeads = sync.Pool{New: func() any { return new(answerHead) }}

// ownWriter is a ResponseWriter of one of this package's servers, which takes the header as a list, and keeps what a request needs. Others work as
// well.
type ownWriter interface {
	http.ResponseWriter
	writeHeader(status int, h *fieldList)
	parts() (*answer, *exchange, *watchdog)
}

func newAnswerHead() *answerHead { return answerHeads.Get().(*answerHead) }

func newAnswer(g *Gateway, w http.ResponseWriter, r *http.Request) *answer {
	now := time.Now()
	var a *answer
	if own, ok := w.(ownWriter); ok {
		a, _, _ = own.parts()
	} else {
		a = new(answer)
	}
	a.gateway, a.w, a.control, a.request = g, w, *http.NewResponseController(w), r
	a.id, a.start, a.length = newRequestID(now), now, -1
	if a.head == nil {
		a.head = newAnswerHead()
	}
	return a
}

// dropHead has the header be somebody else's.
func (a *answer) dropHead() {
	if a.head != nil {
		*a.head = answerHead{}
		answerHeads.Put(a.head)
		a.head = nil
	}
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }

// Header serves http.ResponseWriter: what is there when the body ends is its trailer. The answer's header is head.
func (a *answer) Header() http.Header { return a.w.Header() }

// WriteHeader sends the header; informational ones go through as they are.
func (a *answer) WriteHeader(status int) {
	if status >= 200 {
		a.status = status
		a.stamp()
		if mayUpgrade(a.request) || a.gateway.traffic.isRetiring() {
			a.head.set("Connection", "close")
		}
		defer a.dropHead()
	} else {
		a.confine()
	}
	if a.request.ProtoMajor == 2 && status >= 200 && a.endsWithHead(status) {
		a.record() // nothing follows that could wait for it
	}
	if own, ok := a.w.(ownWriter); ok {
		own.writeHeader(status, &a.head.fieldList)
		return
	}
	h := a.w.Header()
	a.head.addTo(h)
	if status < 200 {
		defer clear(h)
	}
	a.w.WriteHeader(status)
}

// endsWithHead reports whether no body can follow the header.
func (a *answer) endsWithHead(status int) bool {
	return a.request.Method == http.MethodHead || !allowsBody(status) || a.head.get("Content-Length") == "0"
}

// stamp sets the fields that are the gateway's on every answer.
func (a *answer) stamp() {
	h := a.head
	h.set("X-Request-Id", a.id)
	if f := h.limits.Fields(); f.Policy != "" {
		h.set("Ratelimit-Policy", f.Policy)
		h.set("Ratelimit", f.Limit)
		if f.RetryAfter != "" {
			h.set("Retry-After", f.RetryAfter)
		}
	}
	if a.retryAfter > 0 {
		h.set("Retry-After", strconv.FormatInt(int64((a.retryAfter+time.Second-1)/time.Second), 10))
	}
	a.protect()
}

// Write sends a piece of the body.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	before := a.written
	a.written += int64(len(p))
	if a.whole() {
		a.record()
	}
	n, err := a.w.Write(p)
	a.written = before + int64(n)
	return n, err
}

// whole reports whether all of a body of known length was written.
func (a *answer) whole() bool { return a.length >= 0 && a.written >= a.length }

// FlushError sends what the server still buffers.
func (a *answer) FlushError() error { return a.control.Flush() }

// isRecorded reports whether there is no record to be kept any more.
func (a *answer) isRecorded() bool { return a.usage == nil || a.kept }

// record keeps the usage record, once. When it cannot be kept the consumer gets its answer all the same, because the
// program has done its work; the log has the record then.
func (a *answer) record() {
	if a.usage == nil || a.kept {
		return
	}
	a.kept = true
	u := a.usage
	u.Status, u.Error = a.status, a.word
	u.BytesIn, u.BytesOut = a.upload.size(), a.written
	u.Duration = time.Since(a.start)
	if a.length <= together {
		a.ended = a.start.Add(u.Duration)
	}
	if u.Refused() {
		a.uncharge()
	}
	if err := a.gateway.journal.Record(*u); err != nil {
		a.gateway.log.Error("usage record lost", zap.Error(err), zap.Any("record", *u))
	}
	a.tell()
}

// finish ends the answer; it is deferred around the handler.
func (a *answer) finish(r *http.Request) {
	if p := recover(); p != nil {
		a.cause = errPanic
		a.gateway.log.Error("panic", zap.String("request_id", a.id), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		a.problem(wordInternal)
	}
	a.record()
	a.logLine(r)
	a.endTrace()
	a.dropHead()
	if a.abort {
		panic(http.ErrAbortHandler)
	}
	// A consumer that stops reading now must not hold the connection: the server clears this before the next request.
	ended := a.ended
	if ended.IsZero() {
		ended = time.Now()
	}
	_ = a.control.SetWriteDeadline(ended.Add(writeGrace))
}

var errPanic = errors.New("panic")

func (a *answer) logLine(r *http.Request) {
	level := zapcore.DebugLevel
	if a.status >= 500 {
		level = zapcore.InfoLevel
	}
	line := a.gateway.log.Check(level, "request")
	if line == nil {
		return
	}
	var of store.Usage
	if a.usage != nil {
		of = *a.usage
	}
	line.Write(
		zap.String("request_id", a.id),
		zap.String("api", of.APIID),
		zap.Int("version", of.Version),
		zap.String("key", of.KeyID),
		zap.Stringer("client", a.from.client),
		zap.String("method", recordedMethod(r.Method)),
		zap.String("path", recordedPath(originForm(r.RequestURI))),
		zap.Int("status", a.status),
		zap.String("reason", a.word),
		zap.Int64("bytes_in", a.upload.size()),
		zap.Int64("bytes_out", a.written),
		zap.Duration("duration", time.Since(a.start)),
		zap.Duration("start_wait", of.StartWait),
		zap.NamedError("cause", a.cause),
		a.trace.field(),
	)
}

// settleBody is called before the header of an answer whose request's body may not have been read. The server must not
// take the rest of it for the next request: a small one is read, else the connection will be closed.
func (a *answer) settleBody() {
	switch {
	case a.request.ContentLength == 0, a.request.ProtoMajor > 1: // HTTP/2 ends a stream, not the connection
	case a.upload != nil && a.upload.complete():
	case a.upload == nil && a.discardSmallBody():
	default:
		a.head.set("Connection", "close")
		if a.upload == nil {
			_ = a.control.SetReadDeadline(time.Now().Add(linger))
		}
	}
}

func (a *answer) discardSmallBody() bool {
	n := a.request.ContentLength
	if n < 0 || n > smallBody || a.request.Header.Get("Expect") != "" {
		return false
	}
	by := time.Now().Add(bodyGrace)
	_ = a.control.SetReadDeadline(by)
	_ = a.control.SetWriteDeadline(by) // of what a read may write: see consumerConn.awaitUntil
	read, err := io.Copy(io.Discard, a.request.Body)
	_ = a.control.SetReadDeadline(time.Time{})
	_ = a.control.SetWriteDeadline(time.Time{})
	return err == nil && read == n
}

// reads reports whether r only reads; if not, it has answered.
func (a *answer) reads(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	a.problem(wordMethodNotAllowed)
	return false
}

func (a *answer) plain(text string) {
	a.head.set("Content-Type", "text/plain; charset=utf-8")
	a.head.set("Cache-Control", "no-store")
	a.head.set("Content-Length", strconv.Itoa(len(text)))
	a.settleBody()
	_, _ = io.WriteString(a, text)
}
