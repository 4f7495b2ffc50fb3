package shared

import (
	"context"
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
	alone  *ratelimit.Limiter // counts while the bank is away
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{}

	mu      sync.Mutex
	pools   map[name]*pool
	asking  []*pool // in the order in which they are to be asked for
	away    bool    // the bank did not answer
	nextTry time.Duration
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
		bank: c.Bank, now: c.Now, refuse: c.Refuse, log: c.Log, alone: ratelimit.New(nil), wake: make(chan struct{}, 1),
		pools: map[name]*pool{},
	}
}

// Allow decides all checks as one: either each of them is charged one request, or none is. Checks without a limit pass and
// leave no trace. It asks nobody while there are permits; else it waits for the bank, two seconds at most. Of a State,
// Remaining is what this node holds and what the bank had left when it was asked last, which others may have used since.
func (l *Limiter) Allow(checks ...ratelimit.Check) ratelimit.Result {
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
	var empty *pool
	for i, p := range pools {
		if p == nil || p.holds(now) >= before(pools, i)+1 {
			continue
		}
		if wait := p.deniedUntil - now; wait > 0 {
			r.Deny(checks[i], wait)
			continue
		}
		if !l.away {
			p.waiting++
		}
		l.askLocked(p)
		empty = p
	}
	switch {
	case r.Allowed && empty != nil && l.away:
		l.mu.Unlock()
		return l.without(checks), nil
	case r.Allowed && empty != nil:
		wait = empty.answered
		l.mu.Unlock()
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

// before counts how often one call named a pool before its i-th check.
func before(pools []*pool, i int) (n int64) {
	for _, p := range pools[:i] {
		if p == pools[i] {
			n++
		}
	}
	return n
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
		return l.alone.Allow(checks...)
	}
	r.Unavailable = true
	r.Deny(checks[0], time.Second)
	return r
}
