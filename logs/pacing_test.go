package logs

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestSearchesThatLastLeaveProcessorsToOthers has time pass in the place of work.
func TestSearchesThatLastLeaveProcessorsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work := func(p *pacing, rounds int, each time.Duration) time.Duration {
			began := time.Now()
			for range rounds {
				time.Sleep(each)
				p.pause(t.Context())
			}
			return time.Since(began)
		}
		short := newPacing()
		if took := work(&short, 40, time.Millisecond); took != 40*time.Millisecond {
			t.Errorf("40 ms of work take %v", took)
		}
		for _, each := range []time.Duration{100 * time.Microsecond, time.Millisecond, 7 * time.Millisecond} {
			p := newPacing()
			rounds := int(time.Second / each)
			took := work(&p, rounds, each)
			if least, most := 3*time.Second, searchShare*time.Second; took < least || took > most {
				t.Errorf("a second of work, a break after each %v at most, takes %v, want %v to %v", each, took, least, most)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := newPacing()
		time.Sleep(time.Hour)
		p.pause(ctx)
		began := time.Now()
		time.Sleep(time.Millisecond)
		if p.pause(ctx); time.Since(began) != time.Millisecond {
			t.Errorf("a break lasts %v when nobody waits for the search", time.Since(began))
		}
	})
}
