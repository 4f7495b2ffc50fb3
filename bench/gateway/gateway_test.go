// Package gateway_test measures the gateway beside other proxies in front of the same uvicorn, in the same run: nginx with
// key check, three limits and access log, HAProxy, Caddy, a bare httputil.ReverseProxy, and the platform that this project
// replaces. Each is a process of its own, so that its CPU time is known; the load comes from wrk, and from h2load where it is HTTP/2, in turns, in
// rounds.
//
// Of `apibuilder` everything on the way of a request is the real thing (keys and limits from an SQLite store, journal,
// limiter, transport) but for the sandboxes: the program is the one that the others have too, which no jail can share. The
// row "apibuilder, sandbox" is a whole server with the program in a sandbox.
package gateway_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	rounds  = flag.Int("rounds", 3, "turns of each proxy at each load")
	span    = flag.Duration("span", time.Second, "how long each turn lasts")
	only    = flag.String("only", "", "proxies to measure, separated by commas; empty: all that can be had")
	match   = flag.String("loads", "", "words that a load's name must have; empty: all loads")
	profile = flag.String("profile", "", "where to write a CPU profile of the gateway")
)

// TestMain is also where the child processes begin that are programs of this package.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// load is one kind of request.
type load struct {
	name        string
	path        string
	connections int
	upload      int
	streams     int  // of each connection, by HTTP/2; 0: HTTP/1.1
	small       bool // the replaced platform is asked too
}

var loads = []load{
	{name: "small JSON, 1 connection", path: "/json", connections: 1, small: true},
	{name: "small JSON, 64 connections", path: "/json", connections: 64, small: true},
	{name: "small JSON by HTTP/2, 1 connection with 1 stream", path: "/json", connections: 1, streams: 1},
	{name: "small JSON by HTTP/2, 8 connections with 8 streams", path: "/json", connections: 8, streams: 8},
	{name: "64 KiB down, 16 connections", path: "/bytes/65536", connections: 16},
	{name: "1 MiB down, 16 connections", path: "/bytes/1048576", connections: 16},
	{name: "64 KiB up, 16 connections", path: "/upload", connections: 16, upload: 64 << 10},
	{name: "1 MiB up, 16 connections", path: "/upload", connections: 16, upload: 1 << 20},
}

// BenchmarkProxies prints a table for each load, with ratios to nginx. It is meant for -benchtime 1x.
func BenchmarkProxies(b *testing.B) {
	peers := startPeers(b)
	for b.Loop() {
		for _, l := range loads {
			if strings.Contains(l.name, *match) {
				measure(b, l, peers)
			}
		}
	}
}

func measure(b *testing.B, l load, peers []*peer) {
	b.Helper()
	figures := map[string][]figure{}
	for range *rounds {
		for _, p := range peers {
			if p.takes(l) {
				figures[p.name] = append(figures[p.name], p.run(b, l))
			}
		}
	}
	average, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\n%s (median of %d, %d cores, load %s)\n", l.name, *rounds, runtime.NumCPU(),
		strings.Join(strings.Fields(string(average))[:1], ""))
	fmt.Printf("%-22s %10s %7s %10s %7s %10s %10s %14s\n", "", "CPU us/req", "/nginx", "requests/s", "/nginx", "p50 ms", "p99 ms", "program us/req")
	for _, p := range peers {
		if f := figures[p.name]; f != nil {
			printRow(p, f, figures["nginx"])
		}
	}
	if ours := figures["apibuilder"]; ours != nil && l.connections == 64 {
		b.ReportMetric(middle(ours, figure.cpuMicros), "us/request")
		b.ReportMetric(ratio(ours, figures["nginx"], figure.cpuMicros), "cpu/nginx")
		b.ReportMetric(ratio(ours, figures["nginx"], figure.rate), "rate/nginx")
	}
}

// takes reports whether a load is for a peer.
func (p *peer) takes(l load) bool {
	if l.streams > 0 {
		return p.second != ""
	}
	return l.small || !p.smallOnly
}

func printRow(p *peer, f, nginx []figure) {
	cpu, cpuRatio, program := "-", "-", "-"
	if len(p.pids) > 0 {
		cpu = fmt.Sprintf("%.1f", middle(f, figure.cpuMicros))
		cpuRatio = fmt.Sprintf("%.2f", ratio(f, nginx, figure.cpuMicros))
	}
	if len(p.program) > 0 {
		program = fmt.Sprintf("%.1f", middle(f, figure.programMicros))
	}
	fmt.Printf("%-22s %10s %7s %10.0f %7.2f %10.3f %10.3f %14s\n", p.name, cpu, cpuRatio,
		middle(f, figure.rate), ratio(f, nginx, figure.rate),
		middle(f, func(f figure) float64 { return f.p50.Seconds() * 1e3 }),
		middle(f, func(f figure) float64 { return f.p99.Seconds() * 1e3 }), program)
}

func middle(all []figure, of func(figure) float64) float64 {
	var values []float64
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// ratio is the median of the rounds' ratios: two turns of one round met the same machine.
func ratio(all, peer []figure, of func(figure) float64) float64 {
	var values []float64
	for i := range min(len(all), len(peer)) {
		values = append(values, of(all[i])/of(peer[i]))
	}
	if values == nil {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
