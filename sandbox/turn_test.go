package sandbox

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestManyStartsTakeTurns calls many APIs at once: no start runs out of time because of the others.
func TestManyStartsTakeTurns(t *testing.T) {
	var busy, most atomic.Int64
	managed(t, func(o order, s *fakeSandbox) {
		// The order comes when the turn is over: what takes long here holds up nobody.
		time.Sleep(20 * time.Second)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.beforeWaiting = func() {
			most.Store(max(most.Load(), busy.Add(1)))
			time.Sleep(time.Second)
			busy.Add(-1)
		}
		var group sync.WaitGroup
		began := time.Now()
		for n := range 100 {
			group.Go(func() {
				if l, err := m.Acquire(t.Context(), fmt.Sprint("api_", n)); err != nil {
					t.Errorf("after %v: %v", time.Since(began), err)
				} else {
					l.Release()
				}
			})
		}
		group.Wait()
		turns := int64(2 * runtime.NumCPU())
		if most.Load() != turns {
			t.Errorf("%d started at a time, want %d", most.Load(), turns)
		}
		if took, want := time.Since(began), time.Duration(100/turns+20+1)*time.Second; took > want {
			t.Errorf("it took %v, want at most %v", took, want)
		}
	})
}
