package deploy

import (
	"slices"
	"sync"

	"apibuilder/sandbox"
)

// known is what was run last, by API, for the time when the store cannot be read. It holds secrets, as the running programs do.
// The zero value is ready.
type known struct {
	mu   sync.Mutex
	apis map[string]*lastKnown
}

type lastKnown struct {
	plan  sandbox.Plan
	specs []sandbox.Spec // of the versions that get requests, and the newest that was run last
}

func (k *known) apiLocked(apiID string) *lastKnown {
	if k.apis == nil {
		k.apis = map[string]*lastKnown{}
	}
	last := k.apis[apiID]
	if last == nil {
		last = &lastKnown{}
		k.apis[apiID] = last
	}
	return last
}

func (k *known) keep(s sandbox.Spec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apiLocked(s.API)
	last.specs = append(slices.DeleteFunc(last.specs, func(other sandbox.Spec) bool {
		return other.Version == s.Version || !last.plan.Has(other.Version)
	}), s)
}

// keepPlan remembers where requests go.
func (k *known) keepPlan(apiID string, p sandbox.Plan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apiLocked(apiID)
	last.plan = p
	last.specs = slices.DeleteFunc(last.specs, func(s sandbox.Spec) bool { return !p.Has(s.Version) })
}

// find returns the spec of a version; 0 is the one that was run last.
func (k *known) find(apiID string, version int) (sandbox.Spec, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apis[apiID]
	if last == nil {
		return sandbox.Spec{}, false
	}
	for _, s := range slices.Backward(last.specs) {
		if version == 0 || s.Version == version {
			return s, true
		}
	}
	return sandbox.Spec{}, false
}

func (k *known) findPlan(apiID string) (sandbox.Plan, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apis[apiID]
	if last == nil || len(last.plan.Shares) == 0 {
		return sandbox.Plan{}, false
	}
	return last.plan, true
}

func (k *known) forget(apiID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.apis, apiID)
}
