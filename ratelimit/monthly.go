package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// loadTimeout bounds how long a quota's first request waits to learn what was used before.
const loadTimeout = 5 * time.Second

// Quota asks whether one more request fits into what a calendar month in UTC allows. Policy and Key together name what is
// counted. Requests of zero or less is no limit.
type Quota struct {
	Policy   string
	Key      string
	Requests int64
}

// OverQuota is the error of Monthly.Take for a quota that is used up.
type OverQuota struct {
	Quota
	// RetryAfter is the time until the next month.
	RetryAfter time.Duration
}

func (e *OverQuota) Error() string {
	return fmt.Sprintf("%s %s has used its %d requests of the month", e.Policy, e.Key, e.Requests)
}

// Monthly counts requests against quotas in this process. What was used before is asked for at the first request of each
// quota; from then on everything is counted here, without a look at anything else. It remembers what had a request in this
// month and the one before, so that memory follows the number of quotas in use. Safe for concurrent use; nothing to close.
type Monthly struct {
	read func(ctx context.Context, q Quota, month time.Time) (int64, error)

	mu     sync.Mutex
	newest time.Time // month
	counts map[counted]*count
}

type counted struct {
	name
	month time.Time
}

type count struct {
	known chan struct{} // closed when used counts, or err says why it does not
	used  int64
	err   error
	gap   bool // there was no quota since used was read, and what was admitted is not in it
	again bool // used is to be read again before it counts
}

// NewMonthly returns counters that ask read how many requests a quota has used since the beginning of a month, before the first
// one that is counted here.
func NewMonthly(read func(ctx context.Context, q Quota, month time.Time) (int64, error)) *Monthly {
	return &Monthly{read: read, counts: map[counted]*count{}}
}

// MonthOf returns the beginning of t's month in UTC.
func MonthOf(t time.Time) time.Time {
	year, month, _ := t.UTC().Date()
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}

// Take charges one request at a time to all quotas, or to none of them. Its error is an *OverQuota when one is used up: the first
// one of the call. It is read's, or the context's, when it is not known what was used.
func (m *Monthly) Take(ctx context.Context, at time.Time, quotas ...Quota) error {
	month := MonthOf(at)
	var inline [4]*count
	counts := inline[:0]
	for _, q := range quotas {
		c, err := m.count(ctx, q, month)
		if err != nil {
			return err
		}
		counts = append(counts, c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, q := range quotas {
		if q.Requests > 0 && counts[i].used >= q.Requests {
			return &OverQuota{q, month.AddDate(0, 1, 0).Sub(at)}
		}
	}
	for _, c := range counts {
		c.used++
	}
	return nil
}

// Return takes back what Take charged at that time.
func (m *Monthly) Return(at time.Time, quotas ...Quota) {
	month := MonthOf(at)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotas {
		if c := m.counts[counted{name{q.Policy, q.Key}, month}]; c != nil {
			c.used--
		}
	}
}

// Found tells what a quota was found to be, zero for none. What was admitted while there was none is asked for when there is one again.
func (m *Monthly) Found(q Quota) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, month := range []time.Time{m.newest, m.newest.AddDate(0, -1, 0)} { // the clock may go back
		c := m.counts[counted{name{q.Policy, q.Key}, month}]
		switch {
		case c == nil:
		case q.Requests <= 0:
			c.gap = true
		case c.gap:
			c.gap, c.again = false, true
		}
	}
}

// Recount has what was used asked for again, of each quota with its next request: somebody else has counted too.
func (m *Monthly) Recount() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counts {
		c.again = true
	}
}

// count returns a counter that knows what was used before.
func (m *Monthly) count(ctx context.Context, q Quota, month time.Time) (*count, error) {
	key := counted{name{q.Policy, q.Key}, month}
	m.mu.Lock()
	c, found := m.counts[key]
	if !found {
		m.forgetLocked(month)
		c = &count{known: make(chan struct{})}
		m.counts[key] = c
	}
	again := found && c.again
	if again {
		select {
		case <-c.known:
			c.again, c.known = false, make(chan struct{})
		default: // it is being read
			again = false
		}
	}
	known := c.known
	m.mu.Unlock()
	switch {
	case !found:
		m.load(ctx, q, key, c)
	case again:
		m.loadAgain(ctx, q, key, c)
	}
	select {
	case <-known:
		return c, c.err
	default:
	}
	select {
	case <-known:
		return c, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask asks what was used, also for those who wait for the same, and so goes on when ctx ends.
func (m *Monthly) ask(ctx context.Context, q Quota, key counted) (int64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	return m.read(ctx, q, key.month)
}

// load asks what was used. When nobody can tell and the month before was counted here, this one began here too: nothing was used before.
func (m *Monthly) load(ctx context.Context, q Quota, key counted, c *count) {
	used, err := m.ask(ctx, q, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.counts[counted{key.name, key.month.AddDate(0, -1, 0)}]
	if err != nil && before != nil && before.err == nil {
		used, err = 0, nil
	}
	if err != nil {
		delete(m.counts, key) // the next request asks again
	}
	c.used, c.err = used, err
	close(c.known)
}

// loadAgain asks what was used where not all of it was counted here. When nobody can tell, what was counted goes on to count until
// the quota is found again.
func (m *Monthly) loadAgain(ctx context.Context, q Quota, key counted, c *count) {
	used, err := m.ask(ctx, q, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		c.used = max(c.used, used)
	} else {
		c.gap = true
	}
	close(c.known)
}

// forgetLocked drops the months before the last one when a new one begins.
func (m *Monthly) forgetLocked(month time.Time) {
	if !month.After(m.newest) {
		return
	}
	m.newest = month
	for key := range m.counts {
		if key.month.Before(month.AddDate(0, -1, 0)) {
			delete(m.counts, key)
		}
	}
}
