// Package ratelimit decides whether a request may pass, by the generic cell rate algorithm (GCRA, ITU-T I.371): for
// each key it keeps one point in time, up to which the key's quota is used up. Quota comes back evenly, a full span's
// worth may be used at once, and in any span w a limit of n requests in p admits at most n + n*w/p. The Limiter here
// works inside one process.
package ratelimit

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MostTransient is how many keys of transient checks a Limiter remembers, about 25 MiB.
	MostTransient = 1 << 17
	evictAmong    = 8 // of so many the one that is soonest forgotten makes room

	sweepFactor = 2    // entries looked at for every check; more than one, so that sweeping outruns growing
	shrinkFrom  = 4096 // tables smaller than this are never reallocated
)

// Check asks whether one more request fits into a limit. Policy and Key together name what is counted; Policy also names
// the limit in the response's header fields.
type Check struct {
	Key    string
	Policy string
	Limit  Limit
	// Transient says that anybody can make new keys, as with addresses: beyond MostTransient of them each new one makes an older
	// one be forgotten, whose quota is full again. Nobody is refused for it, and other checks' keys are never forgotten early.
	Transient bool
	// Place is for a check that is asked for again and again; nil: none.
	Place *Place
}

// Place is where a Limiter has found a check's key, and looks first the next time. It is of no use where checks of other keys, or other
// Limiters, have the same, and does no harm. The zero value is ready; safe for concurrent use.
type Place struct{ at atomic.Int64 }

// Limiter counts requests by policy and key. It forgets a key once its quota has come back in full: each call looks at
// a few entries and drops those, so that memory follows the number of keys in use. Safe for concurrent use; nothing to
// close.
type Limiter struct {
	age func() time.Duration

	mu      sync.Mutex
	index   map[name]int // into entries
	entries []entry
	sweep   int // next entry to look at
	peak    int // most entries since the table was allocated

	transients int // entries of transient checks
	most       int // MostTransient, less in tests
}

type name struct{ policy, key string }

type entry struct {
	name name
	tat  int64 // GCRA's theoretical arrival time, nanoseconds of the Limiter's age: the quota is full from then on

	transient bool
}

// New returns a limiter that reads the time from now; nil means time.Now.
func New(now func() time.Time) *Limiter {
	start := time.Now()
	age := func() time.Duration { return time.Since(start) } // which costs half of time.Now
	if now != nil {
		start = now()
		age = func() time.Duration { return now().Sub(start) }
	}
	return &Limiter{age: age, index: make(map[name]int), most: MostTransient}
}

// Allow decides all checks as one: either each of them is charged one request, or none is. Checks without a limit pass
// and leave no trace. A limit that changed applies at once to what was charged before; a clock that goes backwards
// makes nobody wait longer than for one full window.
func (l *Limiter) Allow(checks ...Check) Result {
	var r Result
	r.Allowed = true
	l.mu.Lock()
	defer l.mu.Unlock()
	now := int64(l.age())
	for i := range checks {
		if !checks[i].Limit.Unlimited() {
			l.decideLocked(&r, &checks[i], now)
		}
	}
	if r.Allowed {
		l.chargeLocked(&r, now)
	} else {
		r.withdraw()
	}
	l.sweepLocked(now, sweepFactor*len(checks))
	return r
}

// Len returns the number of keys that the limiter remembers.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// decideLocked adds the state of one check to r, as if the request were admitted, and records a denial.
func (l *Limiter) decideLocked(r *Result, c *Check, now int64) {
	interval, window := c.Limit.spans()
	used, at := l.usedLocked(r, c, now, window)
	s := State{Policy: c.Policy, Limit: c.Limit, key: c.Key, used: used, charged: used + interval, transient: c.Transient, at: at}
	if wait := time.Duration(s.charged - window); wait > 0 {
		if r.Allowed || wait > r.RetryAfter {
			r.RetryAfter, r.Denied = wait, *c
		}
		r.Allowed = false
	}
	r.add(s)
}

// usedLocked returns how far ahead of now the quota of a check's key is used up, at most window, seen after the checks that r
// already holds: one call may name a key twice. More than window can only be there after the limit was changed or the
// clock went back; it is written off for good, else the key would stay denied until the clock is there again.
// at is the key's entry, -1 where it has none or the call names it twice.
func (l *Limiter) usedLocked(r *Result, c *Check, now, window int64) (used int64, at int) {
	states := r.States()
	for i := len(states) - 1; i >= 0; i-- {
		if states[i].key == c.Key && states[i].Policy == c.Policy {
			return min(states[i].charged, window), -1
		}
	}
	i, ok := l.findLocked(name{c.Policy, c.Key}, c.Place)
	if !ok {
		return 0, -1
	}
	l.entries[i].tat = min(l.entries[i].tat, now+window)
	return max(l.entries[i].tat-now, 0), i
}

// findLocked returns the entry of a key.
func (l *Limiter) findLocked(key name, place *Place) (at int, ok bool) {
	if place != nil {
		if at = int(place.at.Load()); at < len(l.entries) && l.entries[at].name == key {
			return at, true
		}
	}
	if at, ok = l.index[key]; ok && place != nil {
		place.at.Store(int64(at))
	}
	return at, ok
}

func (l *Limiter) chargeLocked(r *Result, now int64) {
	states, moved := r.States(), false // entries, since they were found
	for i := range states {
		s := &states[i]
		s.settle(s.charged)
		if s.at >= 0 && !moved {
			l.entries[s.at].tat = now + s.charged
			continue
		}
		key := name{s.Policy, s.key}
		if at, ok := l.index[key]; ok {
			l.entries[at].tat = now + s.charged
			continue
		}
		// The caller's strings may be slices of something large.
		key = name{strings.Clone(key.policy), strings.Clone(key.key)}
		if s.transient {
			moved = true
			l.makeRoomLocked()
			l.transients++
		}
		l.index[key] = len(l.entries)
		l.entries = append(l.entries, entry{key, now + s.charged, s.transient})
	}
	l.peak = max(l.peak, len(l.entries))
}

func (l *Limiter) sweepLocked(now int64, count int) {
	for ; count > 0 && len(l.entries) > 0; count-- {
		if l.sweep >= len(l.entries) {
			l.sweep = 0
		}
		if l.entries[l.sweep].tat > now {
			l.sweep++
			continue
		}
		l.dropLocked(l.sweep)
	}
	if l.peak > shrinkFrom && len(l.entries) < l.peak/8 {
		l.shrinkLocked()
	}
}

// makeRoomLocked forgets one of a few transient entries when there are too many.
func (l *Limiter) makeRoomLocked() {
	if l.transients < l.most {
		return
	}
	oldest, seen := -1, 0
	for range l.entries {
		if l.sweep >= len(l.entries) {
			l.sweep = 0
		}
		if e := &l.entries[l.sweep]; e.transient {
			if oldest < 0 || e.tat < l.entries[oldest].tat {
				oldest = l.sweep
			}
			seen++
		}
		l.sweep++
		if seen == evictAmong {
			break
		}
	}
	l.dropLocked(oldest)
}

func (l *Limiter) dropLocked(i int) {
	last := len(l.entries) - 1
	if l.entries[i].transient {
		l.transients--
	}
	delete(l.index, l.entries[i].name)
	if i != last {
		l.entries[i] = l.entries[last]
		l.index[l.entries[i].name] = i
	}
	l.entries[last] = entry{}
	l.entries = l.entries[:last]
}

// shrinkLocked moves what is left into smaller memory, because neither a map nor a slice gives any back.
func (l *Limiter) shrinkLocked() {
	l.entries = append(make([]entry, 0, 2*len(l.entries)), l.entries...)
	l.index = make(map[name]int, 2*len(l.entries))
	for i := range l.entries {
		l.index[l.entries[i].name] = i
	}
	l.peak = len(l.entries)
}
