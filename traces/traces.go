// Package traces sends spans to a collector by OTLP over HTTP. Nothing of it is in the way of a request: a span that has ended
// goes into a bounded queue, or is dropped when that is full, and one goroutine sends what is in it. A collector that is slow
// or away costs spans and nothing else.
package traces

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Config says where spans go and which.
type Config struct {
	// Endpoint is the whole URL that spans are posted to, like http://localhost:4318/v1/traces. Header fields, certificates,
	// compression and timeouts come from OpenTelemetry's own environment variables, OTEL_EXPORTER_OTLP_*.
	Endpoint string
	// Sample is the part of traces that are kept, from 0 to 1. 0 keeps none.
	Sample float64
	// Trust says that the sampled flag of a trace that began elsewhere counts in place of Sample.
	Trust bool
	// Version and Node say who the server is: service.version and service.instance.id.
	Version, Node string
	// Log is told, at most once in a minute, that spans cannot be sent. Default: nobody.
	Log *zap.Logger
}

// Traces makes and sends spans. Its methods may be called concurrently; make one with New, then Start it.
type Traces struct {
	cfg      Config
	provider *sdktrace.TracerProvider
	stop     sync.Once
}

// New returns a Traces that does nothing yet.
func New(cfg Config) *Traces {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Traces{cfg: cfg}
}

// Start begins to send. It asks the collector nothing: one that is away may come later. Errors are about settings.
func (t *Traces) Start(ctx context.Context) error {
	exporter, err := otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(t.cfg.Endpoint)))
	if err != nil {
		return fmt.Errorf("set up the sending of traces: %w", err)
	}
	self, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "apibuilder"),
			attribute.String("service.version", t.cfg.Version),
			attribute.String("service.instance.id", t.cfg.Node),
		),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(self),
		sdktrace.WithSampler(t.sampler()),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor((&exporting{SpanExporter: exporter, log: t.cfg.Log}).processor()),
	)
	return nil
}

// limits bound what one span holds, because some of it comes from consumers.
var limits = sdktrace.SpanLimits{
	AttributeValueLengthLimit: 512, AttributeCountLimit: 32, EventCountLimit: 8, LinkCountLimit: 2,
	AttributePerEventCountLimit: 4, AttributePerLinkCountLimit: 4,
}

// Tracer makes spans of one part. Call it after Start.
func (t *Traces) Tracer(name string) trace.Tracer { return t.provider.Tracer("apibuilder/" + name) }

// Stop sends what waits, and gives up when ctx ends. It may be called twice, and without a Start.
func (t *Traces) Stop(ctx context.Context) (err error) {
	t.stop.Do(func() {
		if t.provider == nil {
			return
		}
		if err = t.provider.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			t.cfg.Log.Warn("the last traces were not sent: the collector does not answer")
			err = nil
		}
	})
	return err
}
