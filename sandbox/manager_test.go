package sandbox

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }

// managed runs a test with a manager whose sandboxes run program, in synthetic time.
func managed(t *testing.T, program func(order, *fakeSandbox), test func(t *testing.T, m *Manager, d *fakeDriver), change ...func(*ManagerConfig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDriver{program: program}
		cfg := ManagerConfig{Driver: d, Source: func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version}, nil
		}, Plan: func(_ context.Context, api string) (Plan, error) {
			if api == "unknown" {
				return Plan{}, errUnknown
			}
			return Plan{Shares: []Share{{1, 1}}}, nil
		}}
		for _, f := range change {
			f(&cfg)
		}
		m := NewManager(cfg)
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, m, d)
		if err := m.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if n := d.count(); n != 0 {
			t.Errorf("%d sandboxes are left", n)
		}
		if m.live != 0 {
			t.Errorf("%d places are still taken", m.live)
		}
	})
}

var errUnknown = errors.New("no such API")

func serveOK(o order, s *fakeSandbox) { s.serve(o, ok) }

func acquire(t *testing.T, m *Manager, api string) *Lease {
	t.Helper()
	l, err := m.Acquire(t.Context(), api)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestManyRequestsStartOneSandbox(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				l := acquire(t, m, "api_a")
				if l.StartWait() < time.Second {
					t.Errorf("waited %v for a start that takes a second", l.StartWait())
				}
				l.Release()
			})
		}
		wg.Wait()
		if n := d.launches(); n != 1 {
			t.Errorf("%d sandboxes for one API", n)
		}
		if l := acquire(t, m, "api_a"); l.StartWait() != 0 {
			t.Errorf("a running sandbox made a request wait %v", l.StartWait())
		} else {
			l.Release()
		}
	})
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(10 * time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Acquire(ctx, "api_a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		acquire(t, m, "api_a").Release() // the start went on for the next one
		if n := d.launches(); n != 1 {
			t.Errorf("%d launches", n)
		}
	})
}

func TestAnUnknownAPIReachesTheRequest(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		if _, err := m.Acquire(t.Context(), "unknown"); !errors.Is(err, errUnknown) {
			t.Errorf("error %v", err)
		}
		if d.launches() != 0 {
			t.Error("a sandbox was launched for an unknown API")
		}
	})
}

func TestStartTimeout(t *testing.T) {
	managed(t, func(order, *fakeSandbox) {}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		began := time.Now()
		_, err := m.Acquire(t.Context(), "api_a")
		var exit *Exit
		if !errors.As(err, &exit) || exit.Reason != StartTimeout {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestLastWordsAreHeard has a sandbox end, for everybody to see, before somebody reads why.
func TestLastWordsAreHeard(t *testing.T) {
	managed(t, func(_ order, s *fakeSandbox) {
		s.endOnce.Do(func() {
			s.status = Status{Code: 70}
			s.driver.mu.Lock()
			s.driver.running--
			s.driver.mu.Unlock()
			close(s.ended)
			close(s.done)
		})
		time.Sleep(100 * time.Millisecond)
		s.say(event{Event: "failed", Reason: ImportError, Detail: "boom"})
		_ = s.inside.Close()
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		_, err := m.Acquire(t.Context(), "api_a")
		if exit, ok := errors.AsType[*Exit](err); !ok || exit.Reason != ImportError || exit.Detail != "boom" {
			t.Errorf("error %v", err)
		}
	})
}

func TestAProgramThatKeepsFailingIsHeldOff(t *testing.T) {
	managed(t, func(_ order, s *fakeSandbox) {
		s.say(event{Event: "failed", Reason: ImportError, Detail: "boom"})
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		for range 100 {
			_, err := m.Acquire(t.Context(), "api_a")
			var exit *Exit
			if !errors.As(err, &exit) || exit.Reason != ImportError || exit.Detail != "boom" {
				t.Fatalf("error %v", err)
			}
		}
		if n := d.launches(); n != 2 {
			t.Errorf("%d launches for 100 requests at once, want 2", n)
		}
		time.Sleep(time.Hour)
		_, _ = m.Acquire(t.Context(), "api_a")
		if n := d.launches(); n != 3 {
			t.Errorf("%d launches after an hour, want one more", n)
		}
	})
}

func TestCrashIsReportedAndTheNextRequestStartsAnew(t *testing.T) {
	var exits atomic.Int64
	crash := func(o order, s *fakeSandbox) {
		s.serve(o, func(http.ResponseWriter, *http.Request) { s.end(Status{Code: 7}) })
	}
	managed(t, crash, func(t *testing.T, m *Manager, d *fakeDriver) {
		l := acquire(t, m, "api_a")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
		if _, err := l.RoundTrip(req); err == nil {
			t.Error("a dead program answered")
		}
		if exit := l.Exit(t.Context()); exit == nil || exit.Reason != Crashed || exit.Code != 7 {
			t.Errorf("exit %+v", exit)
		}
		l.Release()
		synctest.Wait()
		acquire(t, m, "api_a").Release()
		if n := d.launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
		if exits.Load() != 1 {
			t.Errorf("%d exits were reported", exits.Load())
		}
	}, func(c *ManagerConfig) { c.OnExit = func(Exit) { exits.Add(1) } })
}

func TestReplaceSwitchesAndDrains(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		old := acquire(t, m, "api_a")
		i, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2}, func(context.Context) error { return nil })
		if err != nil || i.Version() != 2 {
			t.Fatal(i, err)
		}
		l := acquire(t, m, "api_a")
		if l.Version() != 2 {
			t.Errorf("version %d serves after the switch", l.Version())
		}
		l.Release()
		time.Sleep(20 * time.Second)
		if old.Instance.Exit() != nil {
			t.Error("the old version was ended with a request in flight")
		}
		old.Release()
		if exit := old.Exit(t.Context()); exit.Reason != Draining {
			t.Errorf("exit %+v", exit)
		}
		if d.count() != 1 {
			t.Errorf("%d sandboxes run", d.count())
		}
	})
}

func TestDrainEndsAtItsDeadline(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		old := acquire(t, m, "api_a")
		began := time.Now()
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		old.Exit(t.Context())
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the old version was ended after %v", took)
		}
		old.Release()
	})
}

func TestAVersionThatFailsChangesNothing(t *testing.T) {
	broken := errors.New("the store is away")
	managed(t, func(o order, s *fakeSandbox) {
		if o.Code == "bad" {
			s.say(event{Event: "failed", Reason: NoApp})
			return
		}
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		_, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2, Code: "bad"}, func(context.Context) error {
			t.Error("commit was called for a version that does not start")
			return nil
		})
		var exit *Exit
		if !errors.As(err, &exit) || exit.Reason != NoApp {
			t.Errorf("error %v", err)
		}
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 3}, func(context.Context) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		l := acquire(t, m, "api_a")
		if l.Version() != 1 || d.count() != 1 {
			t.Errorf("version %d serves, %d sandboxes run", l.Version(), d.count())
		}
		l.Release()
	})
}

func TestRoomIsMadeByTheLongestIdle(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		first := acquire(t, m, "api_a")
		time.Sleep(time.Second)
		acquire(t, m, "api_b").Release()
		third, err := m.Acquire(t.Context(), "api_c")
		if err != nil {
			t.Fatal(err)
		}
		if first.Instance.Exit() != nil {
			t.Error("a busy sandbox was ended")
		}
		if _, err := m.Acquire(t.Context(), "api_d"); !errors.Is(err, ErrNoRoom) {
			t.Errorf("error %v with every sandbox busy", err)
		}
		first.Release()
		third.Release()
	}, func(c *ManagerConfig) { c.MaxSandboxes = 2 })
}

func TestAHungProgramIsReplacedAndASlowOneIsNot(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		l := acquire(t, m, "api_a")
		l.Suspect()
		time.Sleep(time.Minute)
		if l.Instance.Exit() != nil {
			t.Fatal("a program that answers its probe was ended")
		}
		d.hung.Store(true)
		l.Suspect()
		l.Suspect()
		if exit := l.Exit(t.Context()); exit.Reason != RequestTimeout {
			t.Errorf("exit %+v", exit)
		}
		l.Release()
	})
}

func TestRemoveEndsTheSandbox(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		if err := m.Remove(t.Context(), "api_a"); err != nil || d.count() != 0 {
			t.Errorf("%v, %d sandboxes run", err, d.count())
		}
		if err := m.Remove(t.Context(), "api_never"); err != nil {
			t.Error(err)
		}
	})
}

// A deleted API's program shuts down as at any other stop, unless a request keeps it.
func TestRemoveLetsAnIdleProgramShutDown(t *testing.T) {
	var exits []Exit
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_idle").Release()
		busy := acquire(t, m, "api_busy")
		for _, api := range []string{"api_idle", "api_busy"} {
			if err := m.Remove(t.Context(), api); err != nil {
				t.Fatal(err)
			}
		}
		busy.Release()
		if len(exits) != 2 || exits[0].Signal != "SIGTERM" || exits[1].Signal != "SIGKILL" {
			t.Errorf("they ended by %+v", exits)
		}
		for _, e := range exits {
			if e.Reason != Draining || e.Detail != "the API was deleted" {
				t.Errorf("exit %+v", e)
			}
		}
	}, func(c *ManagerConfig) { c.OnExit = func(e Exit) { exits = append(exits, e) } })
}

func TestNothingStartsAfterStop(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Acquire(t.Context(), "api_a"); !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
		if _, err := m.Replace(t.Context(), Spec{API: "api_a"}, nil); !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
}
