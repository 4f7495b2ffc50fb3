package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// State is what is asked for at each scrape rather than counted.
type State struct {
	// Running calls each once for every running sandbox.
	Running func(each func(Sandbox))
	// Egress calls each once for every API whose programs may reach something outside; nil: none may.
	Egress func(each func(Egress))
	// Name is an API's name; empty when it is not known.
	Name func(api string) string
	// Warm is the number of sandboxes that wait for a program.
	Warm func() int
	// Pending is the number of usage records that the database does not have yet, JournalBytes what they take on disk.
	Pending, JournalBytes func() int64
	// Database reports whether the database answers.
	Database func() bool
}

// Sandbox is one that runs.
type Sandbox struct {
	API              string
	InFlight         int64
	MemoryBytes      int64
	CPUSeconds       float64 // since its start
	ThrottledSeconds float64
}

// Watch has state asked at every scrape. Call it once, before the first one.
func (m *Metrics) Watch(state State) { m.registry.MustRegister(collector{m, state}) }

// collector turns a State into metrics (prometheus.Collector).
type collector struct {
	metrics *Metrics
	state   State
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

var (
	sandboxes    = desc("sandboxes", "Running sandboxes by API.", "api")
	inFlight     = desc("requests_in_flight", "Requests that are being answered, by API.", "api")
	memory       = desc("sandbox_memory_bytes", "Memory that sandboxes use, by API.", "api")
	cpu          = desc("sandbox_cpu_seconds", "CPU time of the sandboxes that run now, by API; it falls when one ends.", "api")
	throttled    = desc("sandbox_throttled_seconds", "Time that the running sandboxes were held back at their CPU limit, by API.", "api")
	apiInfo      = desc("api_info", "Always 1; the labels join an API's id to its name.", "api", "name")
	warm         = desc("warm_sandboxes", "Sandboxes that wait for a program.")
	pending      = desc("usage_pending_records", "Usage records that the database does not have yet.")
	journalBytes = desc("usage_journal_bytes", "Size of the usage journal.")
	databaseUp   = desc("database_up", "1 when the database answers.")
	descriptions = []*prometheus.Desc{
		sandboxes, inFlight, memory, cpu, throttled, apiInfo, warm, pending, journalBytes, databaseUp,
		egressOpen, egressConnections, egressBytes, egressRefused,
	}
	gauge     = prometheus.GaugeValue
	boolValue = map[bool]float64{true: 1}
)

// Describe is as in prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// Collect is as in prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for api, sum := range c.sums() {
		for d, value := range map[*prometheus.Desc]float64{
			sandboxes: sum.count, inFlight: float64(sum.InFlight), memory: float64(sum.MemoryBytes), cpu: sum.CPUSeconds,
			throttled: sum.ThrottledSeconds,
		} {
			to <- prometheus.MustNewConstMetric(d, gauge, value, api)
		}
		if name := c.state.Name(api); name != "" {
			to <- prometheus.MustNewConstMetric(apiInfo, gauge, 1, api, name)
		}
	}
	c.egress(to)
	to <- prometheus.MustNewConstMetric(warm, gauge, float64(c.state.Warm()))
	to <- prometheus.MustNewConstMetric(pending, gauge, float64(c.state.Pending()))
	to <- prometheus.MustNewConstMetric(journalBytes, gauge, float64(c.state.JournalBytes()))
	to <- prometheus.MustNewConstMetric(databaseUp, gauge, boolValue[c.state.Database()])
}

type sum struct {
	Sandbox
	count float64
}

// sums adds up the sandboxes of each API.
func (c collector) sums() map[string]*sum {
	all := map[string]*sum{}
	c.state.Running(func(s Sandbox) {
		label := c.metrics.of(s.API).label
		t := all[label]
		if t == nil {
			t = &sum{}
			all[label] = t
		}
		t.count++
		t.InFlight += s.InFlight
		t.MemoryBytes += s.MemoryBytes
		t.CPUSeconds += s.CPUSeconds
		t.ThrottledSeconds += s.ThrottledSeconds
	})
	return all
}
