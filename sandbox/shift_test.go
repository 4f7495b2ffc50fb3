package sandbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// plans is a Plan that tests change.
type plans struct {
	mu    sync.Mutex
	plan  Plan
	err   error
	delay time.Duration // until it is told
}

func (p *plans) set(plan Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// hold has plans told after a delay.
func (p *plans) hold(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

func (p *plans) use(c *ManagerConfig) {
	c.Plan = func(context.Context, string) (Plan, error) {
		p.mu.Lock()
		plan, err, delay := p.plan, p.err, p.delay
		p.mu.Unlock()
		time.Sleep(delay)
		return plan, err
	}
}

func (p *plans) commit(plan Plan) func(context.Context) error {
	return func(context.Context) error {
		p.set(plan)
		return nil
	}
}

func one(version int) Plan { return Plan{Shares: []Share{{version, 1}}} }

func splitBy(weights ...int) Plan {
	var p Plan
	for i, w := range weights {
		p.Shares = append(p.Shares, Share{i + 1, w})
	}
	return p
}

// spread counts which versions so many requests go to.
func spread(t *testing.T, m *Manager, n int) map[int]int {
	t.Helper()
	got := map[int]int{}
	for range n {
		l := acquire(t, m, "api_a")
		got[l.Version()]++
		l.Release()
	}
	return got
}

func TestRequestsAreSplitByWeight(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		next := -1
		m.pick = func(n int) int { next = (next + 1) % n; return next }
		if got := spread(t, m, 10); got[1] != 10 {
			t.Fatalf("before the split: %v", got)
		}
		if err := m.Shift(t.Context(), "api_a", splitBy(90, 10).Shares, p.commit(splitBy(90, 10))); err != nil {
			t.Fatal(err)
		}
		if got := spread(t, m, 200); got[1] != 180 || got[2] != 20 {
			t.Errorf("of 200 requests: %v", got)
		}
		if d.count() != 2 {
			t.Errorf("%d sandboxes run", d.count())
		}
		m.Sleep("api_a")
		synctest.Wait()
		time.Sleep(time.Minute)
		if got := spread(t, m, 200); got[1] != 180 || got[2] != 20 {
			t.Errorf("after sleep: %v", got)
		}
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 3}, p.commit(one(3))); err != nil {
			t.Fatal(err)
		}
		if got := spread(t, m, 20); got[3] != 20 {
			t.Errorf("after a deploy: %v", got)
		}
		synctest.Wait()
		if d.count() != 1 {
			t.Errorf("%d sandboxes run after a deploy", d.count())
		}
	}, p.use)
}

func TestASplitThatFailsChangesNothing(t *testing.T) {
	p, away := &plans{plan: one(1)}, errors.New("the store is away")
	managed(t, func(o order, s *fakeSandbox) {
		if o.Code == "bad" {
			s.say(event{Event: "failed", Reason: ImportError})
			return
		}
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		var exit *Exit
		err := m.Shift(t.Context(), "api_a", splitBy(1, 1, 1).Shares, func(context.Context) error { t.Error("committed"); return nil })
		if !errors.As(err, &exit) || exit.Reason != ImportError || exit.Version != 3 {
			t.Errorf("error %v", err)
		}
		if err := m.Shift(t.Context(), "api_a", splitBy(1, 1).Shares, func(context.Context) error { return away }); !errors.Is(err, away) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if got := spread(t, m, 20); got[1] != 20 || d.count() != 1 {
			t.Errorf("%v, %d sandboxes", got, d.count())
		}
	}, p.use, func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Code: map[bool]string{true: "bad"}[version == 3]}, nil
		}
	})
}

// TestAVersionThatDoesNotStartLeavesItsShare is decision 26: consumers are better served by the version that works.
func TestAVersionThatDoesNotStartLeavesItsShare(t *testing.T) {
	p := &plans{plan: splitBy(1, 1)}
	var broken sync.Map
	managed(t, func(o order, s *fakeSandbox) {
		if _, bad := broken.Load(o.Code); bad {
			s.say(event{Event: "failed", Reason: StartupFailed})
			return
		}
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		broken.Store("2", true)
		if got := spread(t, m, 40); got[1] != 40 {
			t.Errorf("%v", got)
		}
		broken.Store("1", true)
		m.Sleep("api_a")
		synctest.Wait()
		var exit *Exit
		if _, err := m.Acquire(t.Context(), "api_a"); !errors.As(err, &exit) || exit.Reason != StartupFailed {
			t.Errorf("error %v when none starts", err)
		}
		broken.Clear()
		time.Sleep(time.Hour)
		if got := spread(t, m, 40); got[1] == 0 || got[2] == 0 {
			t.Errorf("%v after both are mended", got)
		}
	}, p.use, func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Code: string(rune('0' + version))}, nil
		}
	})
}

func TestChangesAreFollowed(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		old := acquire(t, m, "api_a")
		p.set(one(2)) // another node's deploy
		m.Changed("api_a")
		synctest.Wait()
		if got := spread(t, m, 5); got[2] != 5 {
			t.Errorf("%v", got)
		}
		if old.Instance.Exit() != nil {
			t.Error("a request was broken off")
		}
		old.Release()
		kept := one(2)
		kept.Scale = Scale{Min: 3, Max: 3}
		p.set(kept)
		m.Changed("")
		synctest.Wait()
		if d.count() != 3 {
			t.Errorf("%d sandboxes run of three that always do", d.count())
		}
		p.set(one(2))
		m.Changed("api_a")
		time.Sleep(2 * time.Minute)
		if d.count() != 1 {
			t.Errorf("%d sandboxes run when one is enough", d.count())
		}
		p.mu.Lock()
		p.err = ErrUnknownAPI
		p.mu.Unlock()
		m.Changed("api_a")
		synctest.Wait()
		if _, err := m.Acquire(t.Context(), "api_a"); !errors.Is(err, ErrUnknownAPI) || d.count() != 0 {
			t.Errorf("error %v, %d sandboxes run of an API that is gone", err, d.count())
		}
	}, p.use)
}

func TestWhatAlwaysRunsIsStartedAndStartedAgain(t *testing.T) {
	p := &plans{plan: one(1)}
	p.plan.Scale.Min = 2
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		m.Changed("api_a")
		synctest.Wait()
		if d.count() != 2 {
			t.Fatalf("%d sandboxes run", d.count())
		}
		time.Sleep(time.Hour)
		if d.count() != 2 {
			t.Errorf("%d sandboxes run after an idle hour", d.count())
		}
		l := acquire(t, m, "api_a")
		_ = l.sandbox.Kill()
		l.Release()
		time.Sleep(time.Minute)
		if d.count() != 2 {
			t.Errorf("%d sandboxes run after a crash", d.count())
		}
		m.Sleep("api_a")
		time.Sleep(time.Minute)
		if d.count() != 0 {
			t.Errorf("%d sandboxes run of an API that was put to sleep", d.count())
		}
		if err := m.Wake(t.Context(), "api_a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if d.count() != 2 || len(m.Instances("api_a")) != 2 {
			t.Errorf("%d sandboxes run after it woke: %+v", d.count(), m.Instances("api_a"))
		}
	}, p.use, idleAfter(time.Minute))
}

// TestAFollowedSplitThatDoesNotStartLeavesNothing has one version of another node's split start here, and the other not.
func TestAFollowedSplitThatDoesNotStartLeavesNothing(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, func(o order, s *fakeSandbox) {
		if o.Code == "bad" {
			s.say(event{Event: "failed", Reason: ImportError})
			return
		}
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		p.set(splitBy(1, 1, 1))
		m.Changed("api_a")
		synctest.Wait()
		if got := spread(t, m, 20); got[1] != 20 || d.count() != 1 {
			t.Errorf("%v, %d sandboxes run", got, d.count())
		}
	}, p.use, func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Code: map[bool]string{true: "bad"}[version == 3]}, nil
		}
	})
}

// TestTheDrainTimeoutIsTheAPIs has a version replaced while a request is in flight that does not end.
func TestTheDrainTimeoutIsTheAPIs(t *testing.T) {
	for _, c := range []struct{ own, want time.Duration }{{0, 30 * time.Second}, {3 * time.Second, 3 * time.Second}, {5 * time.Minute, 5 * time.Minute}} {
		p := &plans{plan: one(1)}
		p.plan.Scale.Drain = c.own
		managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
			l := acquire(t, m, "api_a")
			next := one(2)
			next.Scale = p.plan.Scale
			if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2}, p.commit(next)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			exit := l.Exit(t.Context())
			if took := time.Since(begin); exit == nil || took < c.want || took > c.want+stopGrace {
				t.Errorf("drain of %s: ended after %s: %v", c.own, took, exit)
			}
			l.Release()
		}, p.use)
	}
}
