package deploy

import (
	"slices"
	"sync"

	"apibuilder/egress"
	"apibuilder/sandbox"
)

// known is what was run last, by API, for the time when the store cannot be read. It holds secrets, as the running programs do.
// The zero value is ready.
type known struct {
	mu   sync.Mutex
	apis map[string]*lastKnown
}

type lastKnown struct {
	plan    sandbox.Plan
	changes uint64      // that were told of
	specs   []knownSpec // of the versions that get requests, and the newest that was run last
}

type knownSpec struct {
	sandbox.Spec
	changes uint64 // that had been told of when its reading began
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

// keep remembers a spec whose reading began after so many changes.
func (k *known) keep(s sandbox.Spec, changes uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apiLocked(s.API)
	last.specs = append(slices.DeleteFunc(last.specs, func(other knownSpec) bool {
		return other.Version == s.Version || !last.plan.Has(other.Version)
	}), knownSpec{s, changes})
}

// changed says that what is known of an API may be old; an empty name says so of every API.
func (k *known) changed(apiID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, last := range k.apis {
		if apiID == "" || apiID == id {
			last.changes++
		}
	}
}

// changes is how many were told of an API that is known.
func (k *known) changes(apiID string) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if last := k.apis[apiID]; last != nil {
		return last.changes
	}
	return 0
}

// isNew reports whether a version is known as it was after the last change that was told of; 0 is the one that was run last.
func (k *known) isNew(apiID string, version int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.findLocked(apiID, version)
	return ok && s.changes == k.apis[apiID].changes
}

// allow changes what a known API may reach, as it was read after a turn of the sandboxes.
func (k *known) allow(apiID string, p egress.Policy, turn uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if last := k.apis[apiID]; last != nil {
		for i := range last.specs {
			last.specs[i].Egress, last.specs[i].EgressTurn = p, turn
		}
	}
}

// keepPlan remembers where requests go.
func (k *known) keepPlan(apiID string, p sandbox.Plan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.apiLocked(apiID)
	last.plan = p
	last.specs = slices.DeleteFunc(last.specs, func(s knownSpec) bool { return !p.Has(s.Version) })
}

// find returns the spec of a version; 0 is the one that was run last.
func (k *known) find(apiID string, version int) (sandbox.Spec, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.findLocked(apiID, version)
	return s.Spec, ok
}

func (k *known) findLocked(apiID string, version int) (knownSpec, bool) {
	last := k.apis[apiID]
	if last == nil {
		return knownSpec{}, false
	}
	for _, s := range slices.Backward(last.specs) {
		if version == 0 || s.Version == version {
			return s, true
		}
	}
	return knownSpec{}, false
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
