package usage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// old is what a pruner is asked for; it has so many rows to remove.
type old struct {
	mu             sync.Mutex
	left           int64
	records, hours time.Time
	calls          int
	err            error
}

func (o *old) PruneUsage(_ context.Context, records, hours time.Time, most int) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	o.records, o.hours = records, hours
	n := min(o.left, int64(most))
	o.left -= n
	return n, o.err
}

func (o *old) set(left int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left, o.err = left, err
}

func TestPruner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &old{left: 3 * pruneMost}
		p := NewPruner(o, 90*24*time.Hour, zap.NewNop())
		begin := time.Now()
		p.Start()
		synctest.Wait()
		if o.left != 0 || o.calls != 4 || !o.records.Equal(begin.Add(-90*24*time.Hour)) || !o.hours.Equal(begin.Add(-HoursKept)) {
			t.Errorf("at the start: %+v", o)
		}
		o.set(1, errors.New("away"))
		time.Sleep(pruneEvery)
		synctest.Wait()
		o.set(5, nil)
		time.Sleep(pruneEvery)
		synctest.Wait()
		if o.left != 0 || o.calls != 7 {
			t.Errorf("after a failure: %+v", o)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPrunerKeepsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &old{}
		p := NewPruner(o, 0, zap.NewNop())
		p.Start()
		synctest.Wait()
		if !o.records.IsZero() || o.hours.IsZero() {
			t.Errorf("%+v", o)
		}
		_ = p.Stop(t.Context())
		_ = NewPruner(o, 0, zap.NewNop()).Stop(t.Context()) // one that was not started
	})
}
