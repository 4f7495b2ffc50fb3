package shared

import (
	"slices"
	"time"

	"apibuilder/ratelimit"
)

const (
	shortestValid = 50 * time.Millisecond  // less is not enough for an answer
	quickValid    = 200 * time.Millisecond // of permits that requests wait for already
	usualValid    = time.Second            // of permits in advance
	// margin is what a node's clock may go slower than the bank's: a lease ends so much of its time earlier.
	margin = 64
	// pause is the least time between two questions when the bank had less than was wanted.
	pause = 20 * time.Millisecond
)

// pool holds the permits of one limit at this node. The Limiter's mutex guards it.
type pool struct {
	name        name
	limit       ratelimit.Limit
	leases      []lease       // by their ends: the one that ends first is used first
	slow        int           // how often leases are to last twice as long, because answers come late
	deniedUntil time.Duration // where nothing is held
	left        int64         // at the bank, when it was asked last
	full        time.Duration // when the bank's quota is full

	queued   bool
	answered chan struct{} // closed when the bank answered or failed
	waiting  int64         // permits that requests wait for
	used     int64         // since usedFrom
	usedOf   int64         // in as much time before that
	usedFrom time.Duration
	size     int64 // of the last grant
	tight    bool  // the bank had no more
	lastUse  time.Duration
}

type lease struct {
	permits int64
	until   time.Duration
}

func newPool(n name, limit ratelimit.Limit, now time.Duration) *pool {
	p := &pool{name: n, usedFrom: now, answered: make(chan struct{})}
	p.change(limit)
	return p
}

func (p *pool) change(limit ratelimit.Limit) {
	p.limit, p.slow, p.left, p.deniedUntil = limit, 0, 0, 0
}

// base is a second, or a tenth of the limit's span: how long permits in advance are valid. While a quota is full or nearly so,
// what is used comes back later by this; the shorter it is the more often the bank is asked.
func (p *pool) base() time.Duration {
	return max(min(usualValid, p.limit.Per/10), shortestValid)
}

// holds drops what has ended and returns how many permits there are.
func (p *pool) holds(now time.Duration) (n int64) {
	for len(p.leases) > 0 && (p.leases[0].until <= now || p.leases[0].permits == 0) {
		p.leases = p.leases[1:]
	}
	for i := range p.leases {
		n += p.leases[i].permits
	}
	return n
}

// take uses one permit, which must be there, and reports whether to ask for more before the last one is used.
func (p *pool) take(now time.Duration) (ask bool) {
	for i := range p.leases {
		if p.leases[i].permits > 0 {
			p.leases[i].permits--
			break
		}
	}
	p.roll(now)
	p.used++
	if p.queued || p.deniedUntil > now || p.expected(now) < 2 {
		return false
	}
	last := p.leases[len(p.leases)-1]
	return 2*p.holds(now) <= p.size || last.until-now < p.base()/3
}

// roll begins a new span of counting when the last one is over.
func (p *pool) roll(now time.Duration) {
	span := p.base()
	switch passed := now - p.usedFrom; {
	case passed >= 2*span:
		p.usedOf, p.used, p.usedFrom = 0, 0, now
	case passed >= span:
		p.usedOf, p.used, p.usedFrom = p.used, 0, p.usedFrom+span
	}
}

// expected is how many permits will be used in the time that a lease is valid: as many as were in as much time before.
func (p *pool) expected(now time.Duration) int64 {
	p.roll(now)
	left := p.base() - (now - p.usedFrom)
	return p.used + int64(float64(p.usedOf)*float64(left)/float64(p.base()))
}

// ask is the question for more. No node takes more than a quarter of a burst in advance.
func (p *pool) ask(now time.Duration) Ask {
	burst, valid, expected := p.limit.Burst(), p.base(), p.expected(now)
	if expected < 2 {
		valid = min(valid, quickValid)
	}
	return Ask{
		Name: p.name.policy + " " + p.name.key, Step: p.limit.Interval(), Burst: burst, Valid: min(valid<<p.slow, LongestValid),
		Want: min(max(min(expected-p.holds(now), burst/4), p.waiting, 1), burst),
	}
}

// grant takes an answer in.
func (p *pool) grant(a Ask, g Grant, sent, now time.Duration) {
	p.left, p.full, p.size, p.tight = g.Left, now+g.Full, g.Granted, g.Left == 0
	until := sent + a.Valid - a.Valid/margin
	switch {
	case g.Granted > 0 && until > now:
		at := len(p.leases)
		for at > 0 && p.leases[at-1].until > until { // one that was to last longer, because answers came late
			at--
		}
		p.leases = slices.Insert(p.leases, at, lease{g.Granted, until})
		if now-sent < a.Valid/8 {
			p.slow = max(p.slow-1, 0)
		}
	case g.Granted > 0: // too late to use any of them
		p.slow = min(p.slow+1, 6)
	}
	p.deniedUntil = 0
	if g.Left == 0 && g.Granted < a.Want {
		p.deniedUntil = now + max(g.Retry, pause)
	}
}

// answer wakes those who wait.
func (p *pool) answer() {
	close(p.answered)
	p.answered, p.queued, p.waiting = make(chan struct{}), false, 0 // who waited asks again
}

// state is what the consumer is told.
func (p *pool) state(c ratelimit.Check, now time.Duration) ratelimit.State {
	remaining := min(p.holds(now)+p.left, p.limit.Burst())
	return ratelimit.State{Policy: c.Policy, Limit: c.Limit, Remaining: int(remaining), Reset: max(p.full-now, 0)}
}

// idle reports whether nothing is lost by forgetting the pool.
func (p *pool) idle(now time.Duration) bool {
	return !p.queued && now-p.lastUse > 2*LongestValid && p.deniedUntil <= now && p.holds(now) == 0
}
