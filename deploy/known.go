package deploy

import (
	"sync"

	"apibuilder/sandbox"
)

// known are the newest specs that were run, by API, for the time when the store cannot be read. They hold secrets, as the
// running programs do. The zero value is ready.
type known struct {
	mu    sync.Mutex
	specs map[string]sandbox.Spec
	told  func(apiID string) // of what begins to run; nil: nobody
}

// tell says that an API begins to run.
func (k *known) tell(apiID string) {
	k.mu.Lock()
	told := k.told
	k.mu.Unlock()
	if told != nil {
		told(apiID)
	}
}

func (k *known) onStart(told func(apiID string)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = told
}

func (k *known) keep(s sandbox.Spec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.specs == nil {
		k.specs = map[string]sandbox.Spec{}
	}
	k.specs[s.API] = s
}

// renew replaces what is known of the same version.
func (k *known) renew(s sandbox.Spec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.specs[s.API]; ok && old.Version == s.Version {
		k.specs[s.API] = s
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
