package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// host is a machine whose sandboxes take memory.
type host struct {
	driver *fakeDriver
	total  atomic.Int64
}

const fakeSize = 100 << 20 // bytes that each fake sandbox takes of a host

// memory is the config of a manager on a host with so much of it.
func (h *host) use(c *ManagerConfig) {
	h.driver = c.Driver.(*fakeDriver)
	c.MemoryReserve = 100 << 20
	c.Memory = func() (int64, error) { return h.total.Load() - int64(h.driver.count())*fakeSize, nil }
}

func hostOf(bytes int64) *host {
	h := &host{}
	h.total.Store(bytes)
	return h
}

func TestMemoryThatRunsShortIsTakenFromTheLongestIdle(t *testing.T) {
	h := hostOf(500 << 20) // three of 100 MiB, with the reserve
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		busy := acquire(t, m, "api_busy")
		for _, api := range []string{"api_a", "api_b", "api_c", "api_d"} {
			time.Sleep(time.Second)
			acquire(t, m, api).Release()
		}
		synctest.Wait()
		if !m.Running("api_busy") || m.Running("api_a") || !m.Running("api_d") {
			t.Error("want the longest idle one to be gone, and none that is busy")
		}
		h.total.Store(250 << 20) // others take it
		time.Sleep(10 * time.Second)
		if d.count() != 1 || !m.Running("api_busy") {
			t.Errorf("%d run", d.count())
		}
		began := time.Now()
		if _, err := m.Acquire(t.Context(), "api_a"); !errors.Is(err, ErrNoRoom) || time.Since(began) != 5*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		busy.Release()
		acquire(t, m, "api_a").Release()
	}, h.use)
}

func TestWarmSandboxesAreGivenUpFirst(t *testing.T) {
	h := hostOf(1 << 30)
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		if m.Warm() != 1 {
			t.Fatalf("%d are warm", m.Warm())
		}
		h.total.Store(290 << 20)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if m.Warm() != 0 || !m.Running("api_a") {
			t.Errorf("%d are warm, the program runs: %t", m.Warm(), m.Running("api_a"))
		}
		time.Sleep(2 * warmRecent)
		if m.Warm() != 0 {
			t.Error("a warm sandbox came back although memory is short")
		}
	}, withWarm(1<<30), h.use)
}

func TestThoseWhoWaitForRoomGetItInTurn(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		busy := acquire(t, m, "api_busy")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var order []int
		for n := range 5 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				l := acquire(t, m, fmt.Sprintf("api_%d", n))
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				time.Sleep(500 * time.Millisecond)
				l.Release()
			})
		}
		time.Sleep(time.Second)
		busy.Release()
		wg.Wait()
		if fmt.Sprint(order) != "[0 1 2 3 4]" {
			t.Errorf("order %v", order)
		}
	}, func(c *ManagerConfig) { c.MaxSandboxes = 1 })
}

func TestNeverMoreThanTheNodesPlaces(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		var wg sync.WaitGroup
		var most atomic.Int64
		for n := range 100 {
			wg.Go(func() {
				l := acquire(t, m, fmt.Sprintf("api_%d", n))
				if now := int64(d.count()); now > most.Load() {
					most.Store(now)
				}
				l.Release()
			})
		}
		wg.Wait()
		if most.Load() > 5 {
			t.Errorf("%d at a time", most.Load())
		}
	}, func(c *ManagerConfig) { c.MaxSandboxes = 5 })
}

// TestManyStartsOnASmallHost has room for two starts at a time.
func TestManyStartsOnASmallHost(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		time.Sleep(3 * time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		var wg sync.WaitGroup
		for n := range 30 {
			wg.Go(func() { acquire(t, m, fmt.Sprintf("api_%d", n)).Release() })
		}
		wg.Wait()
	}, func(c *ManagerConfig) {
		c.Memory, c.MemoryReserve = func() (int64, error) { return 250 << 20, nil }, 100<<20
	})
}

// TestProgramsThatTakeLongHoldNoMemory has room for three starts at a time, and a dozen of which each takes nearly all of its time.
func TestProgramsThatTakeLongHoldNoMemory(t *testing.T) {
	const long = 29 * time.Second
	for name, c := range map[string]struct {
		waiting time.Duration // that a sandbox takes until its runner waits
		most    time.Duration // that one behind them may wait
	}{
		"in their code":     {0, 4 * memorySettles},
		"in their packages": {long, 5*(mostTurn+memorySettles) + long},
	} {
		t.Run(name, func(t *testing.T) {
			managed(t, func(o order, s *fakeSandbox) {
				if o.RootPath != "last" && c.waiting == 0 {
					time.Sleep(long)
				}
				s.serve(o, ok)
			}, func(t *testing.T, m *Manager, d *fakeDriver) {
				d.beforeWaiting = func() { time.Sleep(c.waiting) }
				var wg sync.WaitGroup
				for n := range 12 {
					wg.Go(func() { acquire(t, m, fmt.Sprint("slow", n)).Release() })
				}
				time.Sleep(time.Second)
				if n := d.launches(); n > 3 {
					t.Errorf("%d were started at once", n)
				}
				began := time.Now()
				acquire(t, m, "last").Release()
				if waited := time.Since(began); waited > c.most {
					t.Errorf("one behind them waited for %v", waited)
				}
				wg.Wait()
			}, func(cfg *ManagerConfig) {
				cfg.Memory = func() (int64, error) { return 200 << 20, nil }
				cfg.Source = func(_ context.Context, api string, version int) (Spec, error) {
					return Spec{API: api, Version: version, RootPath: api}, nil
				}
			})
		})
	}
}
