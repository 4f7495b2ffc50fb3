package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// model is GCRA written down without any of the limiter's bookkeeping: it forgets nothing.
type model map[string]int64

func (m model) allow(now int64, checks []Check) bool {
	next := map[string]int64{}
	for _, c := range checks {
		if c.Limit.Unlimited() {
			continue
		}
		id := c.Policy + "\x00" + c.Key
		tat, seen := next[id]
		if !seen {
			tat = m[id]
		}
		interval, window := c.Limit.spans()
		next[id] = max(tat, now) + interval
		if next[id]-now > window {
			return false
		}
	}
	for id, tat := range next {
		m[id] = tat
	}
	return true
}

func TestAgreesWithTheModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l, c := newTestLimiter()
		limits := make([]Limit, 12)
		for i := range limits {
			limits[i] = Limit{rng.IntN(8), time.Duration(rng.Int64N(int64(3 * time.Second)))}
		}
		m := model{}
		places := make([]Place, len(limits)/2) // each for two keys
		for step := range 2000 {
			var checks []Check
			for range rng.IntN(6) {
				k := rng.IntN(len(limits))
				check := Check{Key: fmt.Sprint(k), Policy: "p", Limit: limits[k]}
				if rng.IntN(4) > 0 {
					check.Place = &places[k%len(places)]
				}
				checks = append(checks, check)
			}
			r := l.Allow(checks...)
			want := m.allow(c.nanos.Load(), checks)
			if r.Allowed != want {
				t.Fatalf("seed %d step %d: %+v gives %v, the model says %v", seed, step, checks, r.Allowed, want)
			}
			if r.Allowed != (r.RetryAfter == 0) || r.Allowed != (r.Denied == Check{}) {
				t.Fatalf("seed %d step %d: inconsistent result %+v", seed, step, r)
			}
			if rng.IntN(3) == 0 {
				c.advance(time.Duration(rng.Int64N(int64(time.Second))))
			}
		}
	}
}

func TestNoWindowAdmitsMoreThanTheRule(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		l, c := newTestLimiter()
		limit := Limit{1 + rng.IntN(20), time.Duration(1 + rng.Int64N(int64(time.Second)))}
		var admitted []int64
		for range 1500 {
			if r := l.Allow(Check{Key: "k", Limit: limit}); r.Allowed {
				admitted = append(admitted, c.nanos.Load())
			}
			c.advance(time.Duration(rng.ExpFloat64() * float64(limit.Per) / float64(limit.Requests) / 2))
		}
		n, p := int64(limit.Requests), int64(limit.Per)
		for i := range admitted {
			for j := i; j < len(admitted); j++ {
				count, w := int64(j-i+1), admitted[j]-admitted[i]
				if count > n+n*w/p {
					t.Fatalf("%v admitted %d in %v", limit, count, time.Duration(w))
				}
			}
		}
	}
}
