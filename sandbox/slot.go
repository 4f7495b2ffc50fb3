package sandbox

import (
	"context"
	"slices"
	"sync"
	"time"
)

// slot is what the manager knows of one API. The manager's mutex guards all of it but change.
type slot struct {
	api     string
	change  chan struct{} // holds one while traffic moves to other versions: one move at a time
	scale   Scale
	fleets  []*fleet  // one for each version that gets requests
	planned time.Time // when scale and fleets were read or set
	reading *outcome  // a reading of them that requests wait for
	stale   bool      // they may have changed since
	follows bool      // a goroutine looks at what changed
	gone    bool      // there is no such API any more
	asleep  bool      // by hand: nothing is kept running until somebody asks
	leaving map[*Instance]*leave
	making  int        // starts under way, of fleets that were retired too
	made    *sync.Cond // of the manager's mutex: making has become 0
}

// fleet is the instances of one version of an API.
type fleet struct {
	slot    *slot
	version int
	weight  int
	life    context.Context // ends when the fleet is retired
	end     context.CancelFunc
	retired bool

	instances []*Instance // that serve; of an isolated API those that nobody has used yet
	used      []*Instance // of an isolated API: each has its one request
	leaving   int         // are ending
	starts    int         // are under way
	optional  int         // of them, those that nobody asked for
	waiting   *outcome    // of the next start; nil: nobody waits
	waiters   int         // requests that wait for it, or have not been back since
	line      []*ticket   // requests for a sandbox of their own, in their order
	backoff   backoff
	demand    demand
}

// outcome is something that is waited for.
type outcome struct {
	done chan struct{}
	err  error // valid once done is closed
}

func newOutcome() *outcome { return &outcome{done: make(chan struct{})} }

func (o *outcome) settle(err error) {
	o.err = err
	close(o.done)
}

// leave is an instance that gets no more requests and will end.
type leave struct {
	fleet *fleet
	given bool // to make room for another
}

func (m *Manager) slotLocked(api string) *slot {
	s := m.apis[api]
	if s == nil {
		s = &slot{api: api, change: make(chan struct{}, 1), leaving: map[*Instance]*leave{}, made: sync.NewCond(&m.mu)}
		m.apis[api] = s
	}
	return s
}

// planKept is for how long a plan is taken as it was read while nothing of the API runs. While something runs, the manager is
// told of changes.
const planKept = time.Second

// beginMakingLocked notes that a start is under way, until endMakingLocked.
func (s *slot) beginMakingLocked() { s.making++ }

func (m *Manager) endMakingLocked(s *slot) {
	if s.making--; s.making == 0 {
		s.made.Broadcast()
	}
	m.dropGoneLocked(s)
}

// knownLocked reports whether the slot's plan can be relied on.
func (s *slot) knownLocked(now time.Time) bool {
	return s.livesLocked() || len(s.fleets) > 0 && now.Sub(s.planned) < planKept
}

// livesLocked reports whether something of the API runs or starts.
func (s *slot) livesLocked() bool {
	return slices.ContainsFunc(s.fleets, func(f *fleet) bool { return len(f.instances)+len(f.used)+f.starts > 0 })
}

// fleetLocked finds the fleet of a version.
func (s *slot) fleetLocked(version int) *fleet {
	at := slices.IndexFunc(s.fleets, func(f *fleet) bool { return f.version == version })
	if at < 0 {
		return nil
	}
	return s.fleets[at]
}

// sharesLocked is the traffic as it is.
func (s *slot) sharesLocked() []Share {
	var out []Share
	for _, f := range s.fleets {
		out = append(out, Share{f.version, f.weight})
	}
	return out
}

// applyLocked makes a plan the slot's and puts fresh instances of its versions into service. Versions that are not in it get no
// new requests and drain.
func (m *Manager) applyLocked(s *slot, p Plan, fresh ...*Instance) {
	before, isolated := s.fleets, s.scale.Isolated
	s.fleets, s.scale, s.planned, s.gone = nil, p.Scale, time.Now(), false
	for _, share := range p.Shares {
		at := slices.IndexFunc(before, func(f *fleet) bool { return f.version == share.Version })
		var f *fleet
		if at >= 0 {
			f = before[at]
		} else {
			f = &fleet{slot: s, version: share.Version}
			f.life, f.end = context.WithCancel(m.life)
		}
		f.weight = max(share.Weight, 1)
		s.fleets = append(s.fleets, f)
	}
	for _, f := range before {
		if !slices.Contains(s.fleets, f) {
			m.retireLocked(f)
		} else if isolated != p.Scale.Isolated {
			m.isolateLocked(f, p.Scale.Isolated)
		}
	}
	for _, i := range fresh {
		f := s.fleetLocked(i.Version())
		f.backoff = backoff{}
		m.serveLocked(f, i)
		f.settleLocked(nil) // whoever waits for another start need not
	}
	for _, f := range s.fleets {
		m.keepLocked(f)
		m.serveLineLocked(f) // there may be more of them now
	}
}

// retireLocked ends a fleet: what is under way is finished, and whoever waits looks for another.
func (m *Manager) retireLocked(f *fleet) {
	f.retired = true
	f.end()
	m.clearLocked(f)
	for _, i := range slices.Clone(f.used) {
		m.drainLocked(f, i)
	}
	f.settleLocked(nil)
	f.dismissLocked(nil)
}

// clearLocked takes every instance that could get another request out of service, and reports whether there was one.
func (m *Manager) clearLocked(f *fleet) bool {
	cleared := len(f.instances) > 0
	for _, i := range slices.Clone(f.instances) {
		m.drainLocked(f, i)
	}
	return cleared
}

// boundsLocked are how many instances the fleet has at least and at most.
func (f *fleet) boundsLocked() (least, most int) {
	all := 0
	for _, other := range f.slot.fleets {
		all += other.weight
	}
	return f.slot.scale.bounds(f.weight, all)
}

// leastLoadedLocked returns the instance with the fewest requests in flight, nil when none lives.
func (f *fleet) leastLoadedLocked() (least *Instance) {
	for _, i := range f.instances {
		if i.ended() {
			continue
		}
		if least == nil || i.inflight.Load() < least.inflight.Load() {
			least = i
		}
	}
	return least
}

func (f *fleet) inflightLocked() (n int) {
	for _, i := range f.instances {
		n += int(i.inflight.Load())
	}
	return n
}

// waitLocked returns what the next start will settle.
func (f *fleet) waitLocked() *outcome {
	if f.waiting == nil {
		f.waiting = newOutcome()
	}
	return f.waiting
}

// settleLocked tells those who wait for a start. An error is theirs only when no other start is under way.
func (f *fleet) settleLocked(err error) {
	if err != nil && (f.starts > f.optional || len(f.instances) > 0) || f.waiting == nil {
		return
	}
	f.waiting.settle(err)
	f.waiting = nil
}

// dropLocked takes an instance out of service and reports whether it was in.
func (f *fleet) dropLocked(i *Instance) bool {
	before := len(f.instances)
	f.instances = slices.DeleteFunc(f.instances, func(other *Instance) bool { return other == i })
	return len(f.instances) < before
}

// dropUsedLocked is dropLocked for an instance that has its one request.
func (f *fleet) dropUsedLocked(i *Instance) bool {
	before := len(f.used)
	f.used = slices.DeleteFunc(f.used, func(other *Instance) bool { return other == i })
	return len(f.used) < before
}
