package sandbox

import (
	"cmp"
	"slices"
	"time"
)

// InstanceState says where an instance is in its life.
type InstanceState string

// The states that are told of.
const (
	Serving  InstanceState = "serving"  // gets requests
	Alone    InstanceState = "alone"    // has one request, and ends after it
	Leaving  InstanceState = "draining" // gets no more requests
	Starting InstanceState = "starting"
)

// InstanceInfo describes one instance of an API.
type InstanceInfo struct {
	ID          string // no two instances have had the same; empty while it starts
	Version     int
	State       InstanceState
	InFlight    int           // requests
	MemoryBytes int64         // 0 when it is not known
	CPUTime     time.Duration // since its start; 0 when it is not known
	Started     time.Time     // zero while it starts
}

// Instances describes what exists of an API, by version and age, those that start last.
func (m *Manager) Instances(api string) []InstanceInfo {
	infos, instances := m.listInstances(api)
	for at, i := range instances {
		if i == nil {
			continue
		}
		if stats, err := i.Stats(); err == nil { // else it has just ended
			infos[at].MemoryBytes, infos[at].CPUTime = stats.MemoryBytes, stats.CPUTime
		}
	}
	slices.SortStableFunc(infos, func(a, b InstanceInfo) int {
		if a.Started.IsZero() != b.Started.IsZero() {
			return cmp.Compare(b.Started.Unix(), a.Started.Unix())
		}
		return cmp.Or(cmp.Compare(a.Version, b.Version), a.Started.Compare(b.Started))
	})
	return infos
}

// listInstances returns what is known under the lock, and beside each the instance that can be asked for more.
func (m *Manager) listInstances(api string) (infos []InstanceInfo, instances []*Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	if s == nil {
		return nil, nil
	}
	add := func(state InstanceState, list ...*Instance) {
		for _, i := range list {
			infos = append(infos, InstanceInfo{
				ID: i.id, Version: i.Version(), State: state, InFlight: int(i.inflight.Load()), Started: i.started,
			})
			instances = append(instances, i)
		}
	}
	for _, f := range s.fleets {
		add(Serving, f.instances...)
		add(Alone, f.used...)
		for range f.starts {
			infos, instances = append(infos, InstanceInfo{Version: f.version, State: Starting}), append(instances, nil)
		}
	}
	for i := range s.leaving {
		add(Leaving, i)
	}
	return infos, instances
}
