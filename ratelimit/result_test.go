package ratelimit

import (
	"testing"
	"time"
)

func TestFields(t *testing.T) {
	l, c := newTestLimiter()
	key := Check{Key: "k", Policy: "key", Limit: Limit{100, time.Minute}}
	plan := Check{Key: "u", Policy: "plan", Limit: Limit{2, 24 * time.Hour}}
	const policy = `"key";q=100;w=60, "plan";q=2;w=86400`
	allow := func() Fields {
		r := l.Allow(key, plan)
		return r.Fields()
	}
	if got, want := allow(), (Fields{policy, `"key";r=99;t=1, "plan";r=1;t=43200`, ""}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	c.advance(300 * time.Millisecond)
	allow()
	if got, want := allow(), (Fields{policy, `"key";r=98;t=1, "plan";r=0;t=86400`, "43200"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		1: "1", time.Second: "1", time.Second + 1: "2", 90*time.Minute - time.Millisecond: "5400",
	} {
		r := Result{RetryAfter: wait}
		r.add(State{Policy: "key", Limit: Limit{1, time.Second}})
		if got := r.Fields().RetryAfter; got != want {
			t.Errorf("%v: Retry-After %q, want %q", wait, got, want)
		}
	}
}

func TestNoLimitNoFields(t *testing.T) {
	l, _ := newTestLimiter()
	r := l.Allow(Check{Key: "k", Policy: "key"})
	if got := r.Fields(); got != (Fields{}) {
		t.Fatalf("%q", got)
	}
}

func TestPolicyNameCannotBreakTheField(t *testing.T) {
	l, _ := newTestLimiter()
	r := l.Allow(Check{Key: "k", Policy: "a\"b\\c\r\nX-Evil: 1\x00é", Limit: Limit{1 << 60, 1500 * time.Millisecond}})
	want := `"a\"b\\c??X-Evil: 1??";q=999999999999999;w=2`
	if got := r.Fields().Policy; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}
