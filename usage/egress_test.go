package usage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// sums is a store whose answers may be lost.
type sums struct {
	down, deaf atomic.Bool // nothing is stored; it is, and the answer is lost
	last       map[string]int64
	total      atomic.Int64
	batches    atomic.Int64
}

func (s *sums) AddEgress(_ context.Context, b store.EgressBatch) error {
	s.batches.Add(1)
	if s.down.Load() {
		return errors.New("away")
	}
	if b.Number > s.last[b.Source] {
		s.last[b.Source] = b.Number
		for _, u := range b.Uses {
			s.total.Add(u.Connections)
		}
	}
	if s.deaf.Load() {
		return errors.New("the answer is lost")
	}
	return nil
}

// TestEgressIsStoredOnce has the store fail in both ways between counts.
func TestEgressIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sums{last: map[string]int64{}}
		var counted atomic.Int64
		e := NewEgress(to, func() (uses []store.EgressUse) {
			if n := counted.Swap(0); n > 0 {
				uses = append(uses, store.EgressUse{APIID: "a", To: "x:443", Connections: n})
			}
			return uses
		}, zap.NewNop())
		e.Start()
		wait := func(n int64, want int64) {
			t.Helper()
			counted.Add(n)
			time.Sleep(egressEvery + time.Millisecond)
			synctest.Wait()
			if got := to.total.Load(); got != want {
				t.Errorf("%d are stored, want %d", got, want)
			}
		}
		wait(0, 0)
		if n := to.batches.Load(); n != 0 {
			t.Errorf("%d batches of nothing", n)
		}
		wait(1, 1)
		to.deaf.Store(true)
		wait(10, 11)
		wait(100, 11) // the batch before is sent again
		to.deaf.Store(false)
		wait(0, 111)
		to.down.Store(true)
		wait(1000, 111)
		wait(0, 111)
		to.down.Store(false)
		wait(0, 1111)
		counted.Store(10000)
		if err := e.Flush(t.Context()); err != nil || to.total.Load() != 11111 {
			t.Errorf("after Flush: %d, %v", to.total.Load(), err)
		}
		counted.Store(100000)
		if err := e.Stop(t.Context()); err != nil || to.total.Load() != 111111 {
			t.Errorf("after Stop: %d, %v", to.total.Load(), err)
		}
	})
}

// hanging is a store that does not answer while somebody waits for it.
type hanging struct{ asked chan struct{} }

func (h hanging) AddEgress(ctx context.Context, _ store.EgressBatch) error {
	h.asked <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestNobodyWaitsLongerForItsTurn than its context lasts, while the store does not answer others.
func TestNobodyWaitsLongerForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{}, 2)}
		e := NewEgress(h, func() []store.EgressUse { return []store.EgressUse{{APIID: "a"}} }, zap.NewNop())
		e.Start()
		<-h.asked
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Stop(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("Stop: %v", err)
		}
	})
}
