package ratelimit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var may = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)

// before is what was used before, by key, and how often that was asked.
type before struct {
	mu    sync.Mutex
	used  map[string]int64
	asked int
	err   error
}

func (b *before) read(_ context.Context, q Quota, month time.Time) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.used[q.Key+month.Format(" 01")], b.err
}

func TestMonthlyCountsOnFromWhatWasUsed(t *testing.T) {
	b := &before{used: map[string]int64{"k 05": 97}}
	m := NewMonthly(b.read)
	key, plan := Quota{"key", "k", 100}, Quota{"plan", "k", 0}
	for range 3 {
		if err := m.Take(t.Context(), may, key, plan); err != nil {
			t.Fatal(err)
		}
	}
	err := m.Take(t.Context(), may, plan, key)
	over, ok := errors.AsType[*OverQuota](err)
	if !ok || over.Quota != key || over.RetryAfter != 11*24*time.Hour+12*time.Hour {
		t.Fatalf("%+v", err)
	}
	m.Return(may, key, plan)
	if err := m.Take(t.Context(), may, key); err != nil {
		t.Errorf("after one came back: %v", err)
	}
	if b.asked != 2 {
		t.Errorf("asked %d times", b.asked)
	}
	if err := m.Take(t.Context(), may, Quota{"key", "k", 101}); err != nil {
		t.Errorf("after the quota grew: %v", err)
	}
}

func TestMonthlyChargesAllOrNone(t *testing.T) {
	m := NewMonthly((&before{}).read)
	small, large := Quota{"key", "k", 1}, Quota{"plan", "u", 3}
	if err := m.Take(t.Context(), may, small, large); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := m.Take(t.Context(), may, large, small); err == nil {
			t.Fatal("the small one admitted two")
		}
	}
	for range 2 {
		if err := m.Take(t.Context(), may, large); err != nil {
			t.Errorf("what was refused was charged to the other: %v", err)
		}
	}
}

// What was admitted while there was no quota is asked for when there is one again; when nobody can tell, what was counted counts on.
func TestMonthlyAsksAgainAfterAGap(t *testing.T) {
	b := &before{used: map[string]int64{}}
	m := NewMonthly(b.read)
	q, none := Quota{"plan", "k", 10}, Quota{"plan", "k", 0}
	take := func(want int64) {
		t.Helper()
		n := int64(0)
		for ; m.Take(t.Context(), may, q) == nil; n++ {
		}
		if n != want {
			t.Errorf("%d of %d were admitted", n, want)
		}
		for range n {
			m.Return(may, q)
		}
	}
	m.Found(q)
	if err := m.Take(t.Context(), may, q); err != nil {
		t.Fatal(err)
	}
	m.Found(q)
	take(9)
	b.used["k 05"] = 7
	take(9) // no gap, nothing to ask
	m.Found(none)
	m.Found(none)
	m.Found(q)
	b.err = errors.New("away")
	take(9)
	b.err = nil
	m.Found(q)
	take(3)
	if b.asked != 3 {
		t.Errorf("asked %d times", b.asked)
	}
	// Many at once ask once, and all wait for the answer.
	m.Found(none)
	b.used["k 05"] = 8
	m.Found(q)
	var group sync.WaitGroup
	var admitted atomic.Int64
	for range 20 {
		group.Go(func() {
			if m.Take(t.Context(), may, q) == nil {
				admitted.Add(1)
			}
		})
	}
	group.Wait()
	if n := admitted.Load(); n != 2 || b.asked != 4 {
		t.Errorf("%d of 2 were admitted, asked %d times", n, b.asked)
	}
}

func TestMonthlyBeginsAnew(t *testing.T) {
	b := &before{used: map[string]int64{"k 07": 4}}
	m := NewMonthly(b.read)
	q := Quota{"key", "k", 5}
	last := time.Date(2026, 5, 31, 23, 59, 59, 999, time.UTC)
	for range 5 {
		if err := m.Take(t.Context(), last, q); err != nil {
			t.Fatal(err)
		}
	}
	err := m.Take(t.Context(), last, q)
	if over, ok := errors.AsType[*OverQuota](err); !ok || over.RetryAfter > time.Second {
		t.Fatalf("%+v", err)
	}
	june := last.Add(time.Second).In(time.FixedZone("", -7*3600)) // still May there
	b.err = errors.New("away")
	for range 5 {
		if err := m.Take(t.Context(), june, q); err != nil {
			t.Errorf("the first of June, without the store: %v", err)
		}
	}
	if m.Take(t.Context(), june, q) == nil {
		t.Error("June admitted six")
	}
	m.Return(last, q) // a request of May that ended in June
	if m.Take(t.Context(), june, q) == nil {
		t.Error("it was given back to June")
	}
	if err := m.Take(t.Context(), june, Quota{"key", "other", 5}); !errors.Is(err, b.err) {
		t.Errorf("one that was not counted before: %v", err)
	}
	b.err = nil
	july := june.AddDate(0, 1, 0)
	if err := m.Take(t.Context(), july, q); err != nil {
		t.Error(err)
	}
	if m.Take(t.Context(), july, q) == nil {
		t.Error("what another had used in July was not asked for")
	}
	if len(m.counts) != 2 {
		t.Errorf("%d counters are left", len(m.counts))
	}
}

func TestMonthlyIsExact(t *testing.T) {
	m := NewMonthly((&before{used: map[string]int64{"k 05": 10}}).read)
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if m.Take(context.Background(), may, Quota{"key", "k", 3010}, Quota{"plan", "u", 1 << 40}) == nil {
					if admitted.Add(1)%3 == 0 {
						m.Return(may, Quota{"key", "k", 3010}, Quota{"plan", "u", 1 << 40})
						admitted.Add(-1)
					}
				}
			}
		})
	}
	wg.Wait()
	for m.Take(context.Background(), may, Quota{"key", "k", 3010}) == nil {
		admitted.Add(1)
	}
	if admitted.Load() != 3000 {
		t.Errorf("%d were admitted", admitted.Load())
	}
}

func TestMonthlyAsksOnceForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		asked := 0
		m := NewMonthly(func(context.Context, Quota, time.Time) (int64, error) {
			asked++
			<-answer
			return 0, nil
		})
		q := Quota{"key", "k", 10}
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() { _ = m.Take(t.Context(), may, q) })
		}
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Take(gone, may, q); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		close(answer)
		wg.Wait()
		if asked != 1 || m.Take(t.Context(), may, q) == nil {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestMonthlyAsksAgainAfterAFailure(t *testing.T) {
	b := &before{err: errors.New("away")}
	m := NewMonthly(b.read)
	q := Quota{"key", "k", 1}
	if err := m.Take(t.Context(), may, q); !errors.Is(err, b.err) {
		t.Fatal(err)
	}
	b.err = nil
	if err := m.Take(t.Context(), may, q); err != nil || b.asked != 2 {
		t.Errorf("%v, asked %d times", err, b.asked)
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	m := NewMonthly((&before{}).read)
	q := [3]Quota{{"key", "k", 1 << 40}, {"plan", "u", 1 << 40}, {"api", "a", 1 << 40}}
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { _ = m.Take(ctx, may, q[0], q[1], q[2]) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func BenchmarkTakeThreeQuotas(b *testing.B) {
	m := NewMonthly((&before{}).read)
	q := [3]Quota{{"key", "k", 1 << 40}, {"plan", "u", 1 << 40}, {"api", "a", 1 << 40}}
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Take(context.Background(), may, q[0], q[1], q[2])
	}
}
