package traces

import (
	"context"
	"strings"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// quiet is how long nothing more is said about spans that cannot be sent.
const quiet = time.Minute

// exporting tells the server's log of spans that are lost, where OpenTelemetry would write to the standard error stream.
type exporting struct {
	sdktrace.SpanExporter
	log *zap.Logger

	mu   sync.Mutex
	lost int   // not told yet
	why  error // the last one
	last time.Time
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error, because it has told of it.
func (e *exporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.lost, e.why = e.lost+len(spans), err
	}
	if e.lost > 0 && time.Since(e.last) >= quiet {
		e.tellLocked()
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporting) Shutdown(ctx context.Context) error {
	e.mu.Lock()
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
