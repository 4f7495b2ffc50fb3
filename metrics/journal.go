package metrics

import "apibuilder/store"

// Recorder keeps usage records; usage.Journal is one.
type Recorder interface {
	Record(store.Usage) error
}

// Journal counts every request whose record goes through it.
type Journal struct {
	next    Recorder
	metrics *Metrics
}

// Journal returns a Recorder before next.
func (m *Metrics) Journal(next Recorder) Journal { return Journal{next, m} }

// Record counts u and has it kept. One that cannot be is counted as lost.
func (j Journal) Record(u store.Usage) error {
	j.metrics.Request(u)
	err := j.next.Record(u)
	if err != nil {
		j.metrics.lost.Inc()
	}
	return err
}
