package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Egress is what an API's programs reached outside since the server started.
type Egress struct {
	API          string
	Open         int64 // connections now
	Destinations []Destination
}

// Destination is what was counted of one: a name or address with its port, or what it was tried as.
type Destination struct {
	To                                   string
	Connections, Sent, Received, Refused int64
}

// Destinations have series of their own as long as there is place: the first of each API and the first of all. What a program tries
// is its own choice, so it must not choose how many series there are.
const (
	maxDestinations    = 20
	maxAllDestinations = 4000
)

// destinations remembers which ones have series of their own, so that no counter ever falls.
type destinations struct {
	known map[string]map[string]bool // by the API's label
	count int
}

// label is the label of a destination.
func (d *destinations) label(api, to string) string {
	own := d.known[api]
	switch {
	case own[to]:
		return to
	case api == other || len(own) >= maxDestinations || d.count >= maxAllDestinations:
		return others
	case own == nil:
		own = map[string]bool{}
		d.known[api] = own
	}
	own[to] = true
	d.count++
	return to
}

func (d *destinations) forget(api string) {
	d.count -= len(d.known[api])
	delete(d.known, api)
}

// others is what egress calls those that it does not count by name, too.
const others = "others"

var (
	egressOpen        = desc("egress_open_connections", "Connections to outside that are open, by API.", "api")
	egressConnections = desc("egress_connections_total", "Connections to outside that were made, by API and destination.", "api", "destination")
	egressBytes       = desc("egress_bytes_total", "Bytes that went outside, sent, and came from there, received, by API and destination.",
		"api", "destination", "direction")
	egressRefused = desc("egress_refused_total", "Connections and look-ups that were refused, by API and destination.", "api", "destination")
)

// egress sends what was reached. APIs and destinations that have no series of their own are added up.
func (c collector) egress(to chan<- prometheus.Metric) {
	if c.state.Egress == nil {
		return
	}
	type key struct{ api, to string }
	open, sums := map[string]int64{}, map[key]*Destination{}
	c.state.Egress(func(e Egress) {
		if e.Open == 0 && len(e.Destinations) == 0 {
			return
		}
		label := c.metrics.of(e.API).label
		open[label] += e.Open
		c.metrics.mu.Lock()
		defer c.metrics.mu.Unlock()
		for _, d := range e.Destinations {
			k := key{label, c.metrics.destinations.label(label, strings.ToValidUTF8(d.To, "?"))}
			s := sums[k]
			if s == nil {
				s = &Destination{}
				sums[k] = s
			}
			s.Connections += d.Connections
			s.Sent += d.Sent
			s.Received += d.Received
			s.Refused += d.Refused
		}
	})
	for api, n := range open {
		to <- prometheus.MustNewConstMetric(egressOpen, gauge, float64(n), api)
	}
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for k, s := range sums {
		counter(egressConnections, s.Connections, k.api, k.to)
		counter(egressBytes, s.Sent, k.api, k.to, "sent")
		counter(egressBytes, s.Received, k.api, k.to, "received")
		counter(egressRefused, s.Refused, k.api, k.to)
	}
}
