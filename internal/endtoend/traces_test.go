package endtoend

import (
	"encoding/json"
	"net/http"
	"testing"

	"apibuilder/internal/otlptest"
)

// TestTracesReachACollector has a server send traces to a real collector, and a program use OpenTelemetry's own SDK in its
// sandbox: the program's span is below the gateway's.
func TestTracesReachACollector(t *testing.T) {
	c := otlptest.New(t)
	s := serve(t, dataDir(t), "--no-example", "--otlp-endpoint", c.URL, "--trace-consumers", "continue")
	d := s.deploy("traced", `
from fastapi import FastAPI, Request
from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("program")
app = FastAPI()

@app.get("/items/{item}")
def item(item: str, request: Request):
    with tracer.start_as_current_span("item", context=extract(request.headers)) as span:
        return {"trace": format(span.get_span_context().trace_id, "032x"), "above": format(span.parent.span_id, "016x")}
`, "fastapi\nopentelemetry-sdk\n")
	s.must("apis", "sleep", "traced")
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	got := call(t, http.MethodGet, d.URL+"/items/1", d.Key, nil, "traceparent", "00-"+theirs+"-b7ad6b7169203331-00")
	var program struct{ Trace, Above string }
	if err := json.Unmarshal(got.body, &program); err != nil {
		t.Fatalf("status %d: %s: %v", got.status, got.body, err)
	}
	s.stop() // sends what waits

	spans := map[string]otlptest.Span{}
	for _, span := range c.Spans() {
		spans[span.GetName()] = span
	}
	request, called := spans["GET /run/{api}/{path}"], spans["GET"]
	if request.Trace() != theirs || request.Parent() != "b7ad6b7169203331" || request.Attribute("apibuilder.api.id") != d.ID {
		t.Errorf("the request's span is %v", request)
	}
	if program.Trace != theirs || program.Above != called.ID() || called.Parent() != request.ID() {
		t.Errorf("the program's span is in %s below %s; the gateway's are %v and %v", program.Trace, program.Above, request, called)
	}
	for name, above := range map[string]string{
		"start": "GET /run/{api}/{path}", "import": "start", "first answer": "start", "first byte": "GET",
		"build environment": "deploy", "start version": "deploy",
	} {
		if span, up := spans[name], spans[above]; span.Span == nil || up.Span == nil || span.Parent() != up.ID() {
			t.Errorf("the span %q is not below %q", name, above)
			continue
		} else if span.GetStartTimeUnixNano() < up.GetStartTimeUnixNano() || span.GetEndTimeUnixNano() > up.GetEndTimeUnixNano() {
			t.Errorf("the span %q is not within %q", name, above)
		}
	}
	if deploy := spans["deploy"]; deploy.Attribute("apibuilder.api.id") != d.ID || deploy.Attribute("apibuilder.api.version") != "1" {
		t.Errorf("the deploy's span is %v", deploy)
	}
}
