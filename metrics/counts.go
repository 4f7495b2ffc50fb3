package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Counts are the finished requests of one API.
type Counts struct {
	Requests, ClientErrors, ServerErrors int64
}

// Counts tells what was counted of an API since the start; nothing of one that has no series of its own.
func (m *Metrics) Counts(api string) Counts {
	m.mu.RLock()
	s := m.apis[api]
	m.mu.RUnlock()
	var c Counts
	if s == nil {
		return c
	}
	for hundreds, counter := range s.byStatus {
		n := valueOf(counter)
		c.Requests += n
		switch hundreds {
		case 4:
			c.ClientErrors = n
		case 5:
			c.ServerErrors = n
		}
	}
	return c
}

func valueOf(c prometheus.Counter) int64 {
	var out dto.Metric
	if c.Write(&out) != nil { // a counter can always be read
		return 0
	}
	return int64(out.GetCounter().GetValue())
}
