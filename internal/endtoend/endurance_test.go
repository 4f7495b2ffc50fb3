package endtoend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"apibuilder/admin/client"
	"apibuilder/sandbox/nsjail"
)

// How much the tests of this file do; a long run sets the variable.
var (
	deploysInARow = number("APIBUILDER_TEST_DEPLOYS", 10)
	sandboxKills  = number("APIBUILDER_TEST_KILLS", 10)
	serverKills   = number("APIBUILDER_TEST_SERVER_KILLS", 1)
	soakSeconds   = number("APIBUILDER_TEST_SOAK_SECONDS", 15)
)

func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// TestDeploysUnderLoad deploys again and again: no request fails, and a WebSocket whose version goes is told so.
func TestDeploysUnderLoad(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--drain-timeout", "1s")
	d := s.deploy("echo", echo, "websockets\n")
	l := startLoad(t, d, 2, 1, 3)
	for n := range deploysInARow {
		if again := s.deploy("echo", fmt.Sprintf("%s\n# %d\n", echo, n), "websockets\n"); again.Version != n+2 {
			t.Fatalf("deploy %d made version %d", n+2, again.Version)
		}
	}
	l.more(20)
	for _, f := range l.stop() {
		t.Errorf("failed: %v", f)
	}
	if l.closed.Load() == 0 {
		t.Error("no WebSocket was told that it ends")
	}
	t.Logf("%d deploys; %d requests, %d messages, %d WebSockets closed in order", deploysInARow, l.answered.Load(), l.echoed.Load(), l.closed.Load())
}

// lives is how long a program has to live for its next end not to count as a failed start.
const lives = 11 * time.Second

// TestKillsUnderLoad kills sandboxes and servers at random moments. Only what was in flight in them fails, with its type, and
// nothing of them is left.
func TestKillsUnderLoad(t *testing.T) {
	dir := dataDir(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	options := []string{"--no-example", "--warm-memory", "none", "--listen", address}
	s := serve(t, dir, options...)
	apis := make([]deployed, min(10, sandboxKills))
	var group sync.WaitGroup
	for i := range apis {
		group.Go(func() {
			name := fmt.Sprint("victim-", i)
			apis[i] = s.deploy(name, echo+fmt.Sprintf("import ctypes\nctypes.CDLL(None).prctl(15, b%q, 0, 0, 0)\n", name), "websockets\n")
		})
	}
	group.Wait()
	loads := make([]*calls, len(apis))
	for i, d := range apis {
		loads[i] = startLoad(t, d, 1, 0, 0)
	}
	killSandboxes(t, dir, apis, loads)
	for i, l := range loads {
		for _, f := range l.stop() {
			t.Errorf("%s failed after its last kill: %v", apis[i].Name, f)
		}
	}
	for range serverKills {
		s = killServer(t, s, dir, apis, options)
	}
	for _, d := range apis {
		d.get(t, "/")
	}
	s.stop()
	nothingLeft(t, dir)
}

// killSandboxes kills all of them again and again, each when it is old enough for the next request to start it at once.
func killSandboxes(t *testing.T, dir string, apis []deployed, loads []*calls) {
	t.Helper()
	var killed, typed atomic.Int64
	var group sync.WaitGroup
	for victim, d := range apis {
		group.Go(func() {
			for n := victim; n < sandboxKills; n += len(apis) {
				time.Sleep(lives + rand.N(20*time.Millisecond))
				typed.Add(killUnderLoad(t, dir, d, loads[victim]))
				killed.Add(1)
			}
		})
	}
	group.Wait()
	if killed.Load() != int64(sandboxKills) {
		t.Errorf("%d of %d sandboxes were killed", killed.Load(), sandboxKills)
	}
	t.Logf("%d sandboxes killed, %d requests failed with their type", killed.Load(), typed.Load())
}

// killUnderLoad kills one, waits until its API serves again, and returns how many requests failed, each with its type.
func killUnderLoad(t *testing.T, dir string, d deployed, l *calls) (typed int64) {
	t.Helper()
	killOne(t, dir, d)
	l.more(3) // it is back
	failed := l.take()
	if len(failed) > 1 {
		t.Errorf("one request was in flight in %s, and %d failed: %v", d.Name, len(failed), failed)
	}
	for _, f := range failed {
		typed++
		if f.problem != "crashed" && !errors.Is(f.err, errBrokenOff) {
			t.Errorf("%s: %v", d.Name, f)
		}
	}
	return typed
}

// killOne kills the process of an API that serves, as the host's own out-of-memory killer would.
func killOne(t *testing.T, dir string, d deployed) {
	t.Helper()
	for _, pid := range processesOf(t, dir) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(name)) == d.Name && syscall.Kill(pid, syscall.SIGKILL) == nil {
			return
		}
	}
	t.Fatalf("%s has no process", d.Name)
}

// processesOf lists the processes of a data directory's sandboxes.
func processesOf(t *testing.T, dir string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, proc := range dirs {
		groups, err := os.ReadFile(proc + "/cgroup")
		if err != nil || !strings.Contains(string(groups), nsjail.InstanceName(dir)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(proc)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killServer kills the server while it serves, and starts another one at once.
func killServer(t *testing.T, s *server, dir string, apis []deployed, options []string) *server {
	t.Helper()
	var loads []*calls
	for _, d := range apis[:min(3, len(apis))] {
		loads = append(loads, startLoad(t, d, 1, 1, 1))
	}
	for _, l := range loads {
		l.more(5)
	}
	time.Sleep(rand.N(100 * time.Millisecond))
	before := s.usageTotal()
	s.kill()
	var answered int64
	for _, l := range loads {
		answered += l.answered.Load()
	}
	s = serve(t, dir, options...)
	for i, l := range loads {
		l.more(5)
		for _, f := range l.stop() {
			if f.problem != "" {
				t.Errorf("%s: %v", apis[i].Name, f)
			}
		}
	}
	if after := s.usageTotal(); after < before || after < answered {
		t.Errorf("%d usage records, %d before the kill, %d answers", after, before, answered)
	}
	return s
}

// nothingLeft looks for what a server that has ended should have taken away.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	for _, pid := range processesOf(t, dir) {
		proc := fmt.Sprintf("/proc/%d/", pid)
		stat, _ := os.ReadFile(proc + "stat") // it may be gone by now
		group, _ := os.ReadFile(proc + "cgroup")
		t.Errorf("a process is left: %s in %s", stat, group)
	}
	if left := groupTrees(t, dir); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
	if sockets, err := os.ReadFile("/proc/net/unix"); err != nil || strings.Contains(string(sockets), dir) {
		t.Errorf("sockets are left: %v\n%s", err, sockets)
	}
	for _, name := range []string{"run", "run-b", "*.sock", ".listen-*", "usage*/usage-*.log"} {
		if left, _ := filepath.Glob(filepath.Join(dir, name)); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
}

// state is what a server holds.
type state struct{ goroutines, files, memory int64 }

func (s *server) state() state {
	s.t.Helper()
	var info struct {
		Goroutines int64 `json:"goroutines"`
	}
	if err := client.Local(s.dataDir).Call(s.t.Context(), "GET", client.Path("server"), nil, &info); err != nil {
		s.t.Fatal(err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return state{info.Goroutines, int64(len(files)), resident(s.t, s.cmd.Process.Pid)}
}

func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestSoak has APIs come and go, crash, leak and be called in between. What the server holds returns to where it was.
func TestSoak(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--warm-memory", "none", "--drain-timeout", "1s")
	cycle := func(n int) {
		var group sync.WaitGroup
		for i, path := range []string{"/exit", "/crash", "/eat", ""} {
			group.Go(func() {
				name := fmt.Sprintf("soak-%d-%d", n, i)
				d := s.deploy(name, hostile, "", "--memory", "96M")
				for range 20 {
					d.get(t, "/")
				}
				if path != "" {
					a, err := tryCall(context.Background(), http.MethodGet, d.URL+path, d.Key, nil)
					if err != nil || a.status != http.StatusBadGateway {
						t.Errorf("%s: status %d, %v", path, a.status, err)
					}
					d.get(t, "/") // it comes back
				}
				if _, err := s.command("apis", "delete", "--yes", name); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		http.DefaultClient.CloseIdleConnections()
	}
	end := time.Now().Add(time.Duration(soakSeconds) * time.Second)
	cycle(0)
	cycle(1)
	before := s.state()
	n := 2
	for ; time.Now().Before(end) || n < 3; n++ {
		cycle(n)
	}
	var after state
	eventually(t, fmt.Sprintf("the goroutines and files of before, %+v", before), func() bool {
		after = s.state()
		return after.goroutines <= before.goroutines+5 && after.files <= before.files+5
	})
	if after.memory > before.memory+32<<20 {
		t.Errorf("memory grew from %d to %d MiB", before.memory>>20, after.memory>>20)
	}
	t.Logf("%d cycles; %+v before, %+v after", n, before, after)
	s.stop()
	nothingLeft(t, s.dataDir)
}
