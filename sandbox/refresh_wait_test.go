package sandbox

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAWakeDoesNotWaitForAStoreThatHangs wakes an API whose plan was read before, and follows the plan that comes late.
func TestAWakeDoesNotWaitForAStoreThatHangs(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		m.Sleep("api_a")
		synctest.Wait()
		time.Sleep(time.Minute)
		p.hold(10 * time.Second)
		p.set(one(2))
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
	}, p.use)
}

// TestAWakeWaitsForAPlanThatChanged is the same where the manager was told of the change.
func TestAWakeWaitsForAPlanThatChanged(t *testing.T) {
	p := &plans{plan: one(1)}
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		m.Sleep("api_a")
		synctest.Wait()
		p.set(one(2))
		m.Changed("api_a")
		synctest.Wait()
		p.hold(2 * time.Second)
		l := acquire(t, m, "api_a")
		defer l.Release()
		if l.Instance.Version() != 2 {
			t.Errorf("version %d was woken", l.Instance.Version())
		}
	}, p.use)
}
