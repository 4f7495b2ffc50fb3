package sandbox

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAWakeDoesNotWaitForAStoreThatHangs wakes an API whose plan was read before, and follows the plan that comes late.
func TestAWakeDoesNotWaitForAStoreThatHangs(t *testing.T) {
	var hangs atomic.Bool
	var version atomic.Int64
	version.Store(1)
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		m.Sleep("api_a")
		synctest.Wait()
		time.Sleep(time.Minute)
		hangs.Store(true)
		version.Store(2)
		began := time.Now()
		l := acquire(t, m, "api_a")
		if took := time.Since(began); took > time.Second || l.Instance.Version() != 1 {
			t.Errorf("version %d was woken in %v", l.Instance.Version(), took)
		}
		l.Release()
		time.Sleep(time.Minute) // the store answers after all
		l = acquire(t, m, "api_a")
		if l.Instance.Version() != 2 {
			t.Errorf("version %d serves when the plan has come", l.Instance.Version())
		}
		l.Release()
	}, func(c *ManagerConfig) {
		c.Plan = func(context.Context, string) (Plan, error) {
			if hangs.Load() {
				time.Sleep(10 * time.Second)
			}
			return Plan{Shares: []Share{{int(version.Load()), 1}}}, nil
		}
	})
}

// TestAWakeWaitsForAPlanThatChanged is the same where the manager was told of the change.
func TestAWakeWaitsForAPlanThatChanged(t *testing.T) {
	var slow atomic.Bool
	var version atomic.Int64
	version.Store(1)
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		m.Sleep("api_a")
		synctest.Wait()
		version.Store(2)
		m.Changed("api_a")
		synctest.Wait()
		slow.Store(true)
		l := acquire(t, m, "api_a")
		defer l.Release()
		if l.Instance.Version() != 2 {
			t.Errorf("version %d was woken", l.Instance.Version())
		}
	}, func(c *ManagerConfig) {
		c.Plan = func(context.Context, string) (Plan, error) {
			if slow.Load() {
				time.Sleep(2 * time.Second)
			}
			return Plan{Shares: []Share{{int(version.Load()), 1}}}, nil
		}
	})
}
