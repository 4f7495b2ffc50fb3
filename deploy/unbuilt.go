package deploy

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

const (
	// An environment that cannot be built again is tried again after as many times as long as that took: whoever calls the API does not have the
	// builds' workers busy with it.
	unbuiltTimes     = 3
	unbuiltPause     = 10 * time.Second // at least: what lacked may be there soon
	unbuiltPauseMost = 10 * time.Minute
)

// unbuilt are versions whose environments could not be built again. The zero value is ready; it is safe for concurrent use.
type unbuilt struct {
	mu   sync.Mutex
	held map[string]sandbox.Exit // until RetryAt
}

// TryAgain has the environments of an API be built again when they are next asked for.
func (d *Deployer) TryAgain(apiID string) {
	d.unbuilt.mu.Lock()
	defer d.unbuilt.mu.Unlock()
	for name, exit := range d.unbuilt.held {
		if exit.API == apiID {
			delete(d.unbuilt.held, name)
		}
	}
}

func nameOf(v store.Version) string { return fmt.Sprintf("%s %d", v.APIID, v.Number) }

// check returns why a version's environment is not to be built now; nil: it is.
func (u *unbuilt) check(v store.Version, now time.Time) *sandbox.Exit {
	u.mu.Lock()
	defer u.mu.Unlock()
	exit, held := u.held[nameOf(v)]
	if !held || !now.Before(exit.RetryAt) {
		delete(u.held, nameOf(v))
		return nil
	}
	return &exit
}

// failed notes why a build failed that took so long, until now, and returns that with when it is tried again.
func (u *unbuilt) failed(v store.Version, now time.Time, took time.Duration, exit sandbox.Exit) *sandbox.Exit {
	exit.RetryAt = now.Add(min(max(unbuiltTimes*took, unbuiltPause), unbuiltPauseMost))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held == nil {
		u.held = map[string]sandbox.Exit{}
	}
	maps.DeleteFunc(u.held, func(_ string, other sandbox.Exit) bool { return !now.Before(other.RetryAt) }) // nobody may ask for it again
	u.held[nameOf(v)] = exit
	return &exit
}
