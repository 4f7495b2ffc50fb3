package ratelimit

import (
	"fmt"
	"testing"
	"time"
)

func TestTransientKeysAreBounded(t *testing.T) {
	clock := time.Unix(0, 0)
	l := New(func() time.Time { return clock })
	l.most = 100
	hour := Limit{2, time.Hour}
	address := func(i int) Check {
		return Check{Key: fmt.Sprint(i), Policy: "address", Limit: hour, Transient: true}
	}
	for i := range 50 { // others, which must not be forgotten
		if r := l.Allow(Check{Key: fmt.Sprint(i), Policy: "key", Limit: Limit{1, time.Hour}}); !r.Allowed {
			t.Fatal(i)
		}
	}
	for i := range 10_000 {
		clock = clock.Add(time.Microsecond)
		if r := l.Allow(address(i)); !r.Allowed {
			t.Fatalf("stranger %d is refused", i)
		}
	}
	if l.Len() != 150 || l.transients != 100 {
		t.Errorf("%d keys, %d of them transient", l.Len(), l.transients)
	}
	for i := range 50 {
		if r := l.Allow(Check{Key: fmt.Sprint(i), Policy: "key", Limit: Limit{1, time.Hour}}); r.Allowed {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	l.Allow(address(1 << 20))
	l.Allow(address(1 << 20))
	if r := l.Allow(address(1 << 20)); r.Allowed {
		t.Error("an address is not limited beside so many")
	}
	clock = clock.Add(2 * time.Hour)
	for range 200 {
		l.Allow(address(0))
	}
	if l.Len() != 1 || l.transients != 1 {
		t.Errorf("after an hour %d keys, %d of them transient", l.Len(), l.transients)
	}
}
