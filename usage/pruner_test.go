package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
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

func settled(context.Context) error { return nil }

func TestPruner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &old{left: 3 * pruneMost}
		p := NewPruner(o, 90*24*time.Hour, settled, time.Now, zap.NewNop())
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
		p := NewPruner(o, 0, settled, time.Now, zap.NewNop())
		p.Start()
		synctest.Wait()
		if !o.records.IsZero() || !o.hours.IsZero() {
			t.Errorf("%+v", o)
		}
		_ = p.Stop(t.Context())
		_ = NewPruner(o, 0, settled, time.Now, zap.NewNop()).Stop(t.Context()) // one that was not started
	})
}

// forgetting is a store that knows records by their ids, until they are removed.
type forgetting struct {
	mu      sync.Mutex
	records map[string]store.Usage
	counted int
}

func (f *forgetting) AddUsage(_ context.Context, records []store.Usage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		if _, known := f.records[r.ID]; !known {
			f.counted++
			f.records[r.ID] = r
		}
	}
	return nil
}

func (f *forgetting) PruneUsage(_ context.Context, before, _ time.Time, _ int) (n int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.records {
		if r.Time.Before(before) {
			delete(f.records, id)
			n++
		}
	}
	return n, nil
}

func (f *forgetting) counts() (all, kept int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted, len(f.records)
}

// A server that has little to do writes to one file of the journal for months. When it is killed, what was removed from the store meanwhile
// does not come again.
func TestWhatIsRemovedDoesNotComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, st := t.TempDir(), &forgetting{records: map[string]store.Usage{}}
		first, _ := Open(dir, st, Options{BatchEvery: time.Minute, SyncEvery: time.Hour})
		if err := first.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := NewPruner(st, 24*time.Hour, first.Settle, time.Now, zap.NewNop())
		p.Start()
		for i := range 72 {
			if err := first.Record(store.Usage{ID: fmt.Sprint("r", i), Time: time.Now()}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
		}
		synctest.Wait()       // the pruner's turn is at the same time
		killed := t.TempDir() // as it is at that moment
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		_ = errors.Join(p.Stop(t.Context()), first.Stop(t.Context()))
		second, _ := Open(killed, st, Options{})
		if err := second.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := second.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if all, kept := st.counts(); all != 72 || kept > 26 {
			t.Errorf("72 records were counted as %d; %d are kept", all, kept)
		}
		if err := second.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Nothing is removed while something waits to be delivered, which may be in the store already.
func TestPrunerWaitsForJournals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &old{left: 1}
		var settles atomic.Bool
		p := NewPruner(o, time.Hour, func(context.Context) error {
			if !settles.Load() {
				return errors.New("away")
			}
			return nil
		}, time.Now, zap.NewNop())
		p.Start()
		synctest.Wait()
		if o.calls != 0 {
			t.Error("it removes before it has settled")
		}
		o.set(1, nil)
		settles.Store(true)
		time.Sleep(pruneEvery)
		synctest.Wait()
		if o.left != 0 {
			t.Error("it removes nothing afterwards")
		}
		_ = p.Stop(t.Context())
	})
}

// TestPrunerGoesByTheClockThatItIsGiven, whatever the machine's says.
func TestPrunerGoesByTheClockThatItIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &old{left: 1}
		believed := time.Now().Add(-1000 * time.Hour)
		p := NewPruner(o, time.Hour, settled, func() time.Time { return believed }, zap.NewNop())
		p.Start()
		synctest.Wait()
		if want := believed.Add(-time.Hour); !o.records.Equal(want) || !o.hours.Equal(believed.Add(-HoursKept)) {
			t.Errorf("records from before %v are removed, hours from before %v", o.records, o.hours)
		}
		_ = p.Stop(t.Context())
	})
}
