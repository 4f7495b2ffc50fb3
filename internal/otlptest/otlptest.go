// Package otlptest is a collector of traces for tests: it reads OTLP over HTTP from the wire and keeps the spans.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one span as it was on the wire, with what it came with.
type Span struct {
	*otlp.Span
	Resource map[string]string // attributes of who sent it
}

// Trace is the span's trace id in hex.
func (s Span) Trace() string { return hex.EncodeToString(s.GetTraceId()) }

// ID is the span's own id in hex.
func (s Span) ID() string { return hex.EncodeToString(s.GetSpanId()) }

// Parent is the id of the span above; empty: none.
func (s Span) Parent() string { return hex.EncodeToString(s.GetParentSpanId()) }

// Attribute is the text of an attribute; empty: it has none of that name.
func (s Span) Attribute(name string) string {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == name {
			return textOf(kv.GetValue())
		}
	}
	return ""
}

// Collector takes what is posted to URL + "/v1/traces". Its methods may be called concurrently.
type Collector struct {
	URL    string
	mu     sync.Mutex
	spans  []Span
	header http.Header // of the last request
	came   chan struct{}
}

// New starts a collector that ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{came: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			t.Errorf("the collector was sent what is no OTLP: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Collector) take(r *http.Request) error {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unpacked
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &request); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	for _, resource := range request.GetResourceSpans() {
		of := map[string]string{}
		for _, kv := range resource.GetResource().GetAttributes() {
			of[kv.GetKey()] = textOf(kv.GetValue())
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, Span{span, of})
			}
		}
	}
	select {
	case c.came <- struct{}{}:
	default:
	}
	return nil
}

// Spans are those that have come.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Header is that of the last request.
func (c *Collector) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header
}

// Await returns the spans once done holds for them; it fails the test when its context ends before.
func (c *Collector) Await(t testing.TB, done func([]Span) bool) []Span {
	t.Helper()
	for {
		if spans := c.Spans(); done(spans) {
			return spans
		}
		select {
		case <-c.came:
		case <-t.Context().Done():
			t.Fatal("the spans did not come")
		}
	}
}
