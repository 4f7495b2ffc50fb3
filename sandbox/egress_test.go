package sandbox

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// A program that has no network and looks for one is told so once, where it says so, and in the error of a start.
func TestAProgramThatMissesANetwork(t *testing.T) {
	const sign = "socket.gaierror: [Errno -3] Temporary failure in name resolution"
	for name, c := range map[string]struct {
		policy string
		advice int
	}{"none": {"none", 1}, "some": {"internet", 0}} {
		t.Run(name, func(t *testing.T) {
			policy, err := egress.Parse(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			var lines []Line
			managed(t, func(o order, s *fakeSandbox) {
				s.output(Line{Stream: "stderr", Text: sign})
				s.output(Line{Stream: "stderr", Text: sign})
				s.say(event{Event: "failed", Reason: StartupFailed, Detail: "Traceback\n" + sign + "\n"})
			}, func(t *testing.T, m *Manager, _ *fakeDriver) {
				_, err := m.Acquire(t.Context(), "api_a")
				exit, ok := errors.AsType[*Exit](err)
				if !ok || strings.Count(exit.Detail, noNetwork) != c.advice {
					t.Errorf("error %+v", err)
				}
				var told []Line
				for _, l := range lines {
					if l.Stream == "egress" {
						told = append(told, l)
					}
				}
				if len(told) != c.advice || c.advice > 0 && told[0].Text != noNetwork {
					t.Errorf("told %+v", told)
				}
			}, func(cfg *ManagerConfig) {
				cfg.Egress = egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: policy}})
				cfg.OnOutput = func(_ string, _ int, l Line) { lines = append(lines, l) }
				cfg.Source = func(_ context.Context, api string, version int) (Spec, error) {
					return Spec{API: api, Version: version, Egress: policy}, nil
				}
			})
		})
	}
}
