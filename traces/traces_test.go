package traces

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"apibuilder/internal/otlptest"
)

func start(t *testing.T, cfg Config) *Traces {
	t.Helper()
	tr := New(cfg)
	if err := tr.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSpansReachACollector(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	tr := start(t, Config{Endpoint: c.URL + tracesPath, Sample: 1, Version: "1.2.3", Node: "here"})
	_, span := tr.Tracer("test").Start(t.Context(), "work")
	span.End()
	if err := tr.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Stop(t.Context()); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
	spans := c.Spans()
	if len(spans) != 1 || spans[0].GetName() != "work" {
		t.Fatalf("spans %v", spans)
	}
	for name, want := range map[string]string{
		"service.name": "apibuilder", "service.version": "1.2.3", "service.instance.id": "here", "deployment.environment.name": "test",
	} {
		if got := spans[0].Resource[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if c.Header().Get("X-Token") != "secret" {
		t.Error("the header field of OTEL_EXPORTER_OTLP_HEADERS did not come")
	}
}

func TestStopWithoutStart(t *testing.T) {
	if err := New(Config{}).Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestACollectorThatHangsCostsSpansOnly ends far more spans than fit into the queue while nothing can be sent.
func TestACollectorThatHangsCostsSpansOnly(t *testing.T) {
	hang, asked := make(chan struct{}), make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-hang
	}))
	t.Cleanup(func() {
		close(hang)
		server.Close()
	})
	core, told := observer.New(zap.WarnLevel)
	tr := start(t, Config{Endpoint: server.URL + tracesPath, Sample: 1, Log: zap.New(core)})
	tracer := tr.Tracer("test")
	const spans = 100_000 // the queue holds 2,048
	began := time.Now()
	for range spans {
		_, span := tracer.Start(t.Context(), "work")
		span.End()
	}
	took := time.Since(began)
	<-asked // it was busy sending meanwhile
	if took > 30*time.Second {
		t.Errorf("%d spans took %v: they wait for the collector", spans, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := tr.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if told.Len() == 0 {
		t.Error("the log says nothing")
	}
}

// failing is a collector that is away.
type failing struct{ sdktrace.SpanExporter }

func (failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return errors.New("away") }

func TestALossIsToldOnceInAWhile(t *testing.T) {
	core, told := observer.New(zap.WarnLevel)
	e := &exporting{SpanExporter: failing{}, log: zap.New(core)}
	for range 100 {
		if err := e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if told.Len() != 1 || e.lost != 99*3 {
		t.Errorf("told %d times, %d spans still to tell", told.Len(), e.lost)
	}
}

// moody is a collector that answers with an error page as long as one is set.
type moody struct {
	sdktrace.SpanExporter
	page string
}

func (m *moody) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	if m.page == "" {
		return nil
	}
	return errors.New(m.page)
}

func (*moody) Shutdown(context.Context) error { return nil }

// What was lost after the last line is told when the collector is back, or at the end, and the log holds no whole error page.
func TestEveryLossIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, told := observer.New(zap.WarnLevel)
		collector := &moody{page: strings.Repeat("é", 1<<20)}
		e := &exporting{SpanExporter: collector, log: zap.New(core)}
		export := func(page string) {
			t.Helper()
			collector.page = page
			if err := e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 3)); err != nil {
				t.Fatal(err)
			}
		}
		export(collector.page)
		export("away")
		export("")
		time.Sleep(quiet)
		export("")
		export("away again")
		if err := e.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := told.All()
		if len(lines) != 3 {
			t.Fatalf("told %d times", len(lines))
		}
		for i, line := range lines {
			fields := line.ContextMap()
			why, _ := fields["error"].(string)
			if fields["spans"] != int64(3) || len(why) > 2*longestWhy || !utf8.ValidString(why) || i > 0 && !strings.HasPrefix(why, "away") {
				t.Errorf("line %d: %v spans, %.50s, %d bytes", i, fields["spans"], why, len(why))
			}
		}
	})
}

// slow is a collector that takes spans after a while.
type slow struct {
	sdktrace.SpanExporter
	took int
}

func (s *slow) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	time.Sleep(time.Second)
	s.took += len(spans)
	return nil
}

func (*slow) Shutdown(context.Context) error { return nil }

// TestWhatTheQueueDropsIsTold ends spans faster than the collector takes them: each is taken, or told as lost.
func TestWhatTheQueueDropsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, told := observer.New(zap.WarnLevel)
		collector := &slow{}
		e := &exporting{SpanExporter: collector, log: zap.New(core)}
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(e.processor()))
		const spans = 20_000
		for n := range spans {
			_, span := provider.Tracer("test").Start(t.Context(), "work")
			span.End()
			if n%5000 == 0 {
				time.Sleep(2 * quiet)
			}
		}
		synctest.Wait()
		if err := provider.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		lost := 0
		for _, line := range told.All() {
			n, _ := line.ContextMap()["spans"].(int64)
			lost += int(n)
		}
		if collector.took+lost != spans || told.Len() < 2 {
			t.Errorf("%d spans were taken and %d told as lost, of %d, in %d lines", collector.took, lost, spans, told.Len())
		}
	})
}

// TestWhoDecidesWhatIsKept has a stranger choose flags and ids.
func TestWhoDecidesWhatIsKept(t *testing.T) {
	const n = 4000
	remote := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true, // an id that ratios always keep
		}))
	}
	for _, c := range []struct {
		name        string
		trust       bool
		ctx         context.Context
		least, most int
	}{
		{"our own", false, t.Context(), n / 20, n / 5},
		{"a stranger's that says yes", false, remote(trace.FlagsSampled), n / 20, n / 5},
		{"a stranger's that says no", false, remote(0), n / 20, n / 5},
		{"a friend's that says yes", true, remote(trace.FlagsSampled), n, n},
		{"a friend's that says no", true, remote(0), 0, 0},
	} {
		tr := New(Config{Sample: 0.1, Trust: c.trust})
		provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(tr.sampler()))
		kept := 0
		for range n {
			ctx, span := provider.Tracer("test").Start(c.ctx, "work")
			_, below := provider.Tracer("test").Start(ctx, "below")
			if span.IsRecording() {
				kept++
			}
			if span.IsRecording() != below.IsRecording() {
				t.Fatalf("%s: a span is kept without the one below it", c.name)
			}
		}
		if kept < c.least || kept > c.most {
			t.Errorf("%s: %d of %d are kept", c.name, kept, n)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		setting string
		env     map[string]string
		want    string // "!" and a part of the error, where it is refused
	}{
		{"http://c:4318", nil, "http://c:4318/v1/traces"},
		{"https://c/base/", nil, "https://c/base/v1/traces"},
		{"http://c:4318/v1/traces", map[string]string{"OTEL_SDK_DISABLED": "true"}, "http://c:4318/v1/traces"},
		{"", nil, ""},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"}, "http://c:4318/x"},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "!OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, "!OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"c:4318", nil, "!no address"},
		{"http://u:hidden@c", nil, "!OTEL_EXPORTER_OTLP_HEADERS"},
		{"http://u:hidden@c\x7f", nil, "!no address"},
		{"http://c?x=1", nil, "!no address"},
	} {
		got, err := Endpoint(c.setting, func(name string) string { return c.env[name] })
		if why, refused := strings.CutPrefix(c.want, "!"); refused {
			if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%q %v: error %v", c.setting, c.env, err)
			}
		} else if got != c.want || err != nil {
			t.Errorf("%q %v: %q, %v", c.setting, c.env, got, err)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("http://c:4318")
	f.Add("http://u:p@c/v1/traces")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := Endpoint(text, func(string) string { return "" })
		if err != nil || at == "" {
			return
		}
		if again, err := Endpoint(at, func(string) string { return "" }); err != nil || again != at {
			t.Errorf("%q becomes %q, and that %q, %v", text, at, again, err)
		}
	})
}
