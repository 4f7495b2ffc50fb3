package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"apibuilder/store"
)

// discardJournal is a journal without cost: what is measured is the gateway.
type discardJournal struct{}

func (discardJournal) Record(store.Usage) error { return nil }

// sink is a consumer's connection without cost.
type sink struct {
	header   http.Header
	status   int
	deadline time.Time
}

func (s *sink) Header() http.Header             { return s.header }
func (s *sink) WriteHeader(status int)          { s.status = status }
func (s *sink) Write(p []byte) (int, error)     { return len(p), nil }
func (s *sink) FlushError() error               { return nil }
func (s *sink) SetReadDeadline(time.Time) error { return nil }
func (s *sink) SetWriteDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *sink) EnableFullDuplex() error { return nil }

// buffers gives the peer the same pool, because without one it makes 32 KiB of garbage for each request.
type buffers struct{}

func (buffers) Get() []byte  { return copyBuffers.Get().(*[copyBytes]byte)[:] }
func (buffers) Put(b []byte) { copyBuffers.Put((*[copyBytes]byte)(b)) }

// BenchmarkGateway sends one small GET at a time to a program on a Unix socket, in turn through the gateway (with key,
// limits and record) and through a bare httputil.ReverseProxy, and reports both times and their ratio. The two take
// turns within one run, so that whatever else the machine does slows both.
func BenchmarkGateway(b *testing.B) {
	d := newDoor(b, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"hello":"world"}`)
	})
	limitAPI(d, "api_private", 1_000_000_000)
	d.gateway.journal = discardJournal{}
	dial := d.sandboxes.transport.dial
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	defer transport.CloseIdleConnections()
	bare := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "program"})
	bare.Transport, bare.BufferPool = transport, buffers{}
	through := timed(b, d.gateway)
	direct := timed(b, bare)
	var gateway, proxy time.Duration
	for b.Loop() {
		proxy += direct()
		gateway += through()
	}
	b.ReportMetric(float64(gateway)/float64(b.N), "gateway-ns")
	b.ReportMetric(float64(proxy)/float64(b.N), "proxy-ns")
	b.ReportMetric(float64(gateway)/float64(proxy), "ratio")
}

func timed(b *testing.B, h http.Handler) func() time.Duration {
	return func() time.Duration {
		r := httptest.NewRequest("GET", "/run/private/items/1?q=2", nil)
		r.Header = http.Header{"X-Api-Key": {testKey}, "User-Agent": {"bench"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip"}}
		w := &sink{header: http.Header{}}
		begin := time.Now()
		h.ServeHTTP(w, r)
		took := time.Since(begin)
		if w.status != 200 {
			b.Fatalf("status %d", w.status)
		}
		return took
	}
}
