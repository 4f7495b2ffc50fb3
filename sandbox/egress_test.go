package sandbox

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/egress"
)

// A policy that is set while a deploy starts an instance without a network is in force at the first request after the deploy.
func TestAPolicyDuringADeploy(t *testing.T) {
	internet, err := egress.Parse("internet")
	if err != nil {
		t.Fatal(err)
	}
	var policy atomic.Pointer[egress.Policy]
	policy.Store(&egress.Policy{})
	slow := func(o order, s *fakeSandbox) {
		time.Sleep(5 * time.Second)
		s.serve(o, func(http.ResponseWriter, *http.Request) {})
	}
	managed(t, slow, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		go func() {
			time.Sleep(2 * time.Second)
			policy.Store(&internet)
			m.SetEgress("api_a", internet)
		}()
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		launched := d.launches()
		l := acquire(t, m, "api_a")
		if l.Instance.guard == nil || l.Instance.Version() != 2 {
			t.Errorf("version %d serves, with a network: %v", l.Instance.Version(), l.Instance.guard != nil)
		}
		l.Release()
		acquire(t, m, "api_a").Release()
		if n := d.launches() - launched; n > 1 {
			t.Errorf("%d more were started", n)
		}
	}, func(c *ManagerConfig) {
		c.Egress = egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: internet}})
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Egress: *policy.Load()}, nil
		}
	})
}
