package sandbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func idleAfter(d time.Duration) func(*ManagerConfig) {
	return func(c *ManagerConfig) { c.IdleTimeout = d }
}

func TestIdleProgramsSleepAndWake(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		busy := acquire(t, m, "api_busy")
		acquire(t, m, "api_idle").Release()
		time.Sleep(9 * time.Minute)
		if !m.Running("api_busy") || !m.Running("api_idle") {
			t.Error("one was ended before the idle time was over")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if m.Running("api_idle") || !m.Running("api_busy") {
			t.Error("want the one with a request under way to run, and not the other")
		}
		busy.Release()
		time.Sleep(9 * time.Minute)
		if !m.Running("api_busy") {
			t.Error("a long request did not count as use until its end")
		}
		acquire(t, m, "api_idle").Release()
		if n := d.launches(); n != 3 {
			t.Errorf("%d launches", n)
		}
	}, idleAfter(10*time.Minute))
}

func TestSleepWaitsForRequestsUnderWay(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		old := acquire(t, m, "api_a")
		if !m.Sleep("api_a") || m.Sleep("api_a") || m.Sleep("api_never") {
			t.Error("Sleep tells wrongly whether there was a sandbox")
		}
		synctest.Wait()
		if old.Instance.Exit() != nil {
			t.Error("a request was broken off")
		}
		acquire(t, m, "api_a").Release()
		old.Release()
		if exit := old.Exit(t.Context()); exit.Reason != Draining {
			t.Errorf("exit %+v", exit)
		}
		if d.launches() != 2 {
			t.Errorf("%d launches", d.launches())
		}
	})
}

// TestAManagerThatLeavesGivesItsRoom: the process that serves in its place needs the memory, and what is under way its program.
func TestAManagerThatLeavesGivesItsRoom(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		busy := acquire(t, m, "api_busy")
		acquire(t, m, "api_idle").Release()
		time.Sleep(time.Minute)
		if m.Warm() == 0 {
			t.Error("nothing is warm")
		}
		m.Leave()
		time.Sleep(time.Minute)
		if d.count() != 1 || !m.Running("api_busy") || m.Warm() != 0 {
			t.Errorf("%d sandboxes run, %d are warm", d.count(), m.Warm())
		}
		acquire(t, m, "api_idle").Release() // by a connection that is still there
		busy.Release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d.count() != 0 {
			t.Errorf("%d sandboxes run", d.count())
		}
	}, func(c *ManagerConfig) {
		c.WarmMemory = 1 << 30
		c.Plan = func(context.Context, string) (Plan, error) {
			return Plan{Shares: []Share{{Version: 1, Weight: 1}}, Scale: Scale{Min: 1}}, nil
		}
	})
}
