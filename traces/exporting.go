package traces

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// quiet is how long nothing more is said about spans that cannot be sent.
const quiet = time.Minute

// errFull is why spans are lost that were never handed to the exporter.
var errFull = errors.New("the queue is full: the collector is slow, or the queue (OTEL_BSP_MAX_QUEUE_SIZE) is short")

// exporting tells the server's log of spans that are lost, where OpenTelemetry would write to the standard error stream, or nowhere.
type exporting struct {
	sdktrace.SpanExporter
	log   *zap.Logger
	ended atomic.Int64 // spans that are to be sent
	room  int          // spans that may wait: how many do is not told

	mu      sync.Mutex
	handed  int   // spans that came out of the queue
	dropped int   // that never will, as far as is known
	lost    int   // not told yet
	why     error // the last one
	last    time.Time
}

// processor puts ended spans into a queue before e.
func (e *exporting) processor() sdktrace.SpanProcessor {
	return counting{sdktrace.NewBatchSpanProcessor(e, func(o *sdktrace.BatchSpanProcessorOptions) {
		e.room = o.MaxQueueSize + o.MaxExportBatchSize
	}), e}
}

// counting notes how many spans are to be sent.
type counting struct {
	sdktrace.SpanProcessor
	to *exporting
}

// OnEnd implements sdktrace.SpanProcessor.
func (c counting) OnEnd(s sdktrace.ReadOnlySpan) {
	c.SpanProcessor.OnEnd(s)
	if s.SpanContext().IsSampled() { // others are not sent
		c.to.ended.Add(1)
	}
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error, because it has told of it.
func (e *exporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handed += len(spans)
	e.missLocked(e.room)
	if err != nil {
		e.lost, e.why = e.lost+len(spans), err
	}
	if e.lost > 0 && time.Since(e.last) >= quiet {
		e.tellLocked()
	}
	return nil
}

// missLocked notes what must have been dropped when so many may wait at most.
func (e *exporting) missLocked(waiting int) {
	if dropped := int(e.ended.Load()) - e.handed - waiting; dropped > e.dropped {
		e.lost, e.why = e.lost+dropped-e.dropped, errFull
		e.dropped = dropped
	}
}

// Shutdown implements sdktrace.SpanExporter. Nothing waits by now.
func (e *exporting) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	e.missLocked(0)
	if e.lost > 0 {
		e.tellLocked()
	}
	e.mu.Unlock()
	return e.SpanExporter.Shutdown(ctx)
}

// longestWhy is in bytes: the reason holds what the collector has answered, which may be a page of megabytes.
const longestWhy = 1024

func (e *exporting) tellLocked() {
	why := e.why.Error()
	if len(why) > longestWhy {
		why = strings.ToValidUTF8(why[:longestWhy], "") + "..."
	}
	e.log.Warn("traces were not sent", zap.Int("spans", e.lost), zap.String("error", why))
	e.lost, e.last = 0, time.Now()
}
