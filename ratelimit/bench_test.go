package ratelimit

import (
	"fmt"
	"testing"
	"time"
)

func TestAllowDoesNotAllocate(t *testing.T) {
	l := New(nil)
	checks := threeChecks()
	n := testing.AllocsPerRun(1000, func() {
		r := l.Allow(checks[0], checks[1], checks[2])
		if len(r.States()) != 3 {
			t.Fatal("states are missing")
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations a call", n)
	}
}

func threeChecks() [3]Check {
	return [3]Check{
		{Key: "key_q3f5abcdefghijkl", Policy: "key", Limit: Limit{1_000_000_000, time.Second}, Place: new(Place)},
		{Key: "user_q3f5abcdefghijkl", Policy: "plan", Limit: Limit{1_000_000_000, time.Second}, Place: new(Place)},
		{Key: "api_q3f5abcdefghijkl", Policy: "api", Limit: Limit{1_000_000_000, time.Second}, Place: new(Place)},
	}
}

func BenchmarkAllowThreeChecks(b *testing.B) {
	l, c := New(nil), threeChecks()
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(c[0], c[1], c[2])
	}
}

func BenchmarkAllowThreeChecksParallel(b *testing.B) {
	l, c := New(nil), threeChecks()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Allow(c[0], c[1], c[2])
		}
	})
}

func BenchmarkAllowAmongManyKeys(b *testing.B) {
	l := New(nil)
	checks := make([]Check, 100_000)
	for i := range checks {
		checks[i] = Check{Key: fmt.Sprintf("key_%016d", i), Policy: "key", Limit: Limit{1000, time.Hour}}
		l.Allow(checks[i])
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(checks[i%len(checks)], checks[(i*7919)%len(checks)], checks[(i*104729)%len(checks)])
		i++
	}
}
