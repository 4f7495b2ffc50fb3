// Package egress_test compares what a sandbox's network costs with a veth pair and NAT, in the same run: throughput with
// iperf3, the time of a connection and of an exchange, what starting it adds, and what an idle one holds.
package egress_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/egress/netns"
	"apibuilder/egress/netstack"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
)

const (
	server  = "93.184.216.34"
	seconds = "2"
	rounds  = 3

	// Variables: what is measured, of to, from, latency, idle, starts (empty: all); where a CPU profile of the network's process goes.
	parts   = "APIBUILDER_BENCH_EGRESS"
	profile = "APIBUILDER_BENCH_EGRESS_PROFILE"
)

// place is a network namespace and a thread in it.
type place struct {
	name string
	work chan func()
}

func (p *place) do(f func()) {
	done := make(chan struct{})
	p.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// newPlace runs enter on a new thread, which stays where that brought it.
func newPlace(b *testing.B, name string, enter func() error) *place {
	b.Helper()
	p := &place{name: name, work: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		entered <- enter()
		for f := range p.work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { close(p.work) })
	return p
}

func BenchmarkEgress(b *testing.B) {
	var spec sandbox.Spec
	if !nettest.Isolated(b, &spec, func() { spec = testenv.Spec(b, "", "") }) {
		return
	}
	w := nettest.NewWorld(b, server+"/32")
	perf := exec.CommandContext(b.Context(), "iperf3", "-s", "-p", "5201")
	w.Start(perf)
	startEcho(b, w)
	ours, veth := openOurs(b), openVeth(b)
	if path := os.Getenv(profile); path != "" {
		defer startProfile(b, path)()
	}
	for b.Loop() {
		for _, part := range []struct {
			name    string
			measure func()
		}{
			{"to", func() { throughput(b, ours, veth, "to the server") }},
			{"from", func() { throughput(b, ours, veth, "from the server", "-R") }},
			{"latency", func() { latency(b, ours, veth) }},
			{"idle", func() { idle(b) }},
			{"starts", func() { starts(b, spec) }},
		} {
			if only := os.Getenv(parts); only == "" || slices.Contains(strings.Fields(only), part.name) {
				part.measure()
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%d cores, load %s", runtime.NumCPU(), load)
}

// startProfile writes a profile until what it returns is called.
func startProfile(b *testing.B, path string) (stop func()) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		b.Fatal(err)
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	}
}

func gate(b *testing.B) *egress.Gate {
	b.Helper()
	most, err := egress.Parse("internet")
	if err != nil {
		b.Fatal(err)
	}
	return egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: most}, Limits: egress.Limits{Bandwidth: -1, PerSecond: -1}})
}

// openOurs is a namespace as a sandbox has it.
func openOurs(b *testing.B) *place {
	b.Helper()
	n, network := openNetwork(b, gate(b))
	b.Cleanup(network.Close)
	return newPlace(b, "ours", func() error {
		defer n.File.Close()
		return unix.Setns(int(n.File.Fd()), unix.CLONE_NEWNET)
	})
}

func openNetwork(b *testing.B, g *egress.Gate) (*netns.Namespace, *netstack.Network) {
	b.Helper()
	n, err := netns.New()
	if err != nil {
		b.Fatal(err)
	}
	guard := g.Guard()
	guard.Bind("api", egress.Policy{Internet: true}, g.Turn(), nil)
	network, err := netstack.Start(n.Device, guard)
	if err != nil {
		b.Fatal(err)
	}
	return n, network
}

// openVeth is the peer: a pair of devices, and NAT on the host.
func openVeth(b *testing.B) *place {
	b.Helper()
	thread := make(chan int, 1)
	p := newPlace(b, "veth", func() error {
		thread <- unix.Gettid()
		return unix.Unshare(unix.CLONE_NEWNET)
	})
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "peer0"}, PeerName: "peer1"}))
	inner, err := netlink.LinkByName("peer1")
	must(err)
	must(netlink.LinkSetNsPid(inner, <-thread))
	must(up("peer0", "10.200.0.1/24", ""))
	p.do(func() { must(up("peer1", "10.200.0.2/24", "10.200.0.1")) })
	must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	nft := exec.CommandContext(b.Context(), "nft", "-f", "-")
	nft.Stdin = bytes.NewBufferString("table ip nat {\nchain post {\ntype nat hook postrouting priority 100\noifname \"host0\" masquerade\n}\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return p
}

func up(device, own, gateway string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(own)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil || gateway == "" {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)})
}

// throughput runs iperf3 in both places in turns.
func throughput(b *testing.B, ours, veth *place, way string, args ...string) {
	b.Helper()
	bits := map[*place][]float64{}
	var used time.Duration
	for range rounds {
		for _, p := range []*place{veth, ours} {
			began := cpu()
			bits[p] = append(bits[p], iperf(b, p, args...))
			if p == ours {
				used += cpu() - began
			}
		}
	}
	us, peer := median(bits[ours])/1e9, median(bits[veth])/1e9
	gigabytes := 0.0
	for _, n := range bits[ours] {
		gigabytes += n * 2 / 8e9
	}
	fmt.Printf("\n%s: %.1f Gbit/s, veth with NAT %.1f, ratio %.2f (aim: at least 0.5); %.2f s of CPU for each GB\n", way, us, peer, us/peer, used.Seconds()/gigabytes)
	b.ReportMetric(us/peer, map[bool]string{true: "from/veth", false: "to/veth"}[len(args) > 0])
}

func iperf(b *testing.B, p *place, args ...string) float64 {
	b.Helper()
	var report struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	p.run(b, &report, "iperf3", append([]string{"-c", server, "-p", "5201", "-t", seconds, "-J"}, args...)...)
	return report.End.Received.Bits
}

// run runs a program in the place, and reads the JSON that it prints.
func (p *place) run(b *testing.B, into any, name string, args ...string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	var err error
	p.do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), into)
	}
	if err != nil {
		b.Fatalf("%s: %v: %s", p.name, err, out.Bytes())
	}
}

// caller is a program of its own, as a sandbox's is: it connects so many times, sends a byte and waits for it five times on each connection,
// and prints how long each took, in seconds.
const caller = `
import json, socket, sys, time
connects, exchanges = [], []
for _ in range(int(sys.argv[2])):
    s = socket.socket()
    began = time.perf_counter()
    s.connect((sys.argv[1], 7))
    connects.append(time.perf_counter() - began)
    for _ in range(5):
        began = time.perf_counter()
        s.send(b"x")
        if s.recv(1) != b"x":
            sys.exit("no echo")
        exchanges.append(time.perf_counter() - began)
    s.close()
print(json.dumps([connects, exchanges]))
`

// startEcho starts a program of its own that answers what caller sends: what it takes is nothing that this process has to do, whose
// poller would be told of each connection if it kept the listener.
func startEcho(b *testing.B, w *nettest.World) {
	b.Helper()
	l := w.Listen(server + ":7")
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	cmd := exec.CommandContext(b.Context(), "python3", "-S", "-c", `
import socket
server = socket.socket(fileno=3)
server.setblocking(True)
while True:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(16):
            connection.send(data)
`)
	cmd.ExtraFiles = []*os.File{file}
	w.Start(cmd)
}

// latency has a program call in both places in turns.
func latency(b *testing.B, ours, veth *place) {
	b.Helper()
	connects, exchanges := map[*place][]float64{}, map[*place][]float64{}
	for range 10 {
		for _, p := range []*place{veth, ours} {
			var took [2][]float64
			p.run(b, &took, "python3", "-S", "-c", caller, server, "30")
			connects[p], exchanges[p] = append(connects[p], took[0]...), append(exchanges[p], took[1]...)
		}
	}
	for what, m := range map[string]map[*place][]float64{"connecting": connects, "an exchange": exchanges} {
		us, peer := median(m[ours])*1e6, median(m[veth])*1e6
		fmt.Printf("%s: %.0f us, veth with NAT %.0f us, %.0f us more (aim: at most 200)\n", what, us, peer, us-peer)
	}
}

// idle measures the memory of networks that nobody uses.
func idle(b *testing.B) {
	b.Helper()
	const count = 50
	g := gate(b)
	before, kernelBefore := memory(), kernelMemory()
	var all []*netstack.Network
	var files []*netns.Namespace
	began := time.Now()
	for range count {
		n, network := openNetwork(b, g)
		all, files = append(all, network), append(files, n)
	}
	took := time.Since(began)
	each, kernel := (memory()-before)/count, (kernelMemory()-kernelBefore)/count
	for i, network := range all {
		network.Close()
		_ = files[i].File.Close()
	}
	fmt.Printf("an idle network: %d KiB, and %d KiB of the kernel's (aim: at most 1024); made in %.2f ms\n", each>>10, kernel>>10, ms(took/count))
	b.ReportMetric(float64(each>>10), "KiB/idle")
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// kernelMemory is what the whole system's kernel holds of what namespaces, devices and sockets are made of (proc_meminfo(5)), in bytes.
func kernelMemory() int {
	text, _ := os.ReadFile("/proc/meminfo")
	kilobytes := 0
	for line := range strings.Lines(string(text)) {
		var n int
		name, rest, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"Slab", "Percpu", "KernelStack", "PageTables"}, name) {
			_, _ = fmt.Sscan(rest, &n)
			kilobytes += n
		}
	}
	return kilobytes << 10
}

// starts measures how long a program takes to start with and without a network, from a warm sandbox and without one, in
// turns by one manager.
func starts(b *testing.B, spec sandbox.Spec) {
	b.Helper()
	spec.API, spec.RootPath, spec.Version = "api_bench", "/run/api_bench", 1
	spec.Code = "from fastapi import FastAPI\napp = FastAPI()\n"
	connected := spec
	connected.Egress = egress.Policy{Internet: true}
	for _, kind := range []string{"cold", "warm"} {
		driver := testenv.DriverConfig(b)
		driver.Network = true
		cfg := sandbox.ManagerConfig{Driver: nsjail.New(driver), Egress: gate(b)}
		if kind == "warm" {
			cfg.WarmMemory = 1 << 30
		}
		m := sandbox.NewManager(cfg)
		if err := m.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		start := func(spec sandbox.Spec) float64 {
			i, err := m.Launch(b.Context(), spec)
			if err != nil {
				b.Fatal(err)
			}
			i.Stop(context.Background(), time.Second)
			for last, same := 0, 0; kind == "warm" && (last == 0 || same < 50); time.Sleep(10 * time.Millisecond) { // until none is being started
				if now := m.Warm(); now == last {
					same++
				} else {
					last, same = now, 0
				}
			}
			return ms(i.StartTime())
		}
		if kind == "warm" {
			start(spec)
			start(connected)
		}
		var w, wo []float64
		for range 15 {
			wo, w = append(wo, start(spec)), append(w, start(connected))
		}
		if err := m.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		us, peer := median(w), median(wo)
		fmt.Printf("a %s start: %.2f ms with a network, %.2f ms without, %.2f ms more (aim of a warm one: at most 3)\n", kind, us, peer, us-peer)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
