package sandbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryRequestHasItsOwnSandbox(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		seen := map[*Instance]bool{}
		for range 20 {
			l := acquire(t, m, "api_a")
			if seen[l.Instance] {
				t.Fatal("two requests got one sandbox")
			}
			seen[l.Instance] = true
			l.Release()
			if exit := l.Exit(t.Context()); exit.Reason != Draining {
				t.Errorf("exit %+v", exit)
			}
		}
		synctest.Wait()
		if d.count() != 0 {
			t.Errorf("%d sandboxes are left", d.count())
		}
	}, scaled(Scale{Isolated: true}))
}

func TestIsolatedRequestsAreBoundedAndInOrder(t *testing.T) {
	most := 0
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var order []int
		for n := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				l := acquire(t, m, "api_a")
				mu.Lock()
				order, most = append(order, n), max(most, d.count())
				mu.Unlock()
				time.Sleep(500 * time.Millisecond)
				l.Release()
			})
		}
		wg.Wait()
		if most != 3 {
			t.Errorf("%d at a time", most)
		}
		for n := range order[:len(order)-3] {
			if order[n+3] < order[n] {
				t.Errorf("order %v", order)
				break
			}
		}
	}, scaled(Scale{Isolated: true, Max: 3}))
}

func TestAnIsolatedRequestDoesNotWaitForever(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		l := acquire(t, m, "api_a")
		began := time.Now()
		if _, err := m.Acquire(t.Context(), "api_a"); !errors.Is(err, ErrNoRoom) || time.Since(began) != 5*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Acquire(ctx, "api_a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		l.Release()
		acquire(t, m, "api_a").Release()
	}, scaled(Scale{Isolated: true, Max: 1}))
}

func TestIsolatedSandboxesAreReadyBeforehand(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		m.Changed("api_a")
		time.Sleep(5 * time.Second)
		l := acquire(t, m, "api_a")
		if l.StartWait() != 0 {
			t.Errorf("it waited %v", l.StartWait())
		}
		l.Release()
		time.Sleep(5 * time.Second)
		if d.count() != 2 {
			t.Errorf("%d are ready", d.count())
		}
	}, scaled(Scale{Isolated: true, Min: 2}))
}

func TestWhatOthersUsedIsNotIsolated(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		shared := acquire(t, m, "api_a")
		isolated := one(1)
		isolated.Scale.Isolated = true
		p.set(isolated)
		m.Changed("api_a")
		synctest.Wait()
		l := acquire(t, m, "api_a")
		if l.Instance == shared.Instance {
			t.Error("an isolated request got a sandbox that others use")
		}
		p.set(one(1))
		m.Changed("api_a")
		synctest.Wait()
		next := acquire(t, m, "api_a")
		if next.Instance == l.Instance {
			t.Error("an isolated request's sandbox is shared")
		}
		for _, l := range []*Lease{shared, l, next} {
			l.Release()
		}
		synctest.Wait()
		if d.count() != 1 {
			t.Errorf("%d sandboxes are left", d.count())
		}
	}, p.use)
}

func TestAnIsolatedProgramThatDoesNotStart(t *testing.T) {
	managed(t, func(_ order, s *fakeSandbox) {
		s.say(event{Event: "failed", Reason: ImportError})
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				var exit *Exit
				if _, err := m.Acquire(t.Context(), "api_a"); !errors.As(err, &exit) || exit.Reason != ImportError {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Wait()
		if d.launches() > DefaultIsolated+1 {
			t.Errorf("%d launches", d.launches())
		}
	}, scaled(Scale{Isolated: true}))
}
