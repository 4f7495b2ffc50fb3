package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// exits collects how sandboxes ended.
type exits struct {
	mu  sync.Mutex
	all []Exit
}

func (e *exits) add(x Exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, x)
}

func (e *exits) count(r Reason) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.all {
		if x.Reason == r {
			n++
		}
	}
	return n
}

func (e *exits) keep(c *ManagerConfig) { c.OnExit = e.add }

// asked has every API asked for its health.
func asked(c *ManagerConfig) {
	c.Source = func(_ context.Context, api string, _ int) (Spec, error) {
		return Spec{API: api, Version: 1, Health: Health{Path: "/health", Interval: time.Second, Timeout: 500 * time.Millisecond}}, nil
	}
}

func TestUnhealthyProgramsAreReplaced(t *testing.T) {
	for name, sick := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"too slow": func(w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			var born atomic.Int64
			var ended exits
			managed(t, func(o order, s *fakeSandbox) {
				first, began := born.Add(1) == 1, time.Now()
				s.serve(o, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/health" && first && time.Since(began) > 10*time.Second {
						sick(w, r)
					}
				})
			}, func(t *testing.T, m *Manager, d *fakeDriver) {
				old := acquire(t, m, "api_a")
				time.Sleep(10 * time.Second)
				if d.launches() != 1 {
					t.Errorf("%d launches while it was well", d.launches())
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if d.launches() != 2 || d.count() != 2 || old.Instance.Exit() != nil {
					t.Errorf("%d launches, %d running: want its successor beside it", d.launches(), d.count())
				}
				young := acquire(t, m, "api_a")
				if young.Instance == old.Instance {
					t.Error("a request went to the sick one")
				}
				old.Release()
				if exit := old.Exit(t.Context()); exit.Reason != Unhealthy {
					t.Errorf("exit %+v", exit)
				}
				young.Release()
				time.Sleep(time.Minute)
				if d.launches() != 2 {
					t.Errorf("%d launches", d.launches())
				}
			}, asked, ended.keep)
			if ended.count(Unhealthy) != 1 {
				t.Errorf("exits %+v", ended.all)
			}
		})
	}
}

// A program that is well again before the third look in a row stays.
func TestOneFailedLookIsForgotten(t *testing.T) {
	var looks atomic.Int64
	managed(t, func(o order, s *fakeSandbox) {
		s.serve(o, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" && looks.Add(1)%3 != 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		time.Sleep(time.Minute)
		if d.launches() != 1 || looks.Load() < 50 {
			t.Errorf("%d launches after %d looks", d.launches(), looks.Load())
		}
	}, asked)
}

// A version that is not well never takes traffic.
func TestAStartWaitsForHealth(t *testing.T) {
	var wellAfter time.Duration
	managed(t, func(o order, s *fakeSandbox) {
		began, after := time.Now(), wellAfter
		s.serve(o, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" && time.Since(began) < after {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		wellAfter = 5 * time.Second
		lease := acquire(t, m, "api_a")
		if lease.StartWait() < wellAfter {
			t.Errorf("it took requests after %v", lease.StartWait())
		}
		wellAfter = time.Hour
		spec, _ := m.cfg.Source(t.Context(), "api_a", 1)
		_, err := m.Replace(t.Context(), spec, func(context.Context) error {
			t.Error("it was committed")
			return nil
		})
		exit, ok := errors.AsType[*Exit](err)
		if !ok || exit.Reason != Unhealthy {
			t.Errorf("error %v", err)
		}
		if again := acquire(t, m, "api_a"); again.Instance != lease.Instance {
			t.Error("another one serves")
		} else {
			again.Release()
		}
		lease.Release()
	}, asked)
}

func TestACrashLoopStops(t *testing.T) {
	var ended exits
	var mended atomic.Bool
	managed(t, func(o order, s *fakeSandbox) {
		if mended.Load() {
			s.serve(o, ok)
			return
		}
		s.end(Status{Code: 3})
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		reasons := map[Reason]int{}
		for range 600 { // a call each second
			_, err := m.Acquire(t.Context(), "api_a")
			if exit, ok := errors.AsType[*Exit](err); ok {
				reasons[exit.Reason]++
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if d.launches() != loopAfter || reasons[Crashed] == 0 || reasons[CrashLoop] == 0 || reasons[Crashed]+reasons[CrashLoop] != 600 {
			t.Errorf("%d launches, answers %v", d.launches(), reasons)
		}
		if ended.count(CrashLoop) != 1 || ended.count(Crashed) != loopAfter {
			t.Errorf("it was told %d times that it is a loop, %d times that it crashed", ended.count(CrashLoop), ended.count(Crashed))
		}
		trouble, held := m.Trouble("api_a")
		if !held || !trouble.Loop || trouble.Reason != Crashed || trouble.Failures != loopAfter || !trouble.Until.After(time.Now()) {
			t.Errorf("trouble %+v, %v", trouble, held)
		}

		time.Sleep(loopPause) // what it lacked may be there by now: it is tried once
		for range 10 {
			_, _ = m.Acquire(t.Context(), "api_a")
		}
		if d.launches() != loopAfter+1 {
			t.Errorf("%d launches", d.launches())
		}
		mended.Store(true)
		m.Forgive("api_a")
		acquire(t, m, "api_a").Release()
		if trouble, held := m.Trouble("api_a"); held {
			t.Errorf("trouble %+v", trouble)
		}
	}, ended.keep)
}

// What the host lacks is no loop of the program's, and does not keep it down once it is mended.
func TestAFaultOfTheHostIsNoCrashLoop(t *testing.T) {
	var ended exits
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.refuses = errors.New("no space left on device")
		for range 600 { // a call each second
			_, err := m.Acquire(t.Context(), "api_a")
			if exit, ok := errors.AsType[*Exit](err); !ok || exit.Reason != SandboxFailed {
				t.Fatalf("error %v", err)
			}
			time.Sleep(time.Second)
		}
		if n := ended.count(SandboxFailed); n < 50 || n > 80 {
			t.Errorf("%d starts were tried in ten minutes", n)
		}
		if trouble, held := m.Trouble("api_a"); held && (trouble.Loop || trouble.Reason != SandboxFailed || trouble.Failures < 50) {
			t.Errorf("trouble %+v", trouble)
		}
		d.refuses = nil // mended
		time.Sleep(backoffFault)
		acquire(t, m, "api_a").Release()
	}, ended.keep)
}

func TestAProgramInALoopIsInOneAfterAFaultOfTheHost(t *testing.T) {
	var b backoff
	now := time.Now()
	for range loopAfter {
		b.failed(now, &Exit{Reason: Crashed})
	}
	for range 3 {
		now = b.until
		if exit := b.failed(now, &Exit{Reason: SandboxFailed}); exit != nil {
			t.Errorf("it is told as %v", exit)
		}
	}
	if exit, ok := errors.AsType[*Exit](b.check(now)); !ok || exit.Reason != SandboxFailed || !exit.RetryAt.Equal(now.Add(2*backoffFirst)) {
		t.Errorf("held off by %+v", exit)
	}
	now = b.until
	b.failed(now, &Exit{Reason: Crashed})
	if exit, ok := errors.AsType[*Exit](b.check(now)); !ok || exit.Reason != CrashLoop || !exit.RetryAt.Equal(now.Add(loopPause)) {
		t.Errorf("held off by %+v", exit)
	}
}

func TestADeployEndsACrashLoop(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		if o.RootPath == "/new" {
			s.serve(o, ok)
			return
		}
		s.end(Status{Code: 3})
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		for range 600 {
			_, _ = m.Acquire(t.Context(), "api_a")
			time.Sleep(time.Second)
		}
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2, RootPath: "/new"}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		acquire(t, m, "api_a").Release()
	})
}

func TestExitsOfLoopsAreErrors(t *testing.T) {
	b := backoff{failures: loopAfter, last: &Exit{Reason: OutOfMemory}}
	if got := fmt.Sprint(b.loop(time.Now())); got != "crash_loop" {
		t.Errorf("%q", got)
	}
}

func TestWhoIsHeldOffIsToldUntilWhen(t *testing.T) {
	var b backoff
	now, crashed := time.Now(), &Exit{Reason: Crashed}
	retryAt := func() time.Time {
		t.Helper()
		exit, ok := errors.AsType[*Exit](b.check(now))
		if !ok {
			return time.Time{}
		}
		return exit.RetryAt
	}
	for i := 1; i <= loopAfter; i++ {
		b.failed(now, crashed)
		var want time.Time
		switch {
		case i >= loopAfter:
			want = now.Add(loopPause)
		case i > backoffFreely:
			want = now.Add(min(backoffFirst<<(i-backoffFreely-1), backoffMax))
		}
		if got := retryAt(); !got.Equal(want) {
			t.Errorf("after %d failures: %v, want %v", i, got, want)
		}
	}
	if !crashed.RetryAt.IsZero() {
		t.Error("what is told changes the exit that others have")
	}
}
