package traces

import (
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sampler decides at the first span of ours in a trace; the spans below follow it.
func (t *Traces) sampler() sdktrace.Sampler {
	if t.cfg.Trust {
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.cfg.Sample))
	}
	own := chance(t.cfg.Sample)
	return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.cfg.Sample),
		sdktrace.WithRemoteParentSampled(own), sdktrace.WithRemoteParentNotSampled(own))
}

// chance keeps traces at random. It looks at nothing that a stranger has chosen: neither at the flag nor at the trace's id,
// by which the usual sampler decides.
type chance float64

// ShouldSample implements sdktrace.Sampler.
func (c chance) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{
		Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
	if rand.Float64() < float64(c) { //nolint:gosec // nobody gains by knowing which
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}

// Description implements sdktrace.Sampler.
func (c chance) Description() string { return "chance" }
