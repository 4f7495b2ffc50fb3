package shared

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/ratelimit"
)

const (
	readTimeout     = 5 * time.Second // for what was used before and the first permits: the first request of a month waits for it
	giveBackEvery   = 5 * time.Second
	giveBackTimeout = 5 * time.Second // when the node stops
)

// errStopped says that nobody asks the ledger any more.
var errStopped = errors.New("quotas are not counted any more: the server stops")

// MonthlyConfig is what a Monthly needs. Ledger is required.
type MonthlyConfig struct {
	Ledger Ledger
	// Refuse denies what the ledger cannot be asked about. Otherwise each node goes on by itself with what it knew to be left.
	Refuse bool
	// Now is a clock that only goes on. Default: the process's monotonic clock.
	Now func() time.Duration
	// Log is told when the ledger stops to answer. Default: none.
	Log *zap.Logger
}

// Monthly counts requests against monthly quotas over several nodes, exactly: together they never admit more of a month than the quota,
// whichever nodes die and whatever their clocks say, because every request has a permit that the ledger has given before. Permits are
// taken in advance, as many as are used in two seconds and a sixteenth of the rest at most. Those that are not used are given back after
// ten seconds and at Stop; a node that dies loses them. Make one with NewMonthly; Start and Stop it once. Its methods may be
// called concurrently.
type Monthly struct {
	ledger Ledger
	refuse bool
	now    func() time.Duration
	log    *zap.Logger
	life   context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	newest   time.Time // month
	accounts map[accountOf]*account
}

type accountOf struct {
	name
	month int64
}

// NewMonthly returns a Monthly. It does no I/O.
func NewMonthly(c MonthlyConfig) *Monthly {
	if c.Now == nil {
		start := time.Now()
		c.Now = func() time.Duration { return time.Since(start) }
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	m := &Monthly{ledger: c.Ledger, refuse: c.Refuse, now: c.Now, log: c.Log, accounts: map[accountOf]*account{}}
	m.life, m.cancel = context.WithCancel(context.Background())
	return m
}

// Start begins to give back what is not used. It does no I/O itself.
func (m *Monthly) Start(context.Context) error {
	m.work.Go(func() {
		ticker := time.NewTicker(giveBackEvery)
		defer ticker.Stop()
		for {
			select {
			case <-m.life.Done():
				return
			case <-ticker.C:
				m.sweep()
			}
		}
	})
	return nil
}

// Stop waits for questions under way, and gives back what is held. It may be called twice and without a Start.
func (m *Monthly) Stop(ctx context.Context) error {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.cancel()
	m.work.Wait()
	ctx, cancel := context.WithTimeout(ctx, giveBackTimeout)
	defer cancel()
	var errs []error
	for _, q := range m.allBack() {
		if _, err := m.ledger.LeaseQuota(ctx, q); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// allBack are the questions with which everything is given back.
func (m *Monthly) allBack() (all []QuotaAsk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.accounts {
		if a.giveBack(); a.extra != 0 {
			all = append(all, a.settle())
		}
	}
	return all
}

// Take charges one request at a time to all quotas, or to none of them. Its error is an *ratelimit.OverQuota when one is used up: the first
// one of the call. It is the ledger's, or the context's, when it is not known what is left. Quotas of zero or less count nothing.
func (m *Monthly) Take(ctx context.Context, at time.Time, quotas ...ratelimit.Quota) error {
	month := ratelimit.MonthOf(at)
	var timer *time.Timer
	for patient := true; ; {
		wait, err := m.try(at, month, quotas, patient)
		if wait == nil {
			return err
		}
		if timer == nil {
			timer = time.NewTimer(readTimeout)
			defer timer.Stop()
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			patient = false // decided as if the ledger had failed
		}
	}
}

// try decides, or returns what a patient request waits for before the next try.
func (m *Monthly) try(at, month time.Time, quotas []ratelimit.Quota, patient bool) (wait chan struct{}, err error) {
	var inline [4]*account
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	accounts := m.accountsLocked(inline[:0], quotas, month, now)
	for i, a := range accounts {
		switch {
		case a == nil || a.held > 0:
		case a.deniedUntil > now:
			return nil, &ratelimit.OverQuota{Quota: quotas[i], RetryAfter: month.AddDate(0, 1, 0).Sub(at)}
		case patient && m.waitsLocked(a, now):
			a.waiting++
			m.askLocked(a)
			wait = a.answered
		default:
			if !m.stopped && now >= a.nextTry {
				m.askLocked(a) // nobody waits for it
			}
			if err := m.without(a, at); err != nil {
				return nil, err
			}
		}
	}
	if wait != nil {
		return wait, nil
	}
	for _, a := range accounts {
		switch {
		case a == nil:
		case a.held == 0: // decided by what was left
			a.extra++
			a.count(now)
		case a.take(now):
			m.askLocked(a)
		}
	}
	return nil, nil
}

// waitsLocked reports whether a request waits for the ledger: not where it failed lately, and only where the request cannot be decided
// otherwise.
func (m *Monthly) waitsLocked(a *account, now time.Duration) bool {
	return !m.stopped && (a.err == nil || now >= a.nextTry && (m.refuse || !a.known))
}

// without decides what the ledger cannot be asked about now: nil admits it.
func (m *Monthly) without(a *account, at time.Time) error {
	if m.refuse || !a.known {
		switch {
		case a.err != nil:
			return a.err
		case m.stopped:
			return errStopped
		}
		return context.DeadlineExceeded
	}
	if a.given+a.extra >= a.of.Requests {
		return &ratelimit.OverQuota{Quota: a.of, RetryAfter: a.month.AddDate(0, 1, 0).Sub(at)}
	}
	return nil
}

// Return takes back what Take charged at that time.
func (m *Monthly) Return(at time.Time, quotas ...ratelimit.Quota) {
	month := ratelimit.MonthOf(at).Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotas {
		a := m.accounts[accountOf{name{q.Policy, q.Key}, month}]
		switch {
		case a == nil || q.Requests <= 0:
		case a.extra > 0: // it was charged without the ledger, or is as good
			a.extra--
		default:
			a.held++
		}
	}
}

// Found tells what a quota was found to be, zero for none. What was admitted while there was none is asked for when there is one again.
func (m *Monthly) Found(q ratelimit.Quota) {
	if q.Requests > 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, month := range []time.Time{m.newest, m.newest.AddDate(0, -1, 0)} { // the clock may go back
		if a := m.accounts[accountOf{name{q.Policy, q.Key}, month.Unix()}]; a != nil {
			a.giveBack()
		}
	}
}

// accountsLocked finds the account of each quota, nil where there is no limit.
func (m *Monthly) accountsLocked(accounts []*account, quotas []ratelimit.Quota, month time.Time, now time.Duration) []*account {
	for _, q := range quotas {
		if q.Requests <= 0 {
			accounts = append(accounts, nil)
			continue
		}
		key := accountOf{name{q.Policy, q.Key}, month.Unix()}
		a := m.accounts[key]
		if a == nil {
			m.forgetLocked(month)
			key.policy, key.key = strings.Clone(q.Policy), strings.Clone(q.Key) // they may be slices of something large
			a = &account{of: ratelimit.Quota{Policy: key.policy, Key: key.key, Requests: q.Requests}, month: month, answered: make(chan struct{}), usedFrom: now}
			// Where the month before was counted here, this one began here too: nothing was used before.
			before := m.accounts[accountOf{key.name, month.AddDate(0, -1, 0).Unix()}]
			a.known = before != nil && before.known
			m.accounts[key] = a
		}
		a.want(ratelimit.Quota{Policy: a.of.Policy, Key: a.of.Key, Requests: q.Requests}, now)
		accounts = append(accounts, a)
	}
	return accounts
}

// forgetLocked drops the months before the last one when a new one begins. What is held of them is lost, and nobody misses it.
func (m *Monthly) forgetLocked(month time.Time) {
	if !month.After(m.newest) {
		return
	}
	m.newest = month
	for key, a := range m.accounts {
		if key.month < month.AddDate(0, -1, 0).Unix() && !a.asking {
			delete(m.accounts, key)
		}
	}
}

// askLocked has the ledger asked, once at a time for each account.
func (m *Monthly) askLocked(a *account) {
	if a.asking || m.stopped {
		return
	}
	a.asking = true
	m.work.Go(func() { m.askLedger(a) })
}

// askLedger asks for what is wanted, and before it how much was used, where that was not read lately.
func (m *Monthly) askLedger(a *account) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout) // not life: an answer that nobody reads is lost
	defer cancel()
	m.mu.Lock()
	of, fresh := a.of, a.readAt > 0 && m.now()-a.readAt < readAgain
	m.mu.Unlock()
	var used int64
	if !fresh {
		var err error
		if used, err = m.ledger.UsedQuota(ctx, of, a.month); err != nil {
			m.take(a, QuotaAsk{}, QuotaGrant{}, err)
			return
		}
	}
	m.mu.Lock()
	if !fresh {
		a.readAt = max(m.now(), 1)
	}
	q := a.ask()
	q.Used = used
	m.mu.Unlock()
	g, err := m.ledger.LeaseQuota(ctx, q)
	m.take(a, q, g, err)
}

// take takes in what came of a question.
func (m *Monthly) take(a *account, q QuotaAsk, g QuotaGrant, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		a.granted(q, g, m.now())
	} else {
		if a.err == nil {
			m.log.Warn("a quota cannot be counted over all nodes", zap.String("of", a.of.Policy+" "+a.of.Key), zap.Error(err))
		}
		a.failed(q, err, m.now())
	}
	a.answer()
}

// sweep gives back what nobody has used for a while.
func (m *Monthly) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, a := range m.accounts {
		if m.stopped || now-a.lastUse < idleAfter || a.asking || now < a.nextTry {
			continue
		}
		if a.giveBack(); a.extra == 0 {
			continue
		}
		a.asking = true
		q := a.settle()
		m.work.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
			defer cancel()
			g, err := m.ledger.LeaseQuota(ctx, q)
			m.take(a, q, g, err)
		})
	}
}
