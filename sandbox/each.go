package sandbox

import "slices"

// Each calls fn for every sandbox that serves, with the id of its API and the number of requests under way in it.
func (m *Manager) Each(fn func(api string, i *Instance, inflight int64)) {
	type running struct {
		api string
		i   *Instance
	}
	var all []running
	m.mu.Lock()
	for api, s := range m.apis {
		for _, f := range s.fleets {
			for _, i := range slices.Concat(f.instances, f.used) {
				all = append(all, running{api, i})
			}
		}
	}
	m.mu.Unlock()
	for _, r := range all {
		fn(r.api, r.i, r.i.inflight.Load())
	}
}
