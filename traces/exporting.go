package traces

import (
	"context"
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
	lost int
	last time.Time
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error, because it has told of it.
func (e *exporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += len(spans)
	if now := time.Now(); now.Sub(e.last) >= quiet {
		e.log.Warn("traces were not sent", zap.Int("spans", e.lost), zap.Error(err))
		e.lost, e.last = 0, now
	}
	return nil
}
