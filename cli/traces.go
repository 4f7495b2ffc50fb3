package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"apibuilder/traces"
)

// traceSettings are those of serve about traces; docs/traces.md explains them.
var traceSettings = []setting{
	{flag: "otlp-endpoint", serve: true, usage: "`URL` of a collector that traces are sent to by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT if empty, none if that is empty too"},
	{flag: "trace-sample", serve: true, value: "1", usage: "`PART` of the requests that are traced, from 0 to 1, or in percent"},
	{flag: "trace-consumers", serve: true, value: "new", usage: "what a consumer's traceparent does, a `WORD`: new, each request " +
		"begins a trace that links to it; continue, its trace goes on; trust, and it says whether that is kept"},
}

// traceOptions are traceSettings, read.
type traceOptions struct {
	endpoint  string // empty: no traces
	sample    float64
	consumers string
}

func readTraceOptions(s settings) (o traceOptions, err error) {
	at := s["otlp-endpoint"]
	if o.endpoint, err = traces.Endpoint(at.text, os.Getenv); err != nil {
		if at.text != "" {
			return o, usagef("%s: %v", at.name, err)
		}
		return o, usagef("%v", err)
	}
	if o.sample, err = parse(s, "trace-sample", parsePart); err != nil {
		return o, err
	}
	o.consumers, err = parse(s, "trace-consumers", parseTraceConsumers)
	return o, err
}

func parseTraceConsumers(text string) (string, error) {
	switch text {
	case "new", "continue", "trust":
		return text, nil
	}
	return "", fmt.Errorf("%q is neither new, continue nor trust", text)
}

// parsePart reads a part of a whole: 0.25 or 25%.
func parsePart(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	part, err := strconv.ParseFloat(number, 64)
	if percent {
		part /= 100
	}
	if err != nil || !(part >= 0 && part <= 1) { //nolint:staticcheck // NaN is refused too
		return 0, fmt.Errorf("%q is no part of a whole: write for example 0.1 or 10%%", text)
	}
	return part, nil
}

// openTraces comes before the parts that make spans, and so ends after them.
func (s *server) openTraces(ctx context.Context) error {
	o := s.options.traces
	if o.endpoint == "" {
		return nil
	}
	s.traces = traces.New(traces.Config{
		Endpoint: o.endpoint, Sample: o.sample, Trust: o.consumers == "trust",
		Version: version().Version, Node: s.options.nodeName, Log: s.log.Named("traces"),
	})
	s.onStop("traces", s.traces.Stop)
	return s.traces.Start(ctx)
}

// tracer makes the spans of one part; nil when there are no traces.
func (s *server) tracer(part string) trace.Tracer {
	if s.traces == nil {
		return nil
	}
	return s.traces.Tracer(part)
}
