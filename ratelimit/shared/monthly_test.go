package shared_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/ratelimit/shared"
)

var may = time.Date(2026, 5, 31, 23, 30, 0, 0, time.UTC)

// ledger is shared.Ledger's contract in a few lines, with the faults of a network.
type ledger struct {
	mu     sync.Mutex
	given  map[string]int64
	used   map[string]int64
	asks   int
	faults func() (before, after time.Duration, lost, down bool)
}

func newLedger() *ledger { return &ledger{given: map[string]int64{}, used: map[string]int64{}} }

func (l *ledger) name(policy, key string, month time.Time) string {
	return policy + key + month.Format("01")
}

func (l *ledger) LeaseQuota(ctx context.Context, a shared.QuotaAsk) (g shared.QuotaGrant, err error) {
	var before, after time.Duration
	var lost, down bool
	l.mu.Lock()
	if l.faults != nil {
		before, after, lost, down = l.faults()
	}
	l.mu.Unlock()
	if down {
		return g, errors.New("connection refused")
	}
	if err := wait(ctx, before); err != nil {
		return g, err
	}
	l.mu.Lock()
	l.asks++
	of := l.name(a.Policy, a.Key, a.Month)
	given := max(l.given[of]+a.Extra, a.Used, 0)
	g.Granted = max(min(a.Want, a.Quota-given), 0)
	g.Given = given + g.Granted
	l.given[of] = g.Given
	l.mu.Unlock()
	if err := wait(ctx, after); err != nil {
		return shared.QuotaGrant{}, err
	}
	if lost {
		return shared.QuotaGrant{}, errors.New("connection reset")
	}
	return g, nil
}

func (l *ledger) UsedQuota(_ context.Context, q ratelimit.Quota, month time.Time) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults != nil {
		if _, _, _, down := l.faults(); down {
			return 0, errors.New("connection refused")
		}
	}
	return l.used[l.name(q.Policy, q.Key, month)], nil
}

func (l *ledger) setFaults(faults func() (before, after time.Duration, lost, down bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = faults
}

// givenOf is what was given of key k in May.
func (l *ledger) givenOf() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.given["keyk05"]
}

func allDown() (before, after time.Duration, lost, down bool) { return 0, 0, false, true }

func newMonthly(t *testing.T, l *ledger, refuse bool) *shared.Monthly {
	t.Helper()
	m := shared.NewMonthly(shared.MonthlyConfig{Ledger: l, Refuse: refuse})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func isOver(err error) bool {
	_, over := errors.AsType[*ratelimit.OverQuota](err)
	return over
}

// Nodes that stop in order lose nothing: together they admit the quota, and no more.
func TestMonthlyIsExactOverNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := newLedger(), ratelimit.Quota{Policy: "key", Key: "k", Requests: 1000}
		var admitted atomic.Int64
		var nodes []*shared.Monthly
		for range 3 {
			nodes = append(nodes, newMonthly(t, l, true))
		}
		var group sync.WaitGroup
		for i, m := range nodes {
			for range 4 {
				group.Go(func() {
					for range 70 * (i + 1) {
						switch err := m.Take(t.Context(), may, q); {
						case err == nil:
							admitted.Add(1)
						case !isOver(err):
							t.Error(err)
						}
						time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
					}
				})
			}
		}
		group.Wait()
		time.Sleep(30 * time.Second) // what is held is given back
		for range 2000 {
			if nodes[0].Take(t.Context(), may, q) == nil {
				admitted.Add(1)
			}
		}
		if n := admitted.Load(); n != q.Requests {
			t.Errorf("%d of %d were admitted", n, q.Requests)
		}
		l.mu.Lock()
		if l.asks > 400 {
			t.Errorf("the ledger was asked %d times", l.asks)
		}
		l.mu.Unlock()
		for _, m := range nodes {
			if err := errors.Join(m.Stop(context.Background()), m.Stop(context.Background())); err != nil {
				t.Error(err)
			}
		}
	})
}

// Whatever the network does, whichever nodes die, and whatever month their clocks say: of no month more is admitted than its quota.
func TestMonthlyHoldsThroughEverything(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			l := newLedger()
			l.faults = badNetwork(rng)
			quotas := []ratelimit.Quota{{Policy: "key", Key: "k", Requests: 50 + rng.Int64N(300)}, {Policy: "plan", Key: "u", Requests: 80 + rng.Int64N(300)}}
			var mu sync.Mutex
			admitted := map[string]int64{}
			var group sync.WaitGroup
			for i := range 3 {
				shift := time.Duration(i-1) * time.Hour // one is in June already
				group.Go(func() {
					for range 4 { // lives
						m := newMonthly(t, l, true)
						var life sync.WaitGroup
						for range 3 {
							life.Go(func() {
								for range 40 {
									at := may.Add(shift)
									err := m.Take(t.Context(), at, quotas...)
									mu.Lock()
									if err == nil {
										for _, q := range quotas {
											admitted[l.name(q.Policy, q.Key, ratelimit.MonthOf(at))]++
										}
									}
									l.mu.Lock()
									for of, n := range admitted { // what the journals have delivered
										l.used[of] = n - n%10
									}
									l.mu.Unlock()
									mu.Unlock()
									time.Sleep(10 * time.Millisecond)
								}
							})
						}
						life.Wait()
						defer func() { _ = m.Stop(context.Background()) }() // long after its death: nothing waits for it
					}
				})
			}
			group.Wait()
			all := int64(0)
			for _, q := range quotas {
				for _, month := range []time.Time{may, may.Add(time.Hour)} {
					of := l.name(q.Policy, q.Key, ratelimit.MonthOf(month))
					if admitted[of] > q.Requests {
						t.Errorf("seed %d: %s: %d of %d", seed, of, admitted[of], q.Requests)
					}
					all += admitted[of]
				}
			}
			if all == 0 {
				t.Errorf("seed %d: nothing was admitted", seed)
			}
		})
	}
}

// A node that dies loses what it held: what it used in two seconds, sixteen at least, a sixteenth of the rest at most.
func TestMonthlyLosesLittleWithANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := newLedger(), ratelimit.Quota{Policy: "key", Key: "k", Requests: 100_000}
		m := newMonthly(t, l, true)
		defer func() { _ = m.Stop(context.Background()) }()
		used := int64(0)
		for range 500 {
			if err := m.Take(t.Context(), may, q); err != nil {
				t.Fatal(err)
			}
			used++
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if lost := l.givenOf() - used; lost < 0 || lost > 2*200+16 {
			t.Errorf("%d would be lost", lost)
		}
	})
}

func TestMonthlyWithoutTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := newLedger(), ratelimit.Quota{Policy: "key", Key: "k", Requests: 100}
		l.used["keyk05"] = 40
		strict, local, late := newMonthly(t, l, true), newMonthly(t, l, false), newMonthly(t, l, false)
		defer func() {
			_ = errors.Join(strict.Stop(context.Background()), local.Stop(context.Background()), late.Stop(context.Background()))
		}()
		for _, m := range []*shared.Monthly{strict, local} {
			if err := m.Take(t.Context(), may, q); err != nil {
				t.Fatal(err)
			}
		}
		l.setFaults(allDown)
		time.Sleep(time.Second)
		count := func(m *shared.Monthly) (n int, err error) {
			for range 1000 {
				if err = m.Take(t.Context(), may, q); err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}
		if n, err := count(strict); n > 3 || err == nil || isOver(err) {
			t.Errorf("strict: %d more, %v", n, err)
		}
		n, err := count(local)
		if n < 50 || n > 60 || !isOver(err) {
			t.Errorf("local: %d more of 58, %v", n, err)
		}
		if n, err := count(late); n > 0 || err == nil || isOver(err) {
			t.Errorf("one that never knew what was used: %d, %v", n, err)
		}
		l.setFaults(nil)
		time.Sleep(time.Minute) // what was used meanwhile is told
		if given := l.givenOf(); given < int64(41+n) || given > 103 {
			t.Errorf("%d are told to be used", given)
		}
		if n, err := count(late); n > 2 || !isOver(err) {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	})
}

// late is a ledger that notices a moment late that its context has ended, as one behind a network does.
type late struct{ *ledger }

func (l late) LeaseQuota(ctx context.Context, a shared.QuotaAsk) (shared.QuotaGrant, error) {
	g, err := l.ledger.LeaseQuota(ctx, a)
	if err != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return g, err
}

// A ledger that hangs fails nobody whose quota was known to have something left, not even who waited for it first.
func TestMonthlyWithALedgerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := newLedger(), ratelimit.Quota{Policy: "key", Key: "k", Requests: 1000}
		m := shared.NewMonthly(shared.MonthlyConfig{Ledger: late{l}})
		strict := shared.NewMonthly(shared.MonthlyConfig{Ledger: late{l}, Refuse: true})
		for _, m := range []*shared.Monthly{m, strict} {
			if err := m.Take(t.Context(), may, q); err != nil {
				t.Fatal(err)
			}
		}
		l.setFaults(func() (before, after time.Duration, lost, down bool) { return time.Hour, 0, false, false })
		for i := range 40 {
			if err := m.Take(t.Context(), may, q); err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		}
		err := error(nil)
		for range 40 {
			err = errors.Join(err, strict.Take(t.Context(), may, q))
		}
		if err == nil || isOver(err) {
			t.Errorf("one that refuses what it cannot count: %v", err)
		}
		l.setFaults(nil)
		_ = errors.Join(m.Stop(t.Context()), strict.Stop(t.Context()))
	})
}

func TestMonthlyFollowsTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		m := newMonthly(t, l, true)
		defer func() { _ = m.Stop(context.Background()) }()
		of := func(n int64) ratelimit.Quota { return ratelimit.Quota{Policy: "key", Key: "k", Requests: n} }
		take := func(n int64, want bool) {
			t.Helper()
			if err := m.Take(t.Context(), may, of(n)); (err == nil) != want || err != nil && !isOver(err) {
				t.Errorf("of %d: %v", n, err)
			}
		}
		take(0, true)
		for range 20 {
			take(10_000, true)
		}
		take(20, false) // lowered to what was used: what it held of the larger one counts no more
		take(21, true)
		take(21, false)
		m.Return(may, of(21))
		take(21, true)
		take(22, true)
		// A request is charged to all quotas or to none.
		plan := ratelimit.Quota{Policy: "plan", Key: "u", Requests: 5}
		if err := m.Take(t.Context(), may, plan, of(22)); !isOver(err) {
			t.Error(err)
		}
		for range 5 {
			if err := m.Take(t.Context(), may, plan); err != nil {
				t.Error(err)
			}
		}
		// What was admitted while there was no quota counts when there is one again.
		l.mu.Lock()
		l.used["keyk05"] = 500
		l.mu.Unlock()
		time.Sleep(time.Minute)
		take(500, false)
		take(501, true)
		// Also when there was none for less than a minute, and the same as before is found.
		for range 20 {
			take(10_000, true)
		}
		l.mu.Lock()
		l.used["keyk05"] = 9_000
		l.mu.Unlock()
		m.Found(of(0))
		m.Found(of(10_000))
		for range 1_000 {
			take(10_000, true)
		}
		take(10_000, false)
	})
}

func TestMonthlyWaitsNoLongerThanItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		l.setFaults(func() (before, after time.Duration, lost, down bool) { return time.Hour, 0, false, false })
		m := newMonthly(t, l, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := m.Take(ctx, may, ratelimit.Quota{Policy: "key", Key: "k", Requests: 1})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		l.setFaults(allDown)
		_ = m.Stop(context.Background()) // there is nothing to give back
	})
}
