package shared

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/ratelimit"
)

// patience is how long a request waits for a bank that does not say that it is away.
const patience = 2 * time.Second

// Config is what a Limiter needs. Bank is required.
type Config struct {
	Bank Bank
	// Now is a clock that only goes on, at the pace of time; it may begin anywhere. Default: the process's monotonic clock.
	Now func() time.Duration
	// Refuse denies what the bank cannot be asked about, as Result.Unavailable. Otherwise each node then enforces limits by
	// itself.
	Refuse bool
	// Log is told when the bank stops and begins to answer. Default: none.
	Log *zap.Logger
}

// Limiter admits requests with permits that it leases. Its methods may be called concurrently. Make one with New; Start and
// Stop it once.
type Limiter struct {
	bank   Bank
	now    func() time.Duration
	refuse bool
	log    *zap.Logger
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{}

	mu      sync.Mutex
	pools   map[name]*pool
	asking  []*pool // in the order in which they are to be asked for
	away    bool    // the bank did not answer
	nextTry time.Duration
	backAt  time.Duration      // when it was away last
	alone   *ratelimit.Limiter // counts meanwhile
	local   *ratelimit.Limiter // counts transient keys, always
}

type name struct{ policy, key string }

// New returns a Limiter. It does no I/O.
func New(c Config) *Limiter {
	if c.Now == nil {
		start := time.Now()
		c.Now = func() time.Duration { return time.Since(start) }
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Limiter{
		bank: c.Bank, now: c.Now, refuse: c.Refuse, log: c.Log, alone: ratelimit.New(nil), local: ratelimit.New(nil), wake: make(chan struct{}, 1),
		pools: map[name]*pool{},
	}
}

// Allow decides all checks as one: either each of them is charged one request, or none is. Transient ones, of which anybody can make
// more, are this node's alone and are charged first, also where another one then holds the request back. Checks without a limit pass and
// leave no trace. It asks nobody while there are permits; else it waits for the bank, two seconds at most. Of a State,
// Remaining is what this node holds and what the bank had left when it was asked last, which others may have used since.
func (l *Limiter) Allow(checks ...ratelimit.Check) ratelimit.Result {
	i := slices.IndexFunc(checks, func(c ratelimit.Check) bool { return c.Transient })
	if i < 0 {
		return l.allow(checks)
	}
	var space [4]ratelimit.Check
	rest := append(append(space[:0], checks[:i]...), checks[i+1:]...)
	r := l.local.Allow(checks[i])
	if !r.Allowed || len(rest) == 0 {
		return r
	}
	all := l.Allow(rest...)
	for _, s := range r.States() {
		all.Append(s)
	}
	return all
}

// allow decides checks that are counted over all nodes.
func (l *Limiter) allow(checks []ratelimit.Check) ratelimit.Result {
	var timer *time.Timer
	for {
		r, wait := l.try(checks)
		if wait == nil {
			return r
		}
		if timer == nil {
			timer = time.NewTimer(patience)
			defer timer.Stop()
		}
		select {
		case <-wait:
		case <-timer.C:
			l.bankIsAway("it did not answer in time")
			return l.without(checks)
		}
	}
}

// try returns a result, or what to wait for before the next try.
func (l *Limiter) try(checks []ratelimit.Check) (r ratelimit.Result, wait chan struct{}) {
	var inline [4]*pool
	l.mu.Lock()
	now := l.now()
	pools := l.poolsLocked(inline[:0], checks, now)
	r.Allowed = true
	var lacking, tight bool
	for i, p := range pools {
		if !lacks(pools, i, now) {
			continue
		}
		lacking, tight = true, tight || p.tight
		if wait := p.deniedUntil - now; wait > 0 {
			r.Deny(checks[i], wait)
		}
	}
	if r.Allowed && lacking {
		wait = l.askForLocked(pools, now, tight)
		away := l.away
		l.mu.Unlock()
		if away {
			return l.without(checks), nil
		}
		return r, wait
	}
	for i, p := range pools {
		if p == nil {
			continue
		}
		if r.Allowed && p.take(now) {
			l.askLocked(p)
		}
		r.Append(p.state(checks[i], now))
	}
	l.mu.Unlock()
	return r, nil
}

// lacks reports whether the pool of the i-th check has no permit left for it. One call may name a pool twice.
func lacks(pools []*pool, i int, now time.Duration) bool {
	if pools[i] == nil {
		return false
	}
	need := int64(1)
	for _, p := range pools[:i] {
		if p == pools[i] {
			need++
		}
	}
	return pools[i].holds(now) < need
}

// askForLocked has permits asked for where a request lacks them, and returns what it waits for. Where the bank had no more of one
// the last time, that one alone is asked for: if it has none, permits of the others would be lost.
func (l *Limiter) askForLocked(pools []*pool, now time.Duration, tight bool) (wait chan struct{}) {
	for i, p := range pools {
		if !lacks(pools, i, now) || tight && !p.tight {
			continue
		}
		if !l.away {
			p.waiting++
		}
		l.askLocked(p)
		wait = p.answered
	}
	return wait
}

// poolsLocked finds the pool of each check, nil where there is no limit.
func (l *Limiter) poolsLocked(pools []*pool, checks []ratelimit.Check, now time.Duration) []*pool {
	for i := range checks {
		c := &checks[i]
		if c.Limit.Unlimited() {
			pools = append(pools, nil)
			continue
		}
		p := l.pools[name{c.Policy, c.Key}]
		if p == nil {
			n := name{strings.Clone(c.Policy), strings.Clone(c.Key)} // they may be slices of something large
			p = newPool(n, c.Limit, now)
			l.pools[n] = p
		}
		if p.limit != c.Limit {
			p.change(c.Limit)
		}
		p.lastUse = now
		pools = append(pools, p)
	}
	return pools
}

// without decides a request that the bank cannot be asked about.
func (l *Limiter) without(checks []ratelimit.Check) (r ratelimit.Result) {
	if !l.refuse {
		l.mu.Lock()
		alone := l.alone
		l.mu.Unlock()
		return alone.Allow(checks...)
	}
	r.Unavailable = true
	r.Deny(checks[0], time.Second)
	return r
}
