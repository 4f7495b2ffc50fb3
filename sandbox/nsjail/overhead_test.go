package nsjail_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

const bareProgram = `
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def root(): return "ok"
`

// TestMemoryOverABareUvicorn holds a sandbox to what it may cost: the proportional memory (PSS) of all its processes,
// nsjail and PID 1 among them, against that of uvicorn started by hand from the same environment. Several of each run at
// a time, because what they share is part of what each costs, and never both kinds at once.
func TestMemoryOverABareUvicorn(t *testing.T) {
	const each = 16
	jailed, alone := jailedMemory(t, each)/each, bareMemory(t, each)/each
	t.Logf("sandbox %.1f MiB, bare uvicorn %.1f MiB, difference %.1f MiB", mib(jailed), mib(alone), mib(jailed-alone))
	if over := jailed - alone; over > 5<<20 {
		t.Errorf("a sandbox costs %.1f MiB over a bare uvicorn, more than 5", mib(over))
	}
}

func jailedMemory(t *testing.T, n int) int64 {
	t.Helper()
	spec := testenv.Spec(t, "", "")
	spec.API, spec.Code, spec.RootPath = "api_overhead", bareProgram, "/run/api_overhead"
	m := sandbox.NewManager(sandbox.ManagerConfig{Driver: testenv.Driver(t), StartTimeout: 3 * time.Minute})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []*sandbox.Instance
	defer func() {
		for _, i := range all {
			i.Stop(context.Background(), time.Second)
		}
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for range n {
		i, err := m.Launch(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
		ask(t, i.Transport())
	}
	return pss(t, descendants(t))
}

func bareMemory(t *testing.T, n int) int64 {
	t.Helper()
	env := testenv.Environment(t, "", "")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.py", []byte(bareProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		socket := fmt.Sprintf("%s/%d", dir, i)
		bare := exec.Command(env.Path+"/bin/python", "-B", "-m", "uvicorn", "main:app", "--uds", socket, "--no-access-log")
		bare.Dir, bare.Env = dir, []string{"MALLOC_ARENA_MAX=2"}
		if err := bare.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = bare.Process.Kill(); _ = bare.Wait() }()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if conn, err := net.Dial("unix", socket); err == nil {
				_ = conn.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("uvicorn does not listen")
			}
		}
		ask(t, testenv.UnixTransport(socket))
	}
	return pss(t, descendants(t))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func ask(t *testing.T, transport http.RoundTripper) {
	t.Helper()
	for range 20 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = resp.Body.Close()
	}
}

// descendants lists the processes below this one.
func descendants(t *testing.T) map[int]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		var parent int
		rest := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		_, _ = fmt.Sscanf(rest, " %s %d", new(string), &parent)
		parents[pid] = parent
	}
	found := map[int]bool{}
	for pid := range parents {
		for p := parents[pid]; p > 1; p = parents[p] {
			if p == os.Getpid() {
				found[pid] = true
			}
		}
	}
	return found
}

// pss sums the proportional memory of processes in bytes.
func pss(t *testing.T, pids map[int]bool) int64 {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("no process to measure")
	}
	var sum int64
	for pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "\nPss:")
		var kib int64
		if _, err := fmt.Sscan(after, &kib); err != nil {
			t.Fatal(err)
		}
		sum += kib << 10
	}
	return sum
}
