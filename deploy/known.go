package deploy

import (
	"sync"

	"apibuilder/egress"
	"apibuilder/sandbox"
)

// known are the newest specs that were run, by API, for the time when the store cannot be read. They hold secrets, as the
// running programs do. The zero value is ready.
type known struct {
	mu    sync.Mutex
	specs map[string]sandbox.Spec
}

func (k *known) keep(s sandbox.Spec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.specs == nil {
		k.specs = map[string]sandbox.Spec{}
	}
	k.specs[s.API] = s
}

// allow changes what a known API may reach.
func (k *known) allow(apiID string, p egress.Policy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.specs[apiID]; ok {
		s.Egress = p
		k.specs[apiID] = s
	}
}

func (k *known) find(apiID string) (sandbox.Spec, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.specs[apiID]
	return s, ok
}

func (k *known) forget(apiID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.specs, apiID)
}
