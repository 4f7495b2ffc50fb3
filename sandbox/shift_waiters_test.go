package sandbox

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// A request that waits for a start which fails finds the instance that a split has started of the same version meanwhile.
func TestWhoeverWaitsFindsWhatASplitStarted(t *testing.T) {
	p := &plans{plan: one(1)}
	var born atomic.Int64
	managed(t, func(o order, s *fakeSandbox) {
		if born.Add(1) == 1 {
			time.Sleep(10 * time.Second)
			s.say(event{Event: "failed", Reason: StartupFailed})
			return
		}
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		served := make(chan error)
		go func() {
			l, err := m.Acquire(ctx, "api_a")
			if err == nil {
				l.Release()
			}
			served <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		if err := m.Shift(t.Context(), "api_a", splitBy(1, 1).Shares, p.commit(splitBy(1, 1))); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil || time.Since(began) > time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute) // the start that fails ends
	}, p.use)
}

// Requests that wait for a sandbox of their own are served at once when there may be more of those.
func TestMoreIsolatedInstancesServeThoseWhoWait(t *testing.T) {
	p := &plans{plan: Plan{Shares: one(1).Shares, Scale: Scale{Isolated: true, Max: 1}}}
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		busy := acquire(t, m, "api_a")
		defer busy.Release()
		served := make(chan error)
		go func() {
			l, err := m.Acquire(t.Context(), "api_a")
			if err == nil {
				l.Release()
			}
			served <- err
		}()
		time.Sleep(time.Second)
		p.set(Plan{Shares: one(1).Shares, Scale: Scale{Isolated: true, Max: 2}})
		m.Changed("api_a")
		if err := <-served; err != nil {
			t.Errorf("error %v", err)
		}
	}, p.use)
}
