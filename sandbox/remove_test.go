package sandbox

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// After Remove nothing of the API is left that could print: its log is deleted then.
func TestRemoveWaitsForStarts(t *testing.T) {
	var printed atomic.Int64
	p := &plans{plan: one(1)}
	managed(t, func(_ order, s *fakeSandbox) {
		for {
			select {
			case <-s.ended:
				time.Sleep(time.Millisecond) // what is still in the pipe
				s.output(Line{Stream: "stdout", Text: "last words"})
				return
			case <-time.After(time.Second):
				s.output(Line{Stream: "stdout", Text: "still starting"})
			}
		}
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		go func() { _, _ = m.Acquire(t.Context(), "api_a") }()
		time.Sleep(5500 * time.Millisecond)
		if printed.Load() == 0 {
			t.Fatal("it printed nothing")
		}
		p.mu.Lock()
		p.err = ErrUnknownAPI
		p.mu.Unlock()
		if err := m.Remove(t.Context(), "api_a"); err != nil {
			t.Fatal(err)
		}
		if n := d.count(); n != 0 {
			t.Errorf("%d sandboxes run after the removal", n)
		}
		time.Sleep(time.Second)
	}, p.use, func(c *ManagerConfig) {
		c.OnOutput = func(string, int, Line) { printed.Add(1) }
	})
}

// The manager may have learnt of the deletion before, and forgotten what served.
func TestRemoveWaitsForStartsThatWereForgotten(t *testing.T) {
	p := &plans{plan: one(1)}
	var read atomic.Bool
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		go func() { _, _ = m.Acquire(t.Context(), "api_a") }()
		time.Sleep(time.Second)
		p.mu.Lock()
		p.err = ErrUnknownAPI
		p.mu.Unlock()
		m.Changed("api_a")
		synctest.Wait()
		if err := m.Remove(t.Context(), "api_a"); err != nil || !read.Load() {
			t.Errorf("error %v, before the start had ended", err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.apis) != 0 {
			t.Errorf("%d APIs are remembered", len(m.apis))
		}
	}, p.use, func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			time.Sleep(3 * time.Second)
			read.Store(true)
			return Spec{API: api, Version: version}, nil
		}
	})
}

// An API that is deleted because it is sick may have a successor that starts.
func TestRemoveWaitsForSuccessors(t *testing.T) {
	var born, ended atomic.Int64
	managed(t, sickFirst(&born), func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		time.Sleep(10 * time.Second)
		if d.launches() != 2 {
			t.Fatalf("%d launches", d.launches())
		}
		if err := m.Remove(t.Context(), "api_a"); err != nil {
			t.Fatal(err)
		}
		if n := ended.Load(); n != 2 || d.count() != 0 {
			t.Errorf("%d had ended, %d run", n, d.count())
		}
		time.Sleep(time.Minute) // the start that was given up ends
	}, asked, func(c *ManagerConfig) {
		c.OnExit = func(e Exit) {
			if e.Detail == "the start was given up" { // it ends a moment after what it was to replace
				time.Sleep(time.Second)
			}
			ended.Add(1)
		}
	})
}

// A program of which one instance always runs is put to sleep while that starts, and stays asleep.
func TestSleepWhileAnInstanceStarts(t *testing.T) {
	p := &plans{plan: Plan{Shares: one(1).Shares, Scale: Scale{Min: 1}}}
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(5 * time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		m.Changed("api_a")
		time.Sleep(time.Second)
		if d.count() != 1 {
			t.Fatalf("%d start", d.count())
		}
		m.Sleep("api_a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.Running("api_a") || d.count() != 0 {
			t.Errorf("%d run of an API that was put to sleep", d.count())
		}
		acquire(t, m, "api_a").Release()
		if !m.Running("api_a") {
			t.Error("a request did not wake it")
		}
	}, p.use)
}
