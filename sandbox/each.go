package sandbox

// Each calls fn for every sandbox that serves, with the id of its API and the number of requests under way in it.
func (m *Manager) Each(fn func(api string, i *Instance, inflight int64)) {
	type running struct {
		api string
		i   *Instance
	}
	var all []running
	m.mu.Lock()
	for api, s := range m.apis {
		if s.current != nil {
			all = append(all, running{api, s.current})
		}
	}
	m.mu.Unlock()
	for _, r := range all {
		fn(r.api, r.i, r.i.inflight.Load())
	}
}
