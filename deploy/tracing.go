package deploy

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
)

// Trace has every deploy be a span, with its build and its start below it. Call it before the first deploy; nil: none.
func (d *Deployer) Trace(t trace.Tracer) { d.tracer = t }

// span begins a step of a deploy. The function that it returns ends it with what came of it.
func (d *Deployer) span(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, func(error, ...attribute.KeyValue)) {
	tracer := d.tracer
	if tracer == nil {
		tracer = noop.Tracer{}
	}
	ctx, span := tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, func(err error, attributes ...attribute.KeyValue) {
		span.SetAttributes(attributes...)
		if err != nil {
			word := wordOf(err)
			span.SetAttributes(attribute.String("error.type", word))
			span.SetStatus(codes.Error, word)
		}
		span.End()
	}
}

// wordOf is the reason of a failure; what no author reads is internal.
func wordOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if e, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return e.Reason
	}
	if e, ok := errors.AsType[*sandbox.Exit](err); ok {
		return string(e.Reason)
	}
	return Internal
}
