package gateway_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	fixed    = flag.Float64("rate", 0, "requests a second of BenchmarkLatency; 0: half of what the gateway answers at most")
	openSpan = flag.Duration("open", 5*time.Second, "how long each turn of BenchmarkLatency lasts")
)

// openConnections are enough for a rate that half fills the gateway.
const openConnections = 64

// BenchmarkLatency sends requests at times that do not depend on the answers (an open loop), at half of the rate that saturates the
// gateway, to the program without a proxy and through the proxies in turns, and reports what each adds to the program's own
// times. A request that waits for its connection has waited. It is meant for -benchtime 1x.
func BenchmarkLatency(b *testing.B) {
	if !wants("apibuilder") {
		b.Skip("-only leaves out apibuilder, whose rate it needs")
	}
	// The replaced platform cannot keep up with such a rate.
	peers := slices.DeleteFunc(startPeers(b), func(p *peer) bool { return p.smallOnly })
	ours := peers[slices.IndexFunc(peers, func(p *peer) bool { return p.name == "apibuilder" })]
	for b.Loop() {
		rate := *fixed
		if rate == 0 {
			var rates []figure
			for range *rounds {
				rates = append(rates, ours.run(b, load{path: "/json", connections: openConnections}))
			}
			rate = middle(rates, figure.rate) / 2
		}
		times := map[string][][]time.Duration{}
		for range *rounds {
			for _, p := range peers {
				times[p.name] = append(times[p.name], p.open(b, rate))
			}
		}
		reportLatency(b, peers, times, rate)
	}
}

func reportLatency(b *testing.B, peers []*peer, times map[string][][]time.Duration, rate float64) {
	b.Helper()
	average, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\n%.0f requests a second, open loop (median of %d, load %s)\n", rate, *rounds, strings.Fields(string(average))[0])
	fmt.Printf("%-22s %10s %10s %10s %10s\n", "", "p50 ms", "added", "p99 ms", "added")
	for _, p := range peers {
		p50, more50 := added(times[p.name], times["no proxy"], 0.5)
		p99, more99 := added(times[p.name], times["no proxy"], 0.99)
		fmt.Printf("%-22s %10.3f %10.3f %10.3f %10.3f\n", p.name, p50, more50, p99, more99)
		if p.name == "apibuilder" {
			b.ReportMetric(more50, "ms-p50")
			b.ReportMetric(more99, "ms-p99")
		}
	}
}

// added returns a percentile and by how much it is more than the program's own in the same round, both as medians of the rounds and in
// milliseconds.
func added(all, program [][]time.Duration, part float64) (value, more float64) {
	var values, mores []float64
	for i := range all {
		v := at(all[i], part)
		values, mores = append(values, v), append(mores, v-at(program[i], part))
	}
	slices.Sort(values)
	slices.Sort(mores)
	return values[len(values)/2], mores[len(mores)/2]
}

// at is a percentile of sorted times, in milliseconds.
func at(times []time.Duration, part float64) float64 {
	return times[int(float64(len(times)-1)*part)].Seconds() * 1e3
}
