package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// clock is a time that tests set.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func newTestLimiter() (*Limiter, *clock) {
	c := &clock{}
	c.nanos.Store(int64(1_700_000_000 * time.Second))
	return New(c.now), c
}

func check(key string, n int, per time.Duration) Check {
	return Check{Key: key, Policy: "key", Limit: Limit{n, per}}
}

func TestBurstThenEvenRefill(t *testing.T) {
	l, c := newTestLimiter()
	ch := check("k", 60, time.Minute)
	for i := range 60 {
		r := l.Allow(ch)
		if !r.Allowed || r.States()[0].Remaining != 59-i {
			t.Fatalf("request %d: %+v", i, r)
		}
	}
	r := l.Allow(ch)
	if r.Allowed || r.RetryAfter != time.Second || r.Denied != ch {
		t.Fatalf("request 61: %+v", r)
	}
	if s := r.States()[0]; s.Remaining != 0 || s.Reset != time.Minute {
		t.Fatalf("state on denial: %+v", s)
	}
	c.advance(r.RetryAfter - 1)
	if r := l.Allow(ch); r.Allowed || r.RetryAfter != 1 {
		t.Fatalf("a nanosecond early: %+v", r)
	}
	c.advance(1)
	if r := l.Allow(ch); !r.Allowed {
		t.Fatalf("after RetryAfter: %+v", r)
	}
	if r := l.Allow(ch); r.Allowed {
		t.Fatal("two requests came back after one interval")
	}
	c.advance(time.Hour)
	if r := l.Allow(ch); !r.Allowed || r.States()[0].Remaining != 59 {
		t.Fatalf("after an idle hour: %+v", r)
	}
}

func TestDeniedRequestCostsNothing(t *testing.T) {
	l, c := newTestLimiter()
	wide, narrow := check("wide", 100, time.Minute), check("narrow", 1, time.Hour)
	if r := l.Allow(wide, narrow); !r.Allowed {
		t.Fatal("first request denied")
	}
	for range 1000 {
		if r := l.Allow(wide, narrow); r.Allowed || r.Denied != narrow || r.RetryAfter != time.Hour {
			t.Fatalf("second request: %+v", r)
		}
	}
	r := l.Allow(wide)
	if got := r.States()[0].Remaining; got != 98 {
		t.Fatalf("wide has %d left, want 98", got)
	}
	if r := l.Allow(check("new", 5, time.Minute), narrow); r.Allowed || l.Len() != 2 {
		t.Fatalf("a denied request left a trace: %d keys", l.Len())
	}
	c.advance(time.Hour)
	if r := l.Allow(wide, narrow); !r.Allowed {
		t.Fatalf("after RetryAfter: %+v", r)
	}
}

func TestLongestWaitIsReported(t *testing.T) {
	l, _ := newTestLimiter()
	a, b, c := check("a", 1, time.Minute), check("b", 1, time.Hour), check("c", 1, time.Second)
	l.Allow(a, b, c)
	if r := l.Allow(a, b, c); r.Denied != b || r.RetryAfter != time.Hour || len(r.States()) != 3 {
		t.Fatalf("%+v", r)
	}
}

func TestUnlimitedLeavesNoTrace(t *testing.T) {
	l, _ := newTestLimiter()
	for range 10 {
		r := l.Allow(Check{Key: "a", Policy: "key"}, check("b", 0, time.Second), check("c", 5, 0), check("d", -1, -1))
		if !r.Allowed || len(r.States()) != 0 || l.Len() != 0 {
			t.Fatalf("%+v, %d keys", r, l.Len())
		}
	}
	if r := l.Allow(); !r.Allowed {
		t.Fatal("no check is a denial")
	}
}

func TestPolicyAndKeyAreCountedApart(t *testing.T) {
	l, _ := newTestLimiter()
	a := Check{Key: "x", Policy: "key", Limit: Limit{1, time.Hour}}
	b := Check{Key: "x", Policy: "plan", Limit: Limit{1, time.Hour}}
	first, second := l.Allow(a), l.Allow(b)
	if !first.Allowed || !second.Allowed {
		t.Fatal("one policy's key used up another's")
	}
}

func TestOneKeyTwiceInACallIsChargedTwice(t *testing.T) {
	l, _ := newTestLimiter()
	c := check("k", 3, time.Hour)
	if r := l.Allow(c, c); !r.Allowed {
		t.Fatal("two of three denied")
	}
	if r := l.Allow(c, c); r.Allowed {
		t.Fatal("four of three admitted")
	}
	if r := l.Allow(c); !r.Allowed {
		t.Fatal("the third was charged by a denied call")
	}
}

func TestMoreChecksThanFitInline(t *testing.T) {
	l, _ := newTestLimiter()
	var checks []Check
	for i := range 3 * inlineStates {
		checks = append(checks, check(fmt.Sprint(i), 2, time.Hour))
	}
	for want := 1; want >= 0; want-- {
		r := l.Allow(checks...)
		if !r.Allowed || len(r.States()) != len(checks) {
			t.Fatalf("%+v", r)
		}
		for i, s := range r.States() {
			if s.Remaining != want {
				t.Fatalf("check %d has %d left, want %d", i, s.Remaining, want)
			}
		}
	}
	if r := l.Allow(checks...); r.Allowed {
		t.Fatal("third of two admitted")
	}
}

func TestChangedLimitAppliesAtOnce(t *testing.T) {
	l, _ := newTestLimiter()
	for range 10 {
		l.Allow(check("k", 10, time.Hour))
	}
	if r := l.Allow(check("k", 1000, time.Second)); r.Allowed || r.RetryAfter > time.Millisecond {
		t.Fatalf("raised limit: %+v", r)
	}
	for range 50 {
		l.Allow(check("j", 100, time.Minute))
	}
	if r := l.Allow(check("j", 1, time.Minute)); r.Allowed || r.RetryAfter > time.Minute {
		t.Fatalf("lowered limit: %+v", r)
	}
}

func TestClockThatGoesBackwardsIsHarmless(t *testing.T) {
	l, c := newTestLimiter()
	ch := check("k", 10, time.Minute)
	for range 10 {
		l.Allow(ch)
	}
	c.advance(-1000 * time.Hour)
	if r := l.Allow(ch); r.Allowed || r.RetryAfter > 6*time.Second {
		t.Fatalf("after the jump: %+v", r)
	}
	c.advance(6 * time.Second)
	for range 2 {
		l.Allow(ch)
	}
	c.advance(time.Minute)
	for i := range 10 {
		if r := l.Allow(ch); !r.Allowed {
			t.Fatalf("request %d of the next burst denied: %+v", i, r)
		}
	}
}

func TestRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		ch := check("k", 2, 10*time.Second)
		l.Allow(ch)
		l.Allow(ch)
		r := l.Allow(ch)
		if r.Allowed {
			t.Fatal("third of two admitted")
		}
		time.Sleep(r.RetryAfter)
		if r := l.Allow(ch); !r.Allowed {
			t.Fatal("denied after RetryAfter")
		}
	})
}

func TestIdleKeysVanish(t *testing.T) {
	l, c := newTestLimiter()
	const many = 50_000
	for i := range many {
		l.Allow(check(fmt.Sprint(i), 10, time.Second))
	}
	if l.Len() != many {
		t.Fatalf("%d keys in use are remembered as %d", many, l.Len())
	}
	c.advance(time.Minute)
	for range many {
		l.Allow(check("busy", 1_000_000, time.Second))
	}
	if l.Len() != 1 || l.peak > shrinkFrom {
		t.Fatalf("%d keys, room for %d, after all but one went idle", l.Len(), l.peak)
	}
}

func TestStreamOfNewKeysIsBounded(t *testing.T) {
	l, c := newTestLimiter()
	most := 0
	for i := range 50_000 {
		l.Allow(check(fmt.Sprint(i), 1, time.Second))
		c.advance(time.Millisecond)
		most = max(most, l.Len())
	}
	// 1,000 keys are in use at any time.
	if most > 3000 {
		t.Fatalf("%d keys remembered, 1000 in use", most)
	}
}

func TestConcurrentCallersShareOneQuota(t *testing.T) {
	l, c := newTestLimiter()
	var admitted, plan atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				own := Check{Key: fmt.Sprint(g), Policy: "plan", Limit: Limit{400, time.Hour}}
				r := l.Allow(check("shared", 1000, time.Hour), own)
				if r.Allowed {
					admitted.Add(1)
				}
				if r := l.Allow(check(fmt.Sprint("own", g, i), 1, time.Millisecond)); r.Allowed {
					plan.Add(1)
				}
				if i%100 == 0 {
					c.advance(time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 1000 || plan.Load() != 40000 {
		t.Fatalf("admitted %d of 1000 and %d of 40000", admitted.Load(), plan.Load())
	}
}
