package sandbox

import (
	"testing"
	"testing/synctest"
	"time"
)

func scaled(s Scale) func(*ManagerConfig) {
	p := &plans{plan: Plan{Shares: []Share{{1, 1}}, Scale: s}}
	return p.use
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		scale               Scale
		weight, all         int
		wantLeast, wantMost int
	}{
		{Scale{}, 1, 1, 0, 1},
		{Scale{Isolated: true}, 1, 1, 0, DefaultIsolated},
		{Scale{Min: 3}, 1, 1, 3, 3},
		{Scale{Min: 2, Max: 10}, 90, 100, 2, 9},
		{Scale{Min: 2, Max: 10}, 10, 100, 1, 1},
		{Scale{Max: 4}, 1, 1000, 0, 1},
	} {
		if least, most := c.scale.bounds(c.weight, c.all); least != c.wantLeast || most != c.wantMost {
			t.Errorf("%+v at %d of %d: %d to %d", c.scale, c.weight, c.all, least, most)
		}
	}
}

func TestAFleetGrowsWithItsRequestsAndShrinksAfterwards(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		var leases []*Lease
		for range 10 {
			leases = append(leases, acquire(t, m, "api_a"))
			synctest.Wait()
		}
		if d.count() != 4 {
			t.Errorf("%d instances for 10 requests with a target of 2 and at most 4", d.count())
		}
		next := acquire(t, m, "api_a")
		for _, i := range m.apis["api_a"].fleets[0].instances {
			if i.inflight.Load() < next.inflight.Load()-1 {
				t.Errorf("a request went to an instance with %d, while another has %d", next.inflight.Load(), i.inflight.Load())
			}
		}
		next.Release()
		for _, l := range leases[1:] {
			l.Release()
		}
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{29 * time.Second, 4}, {20 * time.Second, 1}} {
			time.Sleep(c.after)
			if d.count() != c.want {
				t.Errorf("%d instances %v after the burst, want %d", d.count(), c.after, c.want)
			}
		}
		if leases[0].Instance.Exit() != nil {
			t.Error("the busy one was ended")
		}
		leases[0].Release()
	}, scaled(Scale{Target: 2, Max: 4}))
}

func TestAShortLullEndsNothing(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		for range 20 {
			var leases []*Lease
			for range 3 {
				leases = append(leases, acquire(t, m, "api_a"))
				synctest.Wait()
			}
			for _, l := range leases {
				l.Release()
			}
			time.Sleep(20 * time.Second)
		}
		if d.launches() != 3 || d.count() != 3 {
			t.Errorf("%d launches, %d run", d.launches(), d.count())
		}
	}, scaled(Scale{Target: 1, Max: 3}))
}

func TestWithoutATargetOneInstanceServesAll(t *testing.T) {
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		for range 50 {
			defer acquire(t, m, "api_a").Release()
		}
		synctest.Wait()
		if d.launches() != 1 {
			t.Errorf("%d launches", d.launches())
		}
	}, scaled(Scale{Max: 5}))
}
