package sandbox

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func withWarm(bytes int64) func(*ManagerConfig) {
	return func(c *ManagerConfig) { c.WarmMemory = bytes }
}

// settle waits until the pool has done what it had to do.
func settle() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func eachShelf(m *Manager, do func(*shelf)) {
	p := m.launcher.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shelves {
		do(s)
	}
}

func TestTheNextStartFindsASandboxThatWaits(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		if n := d.launches(); n != 2 {
			t.Fatalf("%d launches after the first use, want that of the program and a warm one", n)
		}
		l := acquire(t, m, "api_b") // the same place: no environment, default limits
		if l.spec.API != "api_b" || d.launches() != 2 {
			t.Errorf("api %q, %d launches: the warm sandbox was not used", l.spec.API, d.launches())
		}
		l.Release()
		settle()
		if n := m.launcher.pool.count(); n != 1 {
			t.Errorf("%d wait after one was taken", n)
		}
	}, withWarm(1<<30))
}

func TestOtherLimitsAreAnotherPlace(t *testing.T) {
	limits := DefaultLimits
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		limits.MemoryBytes = 1 << 20
		if l := acquire(t, m, "api_b"); d.launches() < 3 {
			t.Error("a sandbox with other limits was used")
		} else {
			l.Release()
		}
	}, withWarm(1<<30), func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, _ int) (Spec, error) {
			return Spec{API: api, Version: 1, Limits: limits}, nil
		}
	})
}

func TestManyStartsKeepManyWarm(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		for range 12 {
			acquire(t, m, "api_"+randomHex(4)).Release()
		}
		settle()
		if n := m.launcher.pool.count(); n != 4 {
			t.Errorf("%d wait after twelve starts, want 4", n)
		}
		time.Sleep(2 * warmKeep)
		synctest.Wait()
		if n := m.launcher.pool.count(); n != 0 {
			t.Errorf("%d wait long after anybody needed one", n)
		}
	}, withWarm(1<<30))
}

func TestWarmSandboxesStayWithinTheirBudget(t *testing.T) {
	var environment string
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		for _, environment = range []string{"/a", "/b", "/c"} {
			acquire(t, m, "api"+environment).Release()
			settle()
		}
		p := m.launcher.pool
		p.mu.Lock()
		defer p.mu.Unlock()
		for at, s := range p.shelves {
			if want := at.environment != "/a"; want != (len(s.waiting) > 0) {
				t.Errorf("%s has %d", at.environment, len(s.waiting))
			}
		}
	}, withWarm(warmGuess+1), func(c *ManagerConfig) { // a fake one takes a byte
		c.Source = func(_ context.Context, api string, _ int) (Spec, error) {
			return Spec{API: api, Version: 1, Environment: environment}, nil
		}
	})
}

func TestAWarmSandboxThatDiedIsNotUsed(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		p := m.launcher.pool
		for _, s := range p.shelves {
			_ = s.waiting[0].sandbox.Kill()
		}
		l := acquire(t, m, "api_b")
		if l.Instance.Exit() != nil {
			t.Error("a request got a dead sandbox")
		}
		l.Release()
	}, withWarm(1<<30), func(c *ManagerConfig) {
		c.OnExit = func(e Exit) {
			if e.API == "" {
				t.Error("the end of a sandbox without a program was reported")
			}
		}
	})
}

// Code of packages runs in a warm sandbox, and may end it whenever it likes.
func TestWarmSandboxesThatDoNotLiveAreHeldOff(t *testing.T) {
	for name, until := range map[string]time.Duration{"quick to wait": 300 * time.Millisecond, "slow to wait": 28 * time.Second} {
		core, logged := observer.New(zapcore.WarnLevel)
		managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
			d.diesAfter, d.beforeWaiting = 50*time.Millisecond, func() { time.Sleep(until) }
			acquire(t, m, "api_a").Release()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := d.launches() - 1; n < 3 || n > loopAfter || logged.Len() != n {
				t.Errorf("%s: %d warm sandboxes were started in ten minutes in which nobody called, and it was told %d times", name, n, logged.Len())
			}
			for _, e := range logged.All() {
				if e.Message != "a warm sandbox ended before it had a program" {
					t.Errorf("%s: %s", name, e.Message)
				}
			}
		}, withWarm(1<<30), func(c *ManagerConfig) { c.Log = zap.New(core) })
	}
}

func TestAWarmSandboxThatLivedIsReplaced(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.diesAfter = backoffShort + time.Second
		acquire(t, m, "api_a").Release()
		time.Sleep(30 * time.Minute)
		if n := d.launches() - 1; n < 25 {
			t.Errorf("%d were started in half an hour", n)
		}
	}, withWarm(1<<30))
}

func TestAWarmSandboxThatIsUsedEndsItsPlacesBackoff(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		eachShelf(m, func(s *shelf) { s.backoff.failures = loopAfter - 1 })
		acquire(t, m, "api_b").Release()
		eachShelf(m, func(s *shelf) {
			if s.backoff.failures != 0 {
				t.Errorf("%d failures are left", s.backoff.failures)
			}
		})
	}, withWarm(1<<30))
}

func TestAWarmSandboxThatWeEndIsNoFailure(t *testing.T) {
	core, logged := observer.New(zapcore.WarnLevel)
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		if !m.launcher.pool.giveUp(func() {}) {
			t.Fatal("there was none")
		}
		synctest.Wait()
		eachShelf(m, func(s *shelf) {
			if s.backoff.failures != 0 {
				t.Errorf("%d failures", s.backoff.failures)
			}
		})
	}, withWarm(1<<30), func(c *ManagerConfig) { c.Log = zap.New(core) })
	if logged.Len() != 0 {
		t.Errorf("logged %v", logged.All())
	}
}

func TestAShelfForgetsWhatItGaveAway(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		for range 12 {
			acquire(t, m, "api_"+randomHex(4)).Release()
		}
		settle()
		for n, give := range []func(){
			func() { acquire(t, m, "api_b").Release() },
			func() { m.launcher.pool.giveUp(func() {}) },
		} {
			give()
			eachShelf(m, func(s *shelf) {
				if held := s.waiting[:cap(s.waiting)]; slices.ContainsFunc(held[len(s.waiting):], func(i *Instance) bool { return i != nil }) {
					t.Errorf("%d: one that is gone is held", n)
				}
			})
		}
	}, withWarm(1<<30))
}

func TestASlowPlaceHoldsUpNoOther(t *testing.T) {
	var slow atomic.Bool
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.beforeWaiting = func() {
			if slow.Swap(false) {
				time.Sleep(29 * time.Second)
			}
		}
		acquire(t, m, "api/slow").Release()
		slow.Store(true) // its warm one
		time.Sleep(2 * warmPause)
		acquire(t, m, "api/quick").Release()
		time.Sleep(mostTurn + time.Second)
		if n := m.Warm(); n != 1 {
			t.Errorf("%d wait while another place's takes long", n)
		}
		if n := d.launches(); n != 4 {
			t.Errorf("%d launches: more than one of the slow place at a time", n)
		}
		time.Sleep(29 * time.Second)
		if n := m.Warm(); n != 2 {
			t.Errorf("%d wait in the end", n)
		}
	}, withWarm(1<<30), func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, _ int) (Spec, error) {
			return Spec{API: api, Version: 1, Environment: strings.TrimPrefix(api, "api")}, nil
		}
	})
}

func TestImportsAreLearned(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.imports = []string{"numpy", "numpy.linalg"}
		acquire(t, m, "api_a").Release()
		settle()
		m.Sleep("api_a")
		synctest.Wait()
		l := acquire(t, m, "api_a")
		if got := l.sandbox.(*fakeSandbox).imported; !slices.Equal(got, d.imports) {
			t.Errorf("it had imported %q beforehand", got)
		}
		l.Release()
		stranger := acquire(t, m, "api_b")
		if got := stranger.sandbox.(*fakeSandbox).imported; got != nil {
			t.Errorf("another API's sandbox has imported %q", got)
		}
		stranger.Release()
	}, withWarm(1<<30))
}

func TestOnlyNamesOfModulesAreLearned(t *testing.T) {
	for name, e := range map[string]event{
		"an option":   {Imports: []string{"-c"}},
		"a space":     {Imports: []string{"os sys"}},
		"a long name": {Imports: []string{strings.Repeat("a", 300)}},
		"too many":    {Imports: slices.Repeat([]string{"a"}, 5000)},
		"too long":    {Imports: slices.Repeat([]string{strings.Repeat("a", 199)}, 1000)},
		"an ending":   {Imports: []string{"a."}},
		"a newline":   {Imports: []string{"a\n"}},
	} {
		e.ImportSeconds = 1
		if got := worthwhile(e); got != "" {
			t.Errorf("%s: %.40q", name, got)
		}
	}
	if got := worthwhile(event{Imports: []string{"a.b", "_c"}, ImportSeconds: 1}); got != "a.b _c" {
		t.Errorf("%q", got)
	}
	if got := worthwhile(event{Imports: []string{"a"}, ImportSeconds: 0.001}); got != "" {
		t.Errorf("%q although it takes no time", got)
	}
}

func TestProgramsThatSetVariablesFirstImportForThemselves(t *testing.T) {
	for code, want := range map[string]bool{
		"import os\nos.environ['OMP_NUM_THREADS'] = '1'":    true,
		"os.environ.setdefault('MPLBACKEND', 'agg')":        true,
		"os.putenv('A', 'b')":                               true,
		"from dotenv import load_dotenv":                    true,
		"key = os.environ['KEY']\nif os.environ['A'] == 1:": false,
		"os.environ.get('A')":                               false,
	} {
		if got := setsEnvironment(Spec{Code: code}); got != want {
			t.Errorf("%q: %t", code, got)
		}
	}
	if !setsEnvironment(Spec{Env: map[string]string{"OMP_NUM_THREADS": "2"}}) || setsEnvironment(Spec{Env: map[string]string{"DATABASE_URL": "x"}}) {
		t.Error("variables that a deploy gives")
	}
}

func TestManyAtOnceAndStop(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(50 * time.Millisecond)
		s.serve(o, func(http.ResponseWriter, *http.Request) {})
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				time.Sleep(time.Duration(len(randomHex(1))) * time.Millisecond)
				acquire(t, m, "api_"+randomHex(1)).Release()
			})
		}
		wg.Wait()
	}, withWarm(1<<30))
}
