package usage

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// sums is a store whose answers may be lost.
type sums struct {
	down, deaf bool // nothing is stored; it is, and the answer is lost
	last       map[string]int64
	total      int64
	batches    int
}

func (s *sums) AddEgress(_ context.Context, b store.EgressBatch) error {
	s.batches++
	if s.down {
		return errors.New("away")
	}
	if b.Number > s.last[b.Source] {
		s.last[b.Source] = b.Number
		for _, u := range b.Uses {
			s.total += u.Connections
		}
	}
	if s.deaf {
		return errors.New("the answer is lost")
	}
	return nil
}

// TestEgressIsStoredOnce has the store fail in both ways between counts.
func TestEgressIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sums{last: map[string]int64{}}
		counted := int64(0)
		e := NewEgress(to, func() (uses []store.EgressUse) {
			if counted > 0 {
				uses = append(uses, store.EgressUse{APIID: "a", To: "x:443", Connections: counted})
			}
			counted = 0
			return uses
		}, zap.NewNop())
		e.Start()
		wait := func(n int64, want int64) {
			t.Helper()
			counted += n
			time.Sleep(egressEvery + time.Millisecond)
			synctest.Wait()
			if to.total != want {
				t.Errorf("%d are stored, want %d", to.total, want)
			}
		}
		wait(0, 0)
		if to.batches != 0 {
			t.Errorf("%d batches of nothing", to.batches)
		}
		wait(1, 1)
		to.deaf = true
		wait(10, 11)
		wait(100, 11) // the batch before is sent again
		to.deaf = false
		wait(0, 111)
		to.down = true
		wait(1000, 111)
		wait(0, 111)
		to.down = false
		wait(0, 1111)
		counted = 10000
		if err := e.Flush(t.Context()); err != nil || to.total != 11111 {
			t.Errorf("after Flush: %d, %v", to.total, err)
		}
		counted = 100000
		if err := e.Stop(t.Context()); err != nil || to.total != 111111 {
			t.Errorf("after Stop: %d, %v", to.total, err)
		}
	})
}
