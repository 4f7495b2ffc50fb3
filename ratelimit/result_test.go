package ratelimit

import (
	"net/http"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	l, c := newTestLimiter()
	key := Check{Key: "k", Policy: "key", Limit: Limit{100, time.Minute}}
	plan := Check{Key: "u", Policy: "plan", Limit: Limit{2, 24 * time.Hour}}
	allow := func() http.Header {
		r := l.Allow(key, plan)
		h := http.Header{}
		r.SetHeaders(h)
		return h
	}
	want := func(h http.Header, name, value string) {
		t.Helper()
		if got := h.Get(name); got != value || len(h.Values(name)) > 1 {
			t.Errorf("%s: %q, want %q", name, h.Values(name), value)
		}
	}
	h := allow()
	want(h, "RateLimit-Policy", `"key";q=100;w=60, "plan";q=2;w=86400`)
	want(h, "RateLimit", `"key";r=99;t=1, "plan";r=1;t=43200`)
	want(h, "Retry-After", "")
	c.advance(300 * time.Millisecond)
	allow()
	h = allow()
	want(h, "RateLimit-Policy", `"key";q=100;w=60, "plan";q=2;w=86400`)
	want(h, "RateLimit", `"key";r=98;t=1, "plan";r=0;t=86400`)
	want(h, "Retry-After", "43200")
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		1: "1", time.Second: "1", time.Second + 1: "2", 90*time.Minute - time.Millisecond: "5400",
	} {
		r := Result{RetryAfter: wait}
		r.add(State{Policy: "key", Limit: Limit{1, time.Second}})
		h := http.Header{}
		r.SetHeaders(h)
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After %q, want %q", wait, got, want)
		}
	}
}

func TestNoLimitNoHeaders(t *testing.T) {
	l, _ := newTestLimiter()
	r := l.Allow(Check{Key: "k", Policy: "key"})
	h := http.Header{}
	r.SetHeaders(h)
	if len(h) != 0 {
		t.Fatalf("%v", h)
	}
}

func TestPolicyNameCannotBreakTheHeader(t *testing.T) {
	l, _ := newTestLimiter()
	r := l.Allow(Check{Key: "k", Policy: "a\"b\\c\r\nX-Evil: 1\x00é", Limit: Limit{1 << 60, 1500 * time.Millisecond}})
	h := http.Header{}
	r.SetHeaders(h)
	want := `"a\"b\\c??X-Evil: 1??";q=999999999999999;w=2`
	if got := h.Get("RateLimit-Policy"); got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}
