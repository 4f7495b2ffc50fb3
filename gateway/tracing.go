package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"apibuilder/sandbox"
)

// least is how long a step must take to be a span of its own; most requests find no queue and a sandbox that runs.
const least = time.Millisecond

// tracing is the span of one request. The zero value stands for a request that has none: its methods then do nothing, and
// take no time.
type tracing struct {
	ctx  context.Context // with the span; nil: no tracer
	span trace.Span
}

var traceContext propagation.TraceContext // W3C Trace Context

// beginTrace begins the span of a request to an API. Attributes and names are those of OpenTelemetry's semantic conventions
// for HTTP servers; the query is left out, because secrets are put there.
func (a *answer) beginTrace(r *http.Request) {
	tracer := a.gateway.config.Tracer
	if tracer == nil {
		return
	}
	ctx := context.Background()
	options := []trace.SpanStartOption{trace.WithTimestamp(a.start), trace.WithSpanKind(trace.SpanKindServer)}
	if len(r.Header["Traceparent"]) == 1 { // more than one is none (Trace Context, 3.2)
		ctx = traceContext.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	if !a.gateway.config.ContinueTraces {
		if theirs := trace.SpanContextFromContext(ctx); theirs.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: theirs}))
		}
		options = append(options, trace.WithNewRoot())
	}
	a.trace.ctx, a.trace.span = tracer.Start(ctx, a.traceName(r), options...)
}

// traceName is a name of which there are few, however many APIs and paths there are.
func (a *answer) traceName(r *http.Request) string {
	method := knownMethod(r.Method)
	if method == otherMethod {
		method = "HTTP"
	}
	return method + " " + a.route()
}

// route is the template of the gateway's own routes that the request came by.
func (a *answer) route() string {
	if a.from.prefix != "" {
		return runPrefix + "{api}/{path}"
	}
	return "/{path}"
}

const otherMethod = "_OTHER"

var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// knownMethod is a method's name, or what stands for all that consumers make up. Like valid, it keeps nothing of the request.
func knownMethod(method string) string {
	if i := slices.Index(knownMethods, method); i >= 0 {
		return knownMethods[i]
	}
	return otherMethod
}

// endTrace ends the span of a request, which is over.
func (a *answer) endTrace() {
	if !a.trace.recording() {
		return
	}
	r, span := a.request, a.trace.span
	path, _, _ := strings.Cut(recordedPath(originForm(r.RequestURI)), "?")
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	span.SetAttributes(
		attribute.String("http.request.method", knownMethod(r.Method)),
		attribute.String("http.route", a.route()),
		attribute.String("url.scheme", scheme),
		attribute.String("url.path", strings.Clone(path)), // a span waits to be sent, and the head of its request need not
		attribute.String("server.address", valid(r.Host)),
		attribute.Stringer("client.address", a.from.client),
		attribute.String("network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(r.Proto, "HTTP/"), ".0")),
		attribute.String("user_agent.original", valid(r.UserAgent())),
		attribute.Int("http.response.status_code", a.status),
		attribute.Int64("http.request.body.size", a.upload.size()),
		attribute.Int64("http.response.body.size", a.written),
		attribute.String("apibuilder.request.id", a.id),
	)
	if u := a.usage; u != nil {
		span.SetAttributes(attribute.String("apibuilder.api.id", u.APIID), attribute.Int("apibuilder.api.version", u.Version))
		if u.KeyID != "" {
			span.SetAttributes(attribute.String("apibuilder.key.id", u.KeyID))
		}
	}
	fault(span, a.word, a.status >= 500)
	span.End()
}

// fault says what went wrong with a span in one of the gateway's words.
func fault(span trace.Span, word string, failed bool) {
	if word != "" {
		span.SetAttributes(attribute.String("error.type", word))
	}
	if failed {
		span.SetStatus(codes.Error, word)
	}
}

func (t *tracing) recording() bool { return t.span != nil && t.span.IsRecording() }

// now is the time, where it will be needed.
func (t *tracing) now() time.Time {
	if !t.recording() {
		return time.Time{}
	}
	return time.Now()
}

// field names the trace in the log.
func (t *tracing) field() zap.Field {
	if t.span == nil {
		return zap.Skip()
	}
	return zap.Stringer("trace_id", t.span.SpanContext().TraceID())
}

// inject puts the request's place in the trace on what the program gets, in place of what the consumer sent.
func (t *tracing) inject(h http.Header) {
	if t.ctx == nil {
		return
	}
	delete(h, "Traceparent")
	delete(h, "Tracestate")
	traceContext.Inject(t.ctx, propagation.HeaderCarrier(h))
}

// step records a step that is over, below ctx.
func (a *answer) step(ctx context.Context, name string, from, to time.Time) {
	_, span := a.gateway.config.Tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// valid makes a consumer's text one that OTLP can carry: a single one that is not UTF-8 would lose every span that is sent with
// it. Nothing else of the request's head is kept by it.
func valid(text string) string { return strings.Clone(strings.ToValidUTF8(text, "?")) }

// traceQueue records the wait for a place among the requests of an API.
func (a *answer) traceQueue(began time.Time, word string, err error) {
	if began.IsZero() {
		return
	}
	if err != nil {
		word = a.gateway.goneWord()
	}
	if now := time.Now(); word != "" || now.Sub(began) >= least {
		_, span := a.gateway.config.Tracer.Start(a.trace.ctx, "queue", trace.WithTimestamp(began))
		fault(span, word, word != "")
		span.End(trace.WithTimestamp(now))
	}
}

// traceStart records the wait for a sandbox, with the steps of the start that it waited for. Several requests may wait for one
// start: each has its steps, from when it began to wait.
func (a *answer) traceStart(began time.Time, lease Lease, err error) {
	if began.IsZero() || err == nil && lease.StartWait() == 0 {
		return
	}
	ctx, span := a.gateway.config.Tracer.Start(a.trace.ctx, "start", trace.WithTimestamp(began))
	now := time.Now()
	if err != nil {
		word := wordOf(err)
		if a.request.Context().Err() != nil {
			word = a.gateway.goneWord()
		}
		fault(span, word, true)
	} else {
		span.SetAttributes(attribute.Bool("apibuilder.sandbox.warm", lease.Startup().Warm))
		for _, s := range stepsOf(lease.Startup()) {
			if s.to.After(began) && s.to.After(s.from) {
				a.step(ctx, s.name, later(s.from, began), s.to)
			}
		}
	}
	span.End(trace.WithTimestamp(now))
}

// startStep is a part of the start of a sandbox.
type startStep struct {
	name     string
	from, to time.Time
}

func stepsOf(s sandbox.Startup) []startStep {
	return []startStep{
		{"place", s.Asked, s.Begun},
		{"sandbox", s.Begun, s.Standing},
		{"import", s.Standing, s.Imported},
		{"first answer", s.Imported, s.Answered},
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// callSpan is the exchange with the program, as its client sees it. The zero value stands for none.
type callSpan struct {
	outer tracing
	began time.Time
}

// traceCall begins it; the program's spans will be below it. Its end must be called, once.
func (a *answer) traceCall() callSpan {
	if a.trace.ctx == nil {
		return callSpan{}
	}
	c := callSpan{outer: a.trace, began: time.Now()}
	a.trace.ctx, a.trace.span = a.gateway.config.Tracer.Start(a.trace.ctx, knownMethod(a.request.Method),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(c.began))
	return c
}

// answered says that the head of the program's answer has come.
func (c *callSpan) answered(a *answer) {
	if a.trace.recording() {
		a.step(a.trace.ctx, "first byte", c.began, time.Now())
	}
}

// end ends it and has the request's own span back.
func (c *callSpan) end(a *answer) {
	if c.outer.ctx == nil {
		return
	}
	span := a.trace.span
	a.trace = c.outer
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", knownMethod(a.request.Method)),
			attribute.String("server.address", "sandbox"),
			attribute.Int("http.response.status_code", a.status),
		)
		fault(span, a.word, a.word != "")
		span.End()
	}
}
