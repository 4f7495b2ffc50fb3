package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/ratelimit"
	"apibuilder/store"
	"apibuilder/usage"
)

// away is a store that takes no records, so that what is measured is the way of a request alone.
type away struct{}

func (away) AddUsage(context.Context, []store.Usage) error { return errors.New("away") }

// BenchmarkCountingCost reports the CPU time that a request pays for being counted: three limits, with and without three monthly
// quotas, and the record in the journal file. CPU time, because the time on the wall is longer where others use the machine.
func BenchmarkCountingCost(b *testing.B) {
	hour := func(policy string) ratelimit.Check {
		return ratelimit.Check{Policy: policy, Key: policy + "_q3f5abcdefghijkl", Limit: ratelimit.Limit{Requests: 1e9, Per: time.Second}}
	}
	quota := func(policy string) ratelimit.Quota {
		return ratelimit.Quota{Policy: policy, Key: policy + "_q3f5abcdefghijkl", Requests: 1 << 40}
	}
	for name, quotas := range map[string]bool{"limits": false, "limits and quotas": true} {
		b.Run(name, func(b *testing.B) {
			j, err := usage.Open(b.TempDir(), away{}, usage.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := j.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = j.Stop(context.Background()) }() // what is left stays in the test's directory
			g := &Gateway{config: Config{}.withDefaults(), limiter: ratelimit.New(nil), journal: j}
			e := &entry{id: "api_q3f5abcdefghijkl", checks: []ratelimit.Check{hour("plan"), hour("api")}}
			p := &pass{keyID: "key_q3f5abcdefghijkl", checks: []ratelimit.Check{hour("key")}}
			if quotas {
				e.quotas, p.quotas = []ratelimit.Quota{quota("plan"), quota("api")}, []ratelimit.Quota{quota("key")}
			}
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://x/run/x/items/1", nil)
			if err != nil {
				b.Fatal(err)
			}
			a := &answer{gateway: g, request: r, head: new(answerHead), status: 200, written: 512}
			id := newRequestID(time.Now())
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				now := time.Now()
				a.start, a.kept = now, false
				if word := g.charge(a, r, e, p); word != "" {
					b.Fatal(word)
				}
				a.usage = &store.Usage{
					ID: id, APIID: e.id, Version: 3, KeyID: p.keyID, Time: now, Method: "GET", Path: "/items/1", Node: "node-1",
				}
				a.record()
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime(b *testing.B) int64 {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
