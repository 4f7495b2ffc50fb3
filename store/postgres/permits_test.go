package postgres

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

// expect is the rule of package ratelimit/shared, by itself: what a question at a time must leave of a row.
func expect(full, now int64, known bool, a store.PermitAsk) (granted, after int64) {
	step, window := int64(a.Step), a.Burst*int64(a.Step)
	if !known {
		full = 0
	}
	full = min(full, now+window+int64(mostAhead))
	there := a.Burst
	if full > now {
		there = max((now+window-full)/step, 0)
	}
	if granted = min(a.Want, there); granted > 0 {
		full = max(full, now+int64(a.Valid)) + granted*step
	}
	return granted, full
}

// TestPermitsFollowTheRule asks at random and compares each answer with the rule, at the time by the database's clock.
func TestPermitsFollowTheRule(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
	type row struct {
		full  int64
		known bool
	}
	rows := map[string]*row{}
	granted, refused := 0, 0
	for range 300 {
		var asks []store.PermitAsk
		for _, n := range rng.Perm(5)[:1+rng.IntN(5)] {
			asks = append(asks, store.PermitAsk{
				Name: fmt.Sprintf("key it's %d", n), Step: time.Duration(1 + rng.Int64N(int64(20*time.Millisecond))), Burst: 1 + rng.Int64N(20),
				Valid: time.Duration(rng.Int64N(int64(50 * time.Millisecond))), Want: 1 + rng.Int64N(8),
			})
		}
		grants, err := s.LeasePermits(t.Context(), asks)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range asks {
			var full, at, given int64
			err := s.pool.QueryRow(t.Context(), "SELECT full_at_ns, at_ns, granted FROM apibuilder_permits WHERE name = $1", a.Name).Scan(&full, &at, &given)
			if err != nil {
				t.Fatal(err)
			}
			r := rows[a.Name]
			if r == nil {
				r = &row{}
				rows[a.Name] = r
			}
			want, after := expect(r.full, at, r.known, a)
			if given != want || full != after || grants[i].Granted != want {
				t.Fatalf("%+v at %d over %+v: granted %d and full at %d, want %d and %d", a, at, *r, given, full, want, after)
			}
			next, _ := expect(full, at, true, store.PermitAsk{Step: a.Step, Burst: a.Burst, Want: a.Burst})
			g := grants[i]
			if g.Left != next || (g.Left == 0) != (g.Retry > 0) || g.Full != time.Duration(max(full-at, 0)) {
				t.Fatalf("%+v, and there are %d", g, next)
			}
			if g.Left == 0 {
				if one, _ := expect(full, at+int64(g.Retry), true, a); one == 0 {
					t.Fatalf("nothing is there after %v", g.Retry)
				}
			}
			r.full, r.known = full, true
			if granted++; want == 0 {
				refused++
			}
		}
	}
	if refused == 0 || refused == granted {
		t.Errorf("%d of %d questions got nothing", refused, granted)
	}
	pgtest.Exec(t, s.pool.Config().ConnString(), "UPDATE apibuilder_permits SET full_at_ns = 1 WHERE name LIKE '%0'")
	if err := s.purgePermits(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask[int](t, s.pool.Config().ConnString(), "SELECT count(*) FROM apibuilder_permits"); n != 4 {
		t.Errorf("%d rows are left", n)
	}
}

// TestPermitsOfManyAtOnce has connections ask for the same rows in different orders: none waits for ever, and no more is given
// than there is.
func TestPermitsOfManyAtOnce(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	var mu sync.Mutex
	given := map[string]int64{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				var asks []store.PermitAsk
				for _, n := range rand.Perm(8) {
					asks = append(asks, store.PermitAsk{Name: fmt.Sprint(n), Step: time.Hour, Burst: 100, Valid: time.Second, Want: 1})
				}
				grants, err := s.LeasePermits(t.Context(), asks)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, g := range grants {
					given[asks[i].Name] += g.Granted
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, n := range given {
		if n != 100 && n != 99 { // a second of use comes back late, and that is less than one permit
			t.Errorf("%d permits of 100 were given of %s", n, name)
		}
	}
}
