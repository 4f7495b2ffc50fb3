package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"apibuilder/sandbox"
)

const (
	malformedWait = 50 * time.Millisecond // for a sandbox's end, after an answer that only a living program makes

	mostInform = 16 // informational responses passed on for one request; more are an attack
)

var (
	errRequestTimeout = errors.New("no response header in time")
	errTotalTimeout   = errors.New("the whole exchange took too long")
	errBodyStalled    = errors.New("the request body stopped coming")
	errIdle           = errors.New("nothing moved")
	errInformed       = errors.New("too many informational responses")
	errBadStatus      = errors.New("bad status code")
	errBadUpgrade     = errors.New("switched to a protocol that nobody asked for")
)

// exchange is one request on its way to a program and the response on its way back.
type exchange struct {
	gateway *Gateway
	answer  *answer
	in      *http.Request
	lease   Lease
	life    lifetime // of the request to the program
	limits  Limits
	times   Timeouts
	watch   *watchdog
	trip    tripContext
	room    trip // for the first one
	url     url.URL
	out     http.Request // what the program gets

	streaming atomic.Bool // the response's header has arrived
	sending   atomic.Bool // something of it may have been sent
	informed  int

	counting  bool // the lease's CPU time since cpuAtHead
	cpuAtHead time.Duration

	alone bool // whose watch is for nothing else
	over  bool // nobody has anything of it any more, but whoever ran it
}

// newExchange is not inlined: the stack would hold another exchange for as long as this one lasts, which may be a stream of hours.
//
//go:noinline
func newExchange(g *Gateway, a *answer, r *http.Request, lease Lease, limits Limits, times Timeouts) *exchange {
	var x *exchange
	if own, ok := a.w.(ownWriter); ok {
		var watch *watchdog
		_, x, watch = own.parts()
		x.watch = watch
	} else {
		x = new(exchange)
		x.watch, x.alone = new(watchdog), true
	}
	x.gateway, x.answer, x.in, x.lease, x.limits, x.times = g, a, r, lease, limits, times
	x.life.parent = r.Context()
	x.life.bind()
	return x
}

// run does it all. Whatever the program does, run ends, and nothing of the request is in use when it has.
func (x *exchange) run(rest string) {
	defer x.close()
	span := x.answer.traceCall()
	defer span.end(x.answer)
	out, first := x.request(rest), x.times.FirstByte
	if out.Body != nil {
		first = min(first, x.times.Upload)
	}
	x.watch.start(first, x.times.Total, x) // not before: it looks at the upload
	res, err := x.lease.RoundTrip(out)
	if err != nil {
		x.broken(err)
		return
	}
	span.answered(x.answer)
	defer res.Body.Close()
	if !x.watch.allow(x.times.Stream) {
		x.broken(errRequestTimeout)
		return
	}
	x.streaming.Store(true)
	x.noteUse(res)
	x.respond(res)
	x.addUse()
}

func (x *exchange) close() {
	x.watch.stop()
	if x.alone {
		x.watch.free()
	}
	unbound := x.life.unbind()
	x.life.end(nil)
	x.answer.upload.stop()
	x.over = x.answer.upload == nil && unbound && x.room.over && !x.life.watched() // with a body, its sender may still be ending the trip
}

// expire implements expirer: it ends an exchange that stands still, by the program's fault or the consumer's, or that has lasted too long.
func (x *exchange) expire(idle time.Duration) (more time.Duration) {
	upload := x.answer.upload
	cause, limit := errRequestTimeout, x.times.FirstByte
	switch {
	case x.times.Total > 0 && x.watch.ageLocked() >= x.times.Total:
		cause, limit = errTotalTimeout, 0
	case x.streaming.Load():
		cause, limit = errIdle, x.times.Stream
	case upload.waiting():
		cause, limit = errBodyStalled, x.times.Upload
	}
	if idle < limit { // look as often as the shortest of the limits demands: another one may hold by then
		return min(limit-idle, x.times.FirstByte, x.times.Upload)
	}
	x.life.end(cause)
	if x.sending.Load() {
		_ = x.answer.control.SetWriteDeadline(time.Now()) // a consumer that does not read blocks a write; HTTP/2 ends the stream
	}
	upload.abort()
	return 0
}

// request is what the program gets. It is not inlined for the same reason as newExchange.
//
//go:noinline
func (x *exchange) request(rest string) *http.Request {
	r := x.in
	host := r.Host
	if host == "" {
		host = localHost(r)
	}
	x.url.Opaque, x.trip = rest, tripContext{lifetime: &x.life, sender: x, fields: &x.answer.head.fieldList, room: &x.room, connect: x.times.Connect, parting: &x.answer.parting}
	out := &http.Request{
		Method: r.Method, URL: &x.url, Host: host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, // its header: see appendHeader
	}
	x.answer.trace.inject(r.Header) // appendHeader reads it, and nobody after
	if r.ContentLength != 0 {
		out.ContentLength = r.ContentLength
		out.Trailer = requestTrailer(r)
		out.Body = x.newUpload(out.Trailer)
		if expected := r.Header["Expect"]; expected != nil && !connectionFields(r.Header["Connection"]).has("Expect") {
			out.Header = http.Header{"Expect": expected} // by which the Transport holds the body back
			x.answer.upload.hold()
		}
	}
	if r.ProtoAtLeast(1, 1) {
		x.trip.inform = x
	}
	x.out = *out.WithContext(&x.trip) // which takes no allocation: the compiler sees that both end here
	return &x.out
}

// appendHeader implements sender.
func (x *exchange) appendHeader(b []byte) ([]byte, error) {
	return appendHeader(b, x.in, &x.answer.head.order, x.answer.id, &x.answer.from)
}

// localHost is the address that an HTTP/1.0 consumer, which sends no Host, has called.
func localHost(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, _, err := net.SplitHostPort(addr.String()); err == nil {
			return addr.String()
		}
	}
	return "localhost"
}

func (x *exchange) newUpload(trailer http.Header) *upload {
	u := &upload{
		body: x.in.Body, control: &x.answer.control, length: x.in.ContentLength, most: x.limits.BodyBytes,
		ctx: x.in.Context(), moved: x.watch.moved,
		ended: func() { copyTrailer(trailer, x.in.Trailer) },
	}
	x.answer.upload = u
	return u
}

// inform passes on an informational response.
func (x *exchange) inform(status int) error {
	x.informed++
	switch {
	case x.informed > mostInform:
		return errInformed
	case status == http.StatusContinue: // the server sends its own when the body is wanted
		return nil
	}
	x.answer.head.pass()
	x.answer.head.remove("Content-Length") // RFC 9110, 8.6
	x.answer.WriteHeader(status)
	return nil
}

// broken answers for an exchange without a valid response.
func (x *exchange) broken(err error) {
	word := x.reason(err)
	if word == wordClientGone || x.gone() {
		x.answer.gone()
		return
	}
	x.answer.problem(word)
}

// reason finds the word for what ended the exchange: the gateway's own clock, the consumer, the sandbox's end, or else
// a program that does not speak HTTP.
func (x *exchange) reason(err error) string {
	x.answer.cause = err
	switch cause := x.life.why(); {
	case errors.Is(cause, errRequestTimeout):
		x.lease.Suspect()
		return wordRequestTimeout
	case errors.Is(cause, errBodyStalled):
		return wordBodyTimeout
	case errors.Is(cause, errTotalTimeout):
		return wordTotalTimeout
	case errors.Is(cause, errIdle):
		return wordIdleTimeout
	}
	if errors.Is(err, errPanic) {
		return wordInternal
	}
	if word := connOf(x.in).stopped(); word != "" && !x.answer.upload.complete() { // else it was for what follows the request
		x.answer.cause = errGuard
		return word
	}
	if word, cause := x.answer.upload.blame(); word != "" {
		x.answer.cause = cause
		return word
	}
	if errors.Is(err, errConsumer) || x.gone() {
		return x.gateway.goneWord()
	}
	if errors.Is(err, errConnectTimeout) {
		x.lease.Suspect()
		return wordConnectTimeout
	}
	if isExhausted(err) { // here, not in the program
		return wordOverloaded
	}
	wait := x.gateway.config.ExitWait
	if errors.Is(err, errMalformed) {
		wait = min(wait, malformedWait) // most likely it lives
	}
	if exit := x.exit(wait); exit != nil {
		x.answer.cause = exit
		return wordOf(exit)
	}
	if x.gone() {
		return x.gateway.goneWord()
	}
	return wordBadResponse
}

// gone reports whether the consumer has left. A connection that the guard stopped within the request's body looks so too.
func (x *exchange) gone() bool {
	return (connOf(x.in).stopped() == "" || x.answer.upload.complete()) && x.answer.upload.gone(x.in.Context())
}

func (x *exchange) exit(wait time.Duration) *sandbox.Exit {
	ctx := x.in.Context()
	if ctx.Err() != nil { // by our own abort, see upload.gone
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return x.lease.Exit(ctx)
}

// respond passes the response on.
func (x *exchange) respond(res *http.Response) {
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		x.tunnel(res)
		return
	case res.StatusCode < 200:
		x.answer.cause = errBadStatus
		x.answer.problem(wordBadResponse)
		return
	}
	a, demanded := x.answer, x.demanded(res)
	a.head.pass()
	if demanded != "" {
		a.head.add("Upgrade", demanded)
	}
	a.head.declareTrailer(res.Trailer)
	a.settleBody()
	if a.upload != nil {
		a.upload.relaxed.Store(true)
	}
	a.length = res.ContentLength
	if err := x.stream(res); err != nil {
		if a.status == 0 {
			_ = a.control.SetWriteDeadline(time.Now().Add(writeGrace)) // expire may have ended all writing
			x.broken(err)
			return
		}
		a.abort = true
		a.word = x.reason(err)
		return
	}
	if len(res.Trailer) > 0 {
		passTrailer(a.Header(), res.Trailer)
	}
}

// demanded are the protocols without which a program serves nobody, by a 426, which has to name them (RFC 9110, 15.5.22); empty where
// the consumer's version of HTTP has no Upgrade (RFC 9110, 7.8, and RFC 9113, 8.2.2).
func (x *exchange) demanded(res *http.Response) string {
	if res.StatusCode != http.StatusUpgradeRequired || x.in.ProtoMajor > 1 || !x.in.ProtoAtLeast(1, 1) {
		return ""
	}
	return protocols(x.answer.head.values("Upgrade"))
}

var errConsumer = errors.New("write to the consumer")

// begin is called before anything of the response is sent. An error says that the exchange has ended: expire, which has not seen
// that something would be sent, has left the consumer to be told.
func (x *exchange) begin() error {
	x.sending.Store(true)
	return x.life.why()
}

// stream sends the header and copies the body. Each piece is sent on at once, except for the last of a known length, which
// the server sends when the handler returns. The header of such a body goes with its first piece: a program that ends before that
// leaves the consumer without an answer, and so it can still be told why.
func (x *exchange) stream(res *http.Response) error {
	a := x.answer
	if res.Body == http.NoBody || res.ContentLength <= 0 {
		if err := x.begin(); err != nil {
			return err
		}
		a.WriteHeader(res.StatusCode)
	}
	if res.Body == http.NoBody {
		return nil
	}
	if res.ContentLength < 0 {
		if err := a.FlushError(); err != nil {
			return errors.Join(errConsumer, err)
		}
	}
	var buffer copyBuffer
	defer buffer.free()
	if res.ContentLength > smallBytes {
		buffer.filled(smallBytes)
	}
	for {
		p := buffer.next(res.Body)
		n, err := res.Body.Read(p)
		if a.status == 0 && (n > 0 || err == io.EOF) {
			if err := x.begin(); err != nil {
				return err
			}
			a.WriteHeader(res.StatusCode)
		}
		if n > 0 {
			if err := x.pass(p[:n]); err != nil {
				return errors.Join(errConsumer, err)
			}
			buffer.filled(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func (x *exchange) pass(p []byte) error {
	x.watch.moved()
	if _, err := x.answer.Write(p); err != nil {
		return err
	}
	if x.answer.whole() {
		return nil // there is nothing more to wait for
	}
	if err := x.answer.FlushError(); err != nil {
		return err
	}
	x.watch.moved()
	return nil
}
