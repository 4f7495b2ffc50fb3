// Package fleet_test measures a server with many APIs: its start with all of them asleep, what each that runs costs, and the
// waking of many at once, beside plain uvicorn in the same run.
package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox/nsjail"
)

var (
	registered = flag.Int("registered", 10_000, "APIs that are registered")
	resident   = flag.Int("resident", 300, "APIs that run at a time")
	woken      = flag.Int("woken", 200, "APIs that are called at once while they sleep")
)

const hello = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root():\n    return {'hello': 'world'}\n"

// patience is for one answer: in the worst case, to the last of many starts, on a machine that others use too.
const patience = 20 * time.Minute

// startTimeout is the servers'. With the default a busy machine would have the last of many refused.
const startTimeout = "15m"

// callers are how many APIs are called at a time where each is called in turn.
const callers = 8

// BenchmarkStart starts a server with one API and one with many, in turns.
func BenchmarkStart(b *testing.B) {
	few, many := newServer(b), newServer(b)
	for s, n := range map[*server]int{few: 1, many: *registered} {
		s.start(b)
		s.deploy(b)
		s.stop(b)
		s.copies(b, n)
	}
	var fewTimes, manyTimes []time.Duration
	var fewBytes, manyBytes int64
	for b.Loop() {
		fewTimes = append(fewTimes, few.start(b))
		fewBytes = max(fewBytes, few.peak(b))
		few.stop(b)
		manyTimes = append(manyTimes, many.start(b))
		many.call(b, *registered)
		manyBytes = max(manyBytes, many.peak(b))
		many.stop(b)
	}
	a, z := median(fewTimes), median(manyTimes)
	b.ReportMetric(z.Seconds()*1000, "ms/start")
	b.ReportMetric(float64(manyBytes)/(1<<20), "MiB")
	fmt.Printf("\nstart with %d APIs %v, at most %d MiB; with 1 API %v, %d MiB; ratio %.2f; %s", *registered,
		z.Round(time.Millisecond), manyBytes>>20, a.Round(time.Millisecond), fewBytes>>20, z.Seconds()/a.Seconds(), machine())
}

// BenchmarkResident has many APIs run, and compares what each takes with plain uvicorn of the same program.
func BenchmarkResident(b *testing.B) {
	s := newServer(b)
	options := []string{
		"--warm-memory", "none", "--idle-timeout", "never", "--max-sandboxes", strconv.Itoa(*resident + 10), "--start-timeout", startTimeout,
	}
	s.start(b, options...)
	s.deploy(b)
	s.stop(b)
	s.copies(b, *resident)
	s.start(b, options...)
	defer s.stop(b)
	for b.Loop() {
		first, again := s.callAll(b, *resident), s.callAll(b, *resident)
		pids := s.processes(b)
		each := proportional(b, pids) / int64(*resident)
		fmt.Printf("\nof each: %s", shares(b, pids, *resident))
		plain := s.plain(b, min(*resident, 20))
		defer plain.stop()
		peer := proportional(b, plain.pids()) / int64(len(plain.cmds))
		b.ReportMetric(float64(each-peer)/(1<<20), "MiB-more/API")
		fmt.Printf("\n%d APIs run: %.1f MiB each, plain uvicorn %.1f MiB, %.1f MiB more; all called in %v, and again in %v; %s", *resident,
			mib(each), mib(peer), mib(each-peer), first.Round(time.Millisecond), again.Round(time.Millisecond), machine())
	}
}

// BenchmarkWakeAll calls many sleeping APIs at once, and starts as many plain uvicorns at once.
func BenchmarkWakeAll(b *testing.B) {
	s := newServer(b)
	s.start(b)
	s.deploy(b)
	s.stop(b)
	s.copies(b, *woken)
	for b.Loop() {
		s.start(b, "--start-timeout", startTimeout)
		began := time.Now()
		var group sync.WaitGroup
		for n := range *woken {
			group.Go(func() { s.call(b, n+1) })
		}
		group.Wait()
		took := time.Since(began)
		s.stop(b)
		began = time.Now()
		plain := s.plain(b, *woken)
		peer := time.Since(began)
		plain.stop()
		b.ReportMetric(took.Seconds(), "s/last")
		b.ReportMetric(took.Seconds()/peer.Seconds(), "last/uvicorn")
		fmt.Printf("\n%d sleeping APIs called at once: the last answer after %v, of plain uvicorns after %v, ratio %.2f; %s", *woken,
			took.Round(time.Millisecond), peer.Round(time.Millisecond), took.Seconds()/peer.Seconds(), machine())
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d cores, load %s", runtime.NumCPU(), load)
}

// call wants an answer of the n-th copy.
func (s *server) call(b *testing.B, n int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/run/"+copyName(n)+"/", nil)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("API %d: status %d, %v: %s", n, resp.StatusCode, err, body)
	}
}

// callAll calls each of n copies, and returns how long it took.
func (s *server) callAll(b *testing.B, n int) time.Duration {
	b.Helper()
	began := time.Now()
	turns := make(chan int)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for at := range turns {
				s.call(b, at)
			}
		})
	}
	for at := range n {
		turns <- at + 1
	}
	close(turns)
	group.Wait()
	return time.Since(began)
}

// shares says what the processes of each of n sandboxes take, by what they are.
func shares(b *testing.B, pids []int, n int) string {
	b.Helper()
	bytes := map[string]int64{}
	for _, pid := range pids {
		bytes[role(b, pid)] += proportional(b, []int{pid})
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(bytes)) {
		parts = append(parts, fmt.Sprintf("%s %.1f MiB", name, mib(bytes[name])/float64(n)))
	}
	return strings.Join(parts, ", ")
}

// role tells nsjail from the first process inside and the program.
func role(b *testing.B, pid int) string {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if names, ok := strings.CutPrefix(line, "NSpid:"); ok {
			switch ids := strings.Fields(names); {
			case len(ids) == 1:
				return "nsjail"
			case ids[len(ids)-1] == "1":
				return "PID 1"
			}
		}
	}
	return "the program"
}

// processes lists the processes of all sandboxes.
func (s *server) processes(b *testing.B) (pids []int) {
	b.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	for _, proc := range dirs {
		groups, err := os.ReadFile(proc + "/cgroup")
		if err != nil || !strings.Contains(string(groups), nsjail.InstanceName(s.dir)+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(proc)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// proportional is the memory of processes, in which what several share counts in parts (PSS, proc_pid_smaps_rollup(5)).
func proportional(b *testing.B, pids []int) (bytes int64) {
	b.Helper()
	for _, pid := range pids {
		bytes += field(b, fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	}
	return bytes
}

// field reads a line of kB.
func field(b *testing.B, path, name string) int64 {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb << 10
		}
	}
	b.Fatalf("%s has no %s", path, name)
	return 0
}

// uvicorns are plain ones, without a sandbox.
type uvicorns struct{ cmds []*exec.Cmd }

// plain starts so many at once, and returns when each has answered.
func (s *server) plain(b *testing.B, n int) *uvicorns {
	b.Helper()
	env := testenv.Environment(b, "", "")
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain.py"), []byte(hello), 0o600); err != nil {
		b.Fatal(err)
	}
	u := &uvicorns{}
	var group sync.WaitGroup
	for i := range n {
		socket := filepath.Join(dir, strconv.Itoa(i))
		cmd := exec.Command(filepath.Join(env.Path, "bin/python"), "-m", "uvicorn", "--uds", socket, "--log-level", "error", "plain:app")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		u.cmds = append(u.cmds, cmd)
		group.Go(func() { answer(b, socket) })
	}
	group.Wait()
	return u
}

// answer waits for the first answer on a socket.
func answer(b *testing.B, socket string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		client := &http.Client{Transport: testenv.UnixTransport(socket), Timeout: patience}
		resp, err := client.Get("http://plain/")
		if err == nil {
			resp.Body.Close()
			client.CloseIdleConnections()
			return
		}
	}
	b.Error("a plain uvicorn does not answer")
}

func (u *uvicorns) pids() (pids []int) {
	for _, c := range u.cmds {
		pids = append(pids, c.Process.Pid)
	}
	return pids
}

func (u *uvicorns) stop() {
	for _, c := range u.cmds {
		_ = c.Process.Kill()
	}
	for _, c := range u.cmds {
		_ = c.Wait()
	}
}
