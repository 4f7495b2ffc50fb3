// Package metrics counts what happens, for Prometheus: requests by API, starts and ends of sandboxes, deploys, and how far
// the usage journal is behind. What is counted by API is bounded: APIs beyond MaxAPIs are counted together as "other".
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// MaxAPIs is how many APIs have series of their own.
const MaxAPIs = 2000

const other = "other"

// Buckets of durations in seconds: a warm answer takes a few milliseconds, a cold start some hundred, a model minutes.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics counts. Its methods may be called concurrently; New makes one.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec   // api, status
	errors    *prometheus.CounterVec   // api, type
	durations *prometheus.HistogramVec // api
	bytes     *prometheus.CounterVec   // api, direction
	waits     prometheus.Histogram
	exits     *prometheus.CounterVec // api, reason
	deploys   *prometheus.CounterVec // result
	builds    prometheus.Histogram
	starts    prometheus.Histogram
	lost      prometheus.Counter

	mu   sync.RWMutex
	apis map[string]*series   // by id
	gone map[string]time.Time // when APIs were deleted, by id, of which requests may still end
	rest *series

	destinations destinations
}

// series are the counters of one API, found once: looking labels up costs more than counting.
type series struct {
	byStatus [6]prometheus.Counter // by hundreds; 0 is everything else
	duration prometheus.Observer
	in, out  prometheus.Counter
	label    string
}

// New returns a Metrics that counts nothing yet; version and commit say which program this is.
func New(version, commit string) *Metrics {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		apis:         map[string]*series{},
		gone:         map[string]time.Time{},
		destinations: destinations{known: map[string]map[string]bool{}},
		requests:     counters("requests_total", "Finished requests by API and hundreds of the status.", "api", "status"),
		errors: counters("request_errors_total",
			"Requests that the gateway answered with an error, by API and type of the error.", "api", "type"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_duration_seconds", Buckets: buckets,
			Help: "Time from a request's header to the end of its answer, by API.",
		}, []string{"api"}),
		bytes:   counters("request_bytes_total", "Bytes of bodies, by API; in: requests, out: answers.", "api", "direction"),
		waits:   histogram("request_start_wait_seconds", "Time that requests waited for a sandbox to start; only those that waited."),
		exits:   counters("sandbox_exits_total", "Sandboxes that ended, by API and reason.", "api", "reason"),
		deploys: counters("deploys_total", "Deploys by result: ok, or the reason of the failure.", "result"),
		builds:  histogram("deploy_build_seconds", "Time that deploys took to build or find their environment."),
		starts:  histogram("deploy_start_seconds", "Time from a deploy's start of a sandbox to its first answer."),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "usage_lost_records_total",
			Help: "Usage records that the journal could not take, because it or the disk is full.",
		}),
	}
	m.rest = m.seriesOf(other)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.errors, m.durations, m.bytes, m.waits, m.exits, m.deploys, m.builds, m.starts, m.lost, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const namespace = "apibuilder"

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

// Handler answers with all metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Request counts one finished request.
func (m *Metrics) Request(u store.Usage) {
	s := m.of(u.APIID)
	hundreds := u.Status / 100
	if hundreds < 0 || hundreds >= len(s.byStatus) {
		hundreds = 0
	}
	s.byStatus[hundreds].Inc()
	s.duration.Observe(u.Duration.Seconds())
	s.in.Add(float64(max(u.BytesIn, 0)))
	s.out.Add(float64(max(u.BytesOut, 0)))
	if u.Error != "" {
		m.fail(m.errors, s, u.Error)
	}
	if u.StartWait > 0 {
		m.waits.Observe(u.StartWait.Seconds())
	}
}

// Exit counts a sandbox that ended.
func (m *Metrics) Exit(e sandbox.Exit) {
	m.fail(m.exits, m.of(e.API), string(e.Reason))
}

// fail counts what went wrong for a reason, with the others if the API was forgotten meanwhile.
func (m *Metrics) fail(vec *prometheus.CounterVec, s *series, reason string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	label := s.label
	if m.apis[label] != s {
		label = other
	}
	vec.WithLabelValues(label, reason).Inc()
}

// Deployed counts a deploy that succeeded.
func (m *Metrics) Deployed(build, start time.Duration) {
	m.deploys.WithLabelValues("ok").Inc()
	m.builds.Observe(build.Seconds())
	m.starts.Observe(start.Seconds())
}

// DeployFailed counts a deploy that failed; reason is a word of ours.
func (m *Metrics) DeployFailed(reason string) { m.deploys.WithLabelValues(reason).Inc() }

// mostGone deleted APIs are remembered for goneFor, not longer: a row of a followed table may come back with its id.
const (
	mostGone = MaxAPIs
	goneFor  = 10 * time.Minute
)

// Forget drops the series of an API that was deleted. What still ends of it is counted among the others.
func (m *Metrics) Forget(api string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.gone {
		if len(m.gone) < mostGone {
			break
		}
		delete(m.gone, id)
	}
	m.gone[api] = time.Now()
	_, known := m.apis[api]
	delete(m.apis, api)
	m.destinations.forget(api)
	if !known {
		return
	}
	label := prometheus.Labels{"api": api}
	for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.requests, m.errors, m.durations, m.bytes, m.exits} {
		vec.DeletePartialMatch(label)
	}
}

func (m *Metrics) of(api string) *series {
	m.mu.RLock()
	s := m.apis[api]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s = m.apis[api]; s != nil {
		return s
	}
	if at, gone := m.gone[api]; gone && time.Since(at) < goneFor || len(m.apis) >= MaxAPIs || api == "" {
		return m.rest
	}
	delete(m.gone, api)
	s = m.seriesOf(api)
	m.apis[api] = s
	return s
}

func (m *Metrics) seriesOf(label string) *series {
	s := &series{
		duration: m.durations.WithLabelValues(label),
		in:       m.bytes.WithLabelValues(label, "in"),
		out:      m.bytes.WithLabelValues(label, "out"),
		label:    label,
	}
	for i, status := range []string{other, "1xx", "2xx", "3xx", "4xx", "5xx"} {
		s.byStatus[i] = m.requests.WithLabelValues(label, status)
	}
	return s
}
