package gateway_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// figure is one turn.
type figure struct {
	requests int
	perSec   float64
	p50, p99 time.Duration
	cpu      time.Duration // of the proxy's processes
	program  time.Duration // CPU time of the program behind it
}

func (f figure) cpuMicros() float64     { return f.micros(f.cpu) }
func (f figure) programMicros() float64 { return f.micros(f.program) }
func (f figure) rate() float64          { return f.perSec }

func (f figure) micros(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1e3 / float64(f.requests)
}

var (
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkP50      = regexp.MustCompile(`\s50%\s+([0-9.]+[a-z]+)`)
	wrkP99      = regexp.MustCompile(`\s99%\s+([0-9.]+[a-z]+)`)
)

// run sends one turn of load to a proxy. An answer that is no 200 ends the benchmark: a refusal is cheap.
func (p *peer) run(b *testing.B, l load) figure {
	b.Helper()
	if l.streams > 0 {
		return p.runSecond(b, l)
	}
	args := []string{
		"-t1", "-c" + strconv.Itoa(l.connections), "-d", fmt.Sprintf("%dms", span.Milliseconds()), "--latency",
		"-H", "X-API-Key: " + p.key, p.url + l.path,
	}
	if span.Milliseconds()%1000 == 0 {
		args[3] = fmt.Sprintf("%ds", int(span.Seconds()))
	}
	if l.upload > 0 {
		script := filepath.Join(b.TempDir(), "upload.lua")
		text := fmt.Sprintf("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", %d)\n", l.upload)
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		args = append([]string{"-s", script}, args...)
	}
	f, text := p.loadBy(b, "wrk", args)
	if strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		b.Fatalf("%s: %s:\n%s", p.name, l.name, text)
	}
	f.p50, f.p99 = duration(b, wrkP50, text), duration(b, wrkP99, text)
	f.requests, _ = strconv.Atoi(find(b, wrkRequests, text))
	f.perSec, _ = strconv.ParseFloat(find(b, wrkRate, text), 64)
	return f
}

// loadBy runs what sends, and returns what it said and what CPU time went meanwhile.
func (p *peer) loadBy(b *testing.B, sender string, args []string) (figure, string) {
	b.Helper()
	before, programBefore := cpuTime(b, p.pids), cpuTime(b, p.program)
	out, err := exec.CommandContext(b.Context(), sender, args...).CombinedOutput()
	f := figure{cpu: cpuTime(b, p.pids) - before, program: cpuTime(b, p.program) - programBefore}
	if err != nil {
		b.Fatalf("%s: %s: %v\n%s", p.name, sender, err, out)
	}
	return f, string(out)
}

// runSecond is run by HTTP/2.
func (p *peer) runSecond(b *testing.B, l load) figure {
	b.Helper()
	log := filepath.Join(b.TempDir(), "requests")
	f, text := p.loadBy(b, "h2load", []string{
		"-t1", "-c" + strconv.Itoa(l.connections), "-m" + strconv.Itoa(l.streams), fmt.Sprintf("--duration=%dms", span.Milliseconds()),
		"--log-file=" + log, "-H", "X-API-Key: " + p.key, p.second + l.path,
	})
	lines, err := os.ReadFile(log)
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for line := range strings.Lines(string(lines)) { // when it began, its status, what it took, in us
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[1] != "200" {
			b.Fatalf("%s: %s: %q\n%s", p.name, l.name, line, text)
		}
		us, _ := strconv.ParseInt(fields[2], 10, 64)
		times = append(times, time.Duration(us)*time.Microsecond)
	}
	if len(times) == 0 {
		b.Fatalf("%s: %s: no answer\n%s", p.name, l.name, text)
	}
	slices.Sort(times)
	f.p50, f.p99 = times[len(times)/2], times[len(times)*99/100]
	f.requests, f.perSec = len(times), float64(len(times))/span.Seconds()
	return f
}

func find(b *testing.B, r *regexp.Regexp, text string) string {
	b.Helper()
	found := r.FindStringSubmatch(text)
	if found == nil {
		b.Fatalf("wrk said no %s:\n%s", r, text)
	}
	return found[1]
}

func duration(b *testing.B, r *regexp.Regexp, text string) time.Duration {
	b.Helper()
	d, err := time.ParseDuration(find(b, r, text))
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// cpuTime is what processes have used so far, in nanoseconds: clock_getcpuclockid(3) of another process.
func cpuTime(b *testing.B, pids []int) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		const wholeProcess = 2
		if err := unix.ClockGettime(int32(^pid)<<3|wholeProcess, &t); err != nil {
			b.Fatalf("CPU time of process %d: %v", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum
}
