package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"apibuilder/sandbox"
)

const theirTrace = "0af7651916cd43dd8448eb211c80319c"

// traced is a gateway's Config that records spans.
func traced(t *testing.T, c Config) (Config, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	c.Tracer = provider.Tracer("test")
	return c, recorder
}

// ask sends a request with a key, which may be empty, and header fields.
func ask(d *door, target, key string, header ...string) {
	r := d.request("GET", target, nil)
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	d.do(r)
}

// ended returns the spans by name once the one of the request has ended, which is after its answer.
func ended(t *testing.T, r *tracetest.SpanRecorder, name string) map[string]sdktrace.ReadOnlySpan {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(time.Millisecond) { // a recorder has no event
		spans := map[string]sdktrace.ReadOnlySpan{}
		for _, s := range r.Ended() {
			spans[s.Name()] = s
		}
		if spans[name] != nil {
			return spans
		}
	}
	t.Fatalf("there is no span %q", name)
	return nil
}

func attributeOf(s sdktrace.ReadOnlySpan, name string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == name {
			return kv.Value.String()
		}
	}
	return ""
}

func TestARequestIsATraceOfItsSteps(t *testing.T) {
	c, recorder := traced(t, Config{})
	var parent string
	d := newDoor(t, c, func(w http.ResponseWriter, r *http.Request) {
		parent = r.Header.Get("Traceparent")
		fmt.Fprint(w, "hello")
	})
	soon := time.Now().Add(time.Hour) // so that every step ends after the wait has begun
	d.sandboxes.startup = sandbox.Startup{
		Begun: soon, Standing: soon.Add(time.Second), Imported: soon.Add(2 * time.Second), Answered: soon.Add(3 * time.Second), Warm: true,
	}
	ask(d, "/run/private/a/b?secret=1", testKey, "User-Agent", "bad \xff bytes")
	spans := ended(t, recorder, "GET /run/{api}/{path}")
	request, called := spans["GET /run/{api}/{path}"], spans["GET"]
	for name, want := range map[string]string{
		"http.request.method": "GET", "http.route": "/run/{api}/{path}", "url.path": "/run/private/a/b", "url.scheme": "http",
		"http.response.status_code": "200", "http.response.body.size": "5", "apibuilder.api.id": "api_private",
		"apibuilder.key.id": "key_1", "user_agent.original": "bad ? bytes", "client.address": "127.0.0.1", "error.type": "",
	} {
		if got := attributeOf(request, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if request.SpanKind() != trace.SpanKindServer || request.Parent().IsValid() || called.SpanKind() != trace.SpanKindClient {
		t.Errorf("kinds %v %v, parent %v", request.SpanKind(), called.SpanKind(), request.Parent())
	}
	for name, above := range map[string]sdktrace.ReadOnlySpan{
		"start": request, "place": spans["start"], "sandbox": spans["start"], "import": spans["start"], "first answer": spans["start"],
		"GET": request, "first byte": called,
	} {
		if spans[name] == nil || spans[name].Parent().SpanID() != above.SpanContext().SpanID() {
			t.Errorf("the span %q is not below %q", name, above.Name())
		}
	}
	want := fmt.Sprintf("00-%s-%s-01", request.SpanContext().TraceID(), called.SpanContext().SpanID())
	if parent != want {
		t.Errorf("the program got traceparent %q, want %q", parent, want)
	}
}

func TestARefusedRequestIsATraceToo(t *testing.T) {
	c, recorder := traced(t, Config{})
	d := newDoor(t, c, func(http.ResponseWriter, *http.Request) {})
	d.sandboxes.err = &sandbox.Exit{Reason: sandbox.OutOfMemory}
	ask(d, "/run/private/", testKey)
	spans := ended(t, recorder, "GET /run/{api}/{path}")
	for _, name := range []string{"GET /run/{api}/{path}", "start"} {
		if s := spans[name]; s.Status().Code != codes.Error || attributeOf(s, "error.type") != "out_of_memory" {
			t.Errorf("%s: status %v, error.type %q", name, s.Status(), attributeOf(s, "error.type"))
		}
	}
	recorder.Reset()
	ask(d, "/run/private/", unknownK)
	if s := ended(t, recorder, "GET /run/{api}/{path}")["GET /run/{api}/{path}"]; s.Status().Code != codes.Unset ||
		attributeOf(s, "error.type") != "invalid_key" {
		t.Errorf("a refused key: status %v, error.type %q", s.Status(), attributeOf(s, "error.type"))
	}
}

// TestWhatAConsumersTraceparentDoes is about what is theirs to say.
func TestWhatAConsumersTraceparentDoes(t *testing.T) {
	const theirs = "00-" + theirTrace + "-b7ad6b7169203331-01"
	var got http.Header
	program := func(_ http.ResponseWriter, r *http.Request) { got = r.Header }

	d := newDoor(t, Config{}, program)
	ask(d, "/run/public/", "", "Traceparent", theirs, "Tracestate", "a=b")
	if got.Get("Traceparent") != theirs || got.Get("Tracestate") != "a=b" {
		t.Errorf("without traces the program gets %v", got)
	}

	c, recorder := traced(t, Config{})
	d = newDoor(t, c, program)
	ask(d, "/run/public/", "", "Traceparent", theirs, "Tracestate", "a=b")
	s := ended(t, recorder, "GET /run/{api}/{path}")["GET /run/{api}/{path}"]
	if s.SpanContext().TraceID().String() == theirTrace || len(s.Links()) != 1 || s.Links()[0].SpanContext.TraceID().String() != theirTrace {
		t.Errorf("trace %v, links %v", s.SpanContext().TraceID(), s.Links())
	}
	if strings.Contains(got.Get("Traceparent"), theirTrace) || got.Get("Tracestate") != "" {
		t.Errorf("the program gets %v", got)
	}

	c, recorder = traced(t, Config{ContinueTraces: true})
	d = newDoor(t, c, program)
	ask(d, "/run/public/", "", "Traceparent", theirs, "Tracestate", "a=b")
	s = ended(t, recorder, "GET /run/{api}/{path}")["GET /run/{api}/{path}"]
	if s.SpanContext().TraceID().String() != theirTrace || s.Parent().SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("trace %v, parent %v", s.SpanContext().TraceID(), s.Parent().SpanID())
	}
	if !strings.Contains(got.Get("Traceparent"), theirTrace) || got.Get("Tracestate") != "a=b" {
		t.Errorf("the program gets %v", got)
	}

	recorder.Reset()
	for _, bad := range []string{"", "00-0-0-01", "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01", "\xff", theirs + ", " + theirs} {
		ask(d, "/run/public/", "", "Traceparent", bad)
		if s := ended(t, recorder, "GET /run/{api}/{path}")["GET /run/{api}/{path}"]; s.Parent().IsValid() {
			t.Errorf("%q is a parent", bad)
		}
		recorder.Reset()
	}
}
