package endtoend

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// floods prints n bytes to each stream: binary to standard output, without a line feed, and lines to standard error.
const floods = `
import os, threading
from fastapi import FastAPI
app = FastAPI()
binary = os.urandom(1 << 16).replace(b"\n", b"x")
lines = b"WARNING:root:a line of a flood\n" * 2048

def pour(descriptor, chunk, n):
    while n > 0:
        n -= os.write(descriptor, chunk[:n])

@app.get("/flood")
def flood(n: int):
    other = threading.Thread(target=pour, args=(2, lines, n))
    other.start()
    pour(1, binary, n)
    other.join()
    os.write(1, b"\nthe flood is over\n")
    return {"printed": 2 * n}

@app.get("/")
def root():
    return {}
`

const victimOfFloods = `
from fastapi import FastAPI
app = FastAPI()

@app.get("/{n}")
def root(n: int):
    print("victim", n)
    return {}
`

// TestAFloodOfOutput has a program print APIBUILDER_TEST_FLOOD_BYTES, 64 MiB if that is not set, in binary and without line feeds,
// and as many bytes of lines. Meanwhile another API is called. CI prints little; a gibibyte is printed by hand.
func TestAFloodOfOutput(t *testing.T) {
	size := int64(64 << 20)
	if text := os.Getenv("APIBUILDER_TEST_FLOOD_BYTES"); text != "" {
		var err error
		if size, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, dataDir(t), "--no-example", "--request-timeout", "1h")
	flooder := s.deploy("floods", floods, "", "--public")
	victim := s.deploy("victim", victimOfFloods, "", "--public")
	victim.get(t, "/0")
	memory, used := s.memory(t, "VmRSS"), cpuTime(t, s.cmd.Process.Pid)

	over := make(chan struct{})
	var called, most, slowest atomic.Int64
	called.Store(1)
	var others sync.WaitGroup
	others.Go(func() {
		for {
			began := time.Now()
			victim.get(t, fmt.Sprint("/", called.Load()))
			called.Add(1)
			slowest.Store(max(slowest.Load(), time.Since(began).Milliseconds()))
			most.Store(max(most.Load(), s.memory(t, "VmRSS")))
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	answer := call(t, http.MethodGet, fmt.Sprintf("%s/flood?n=%d", flooder.URL, size), "", nil)
	took := time.Since(began)
	close(over)
	others.Wait()
	cpu := cpuTime(t, s.cmd.Process.Pid) - used
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%d MiB on each of two streams in %v; the server used %v of CPU and %d MiB more memory (%d before); the victim answered %d requests, the slowest in %d ms; load %s",
		size>>20, took.Round(time.Millisecond), cpu, (most.Load()-memory)>>20, memory>>20, called.Load(), slowest.Load(), load)

	if answer.status != 200 {
		t.Errorf("the flood ended with %d: %s", answer.status, answer.body)
	}
	if a := flooder.get(t, "/"); a.status != 200 {
		t.Errorf("after the flood the program answers %d", a.status)
	}
	if grown := most.Load() - memory; grown > 64<<20 {
		t.Errorf("the server grew by %d MiB", grown>>20)
	}
	if kept := dirSize(t, filepath.Join(s.dataDir, "logs"), flooder.ID); kept > 8<<20 || kept < 1<<20 {
		t.Errorf("%d bytes of the flood are kept", kept)
	}
	out, err := s.command("logs", "floods", "--grep", "bytes of std(out|err) are left out here|comes faster", "--source", "sandbox")
	if err != nil || !strings.Contains(out, " are left out here") || !strings.Contains(out, "comes faster than it can be kept") {
		t.Errorf("nobody is told of what was left out: %v\n%.2000s", err, out)
	}
	if out, err = s.command("logs", "victim", "--source", "program", "--limit", "100000"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		if !strings.HasSuffix(line, fmt.Sprint("  victim ", i)) {
			t.Fatalf("line %d of the victim's log is %q", i, line)
		}
	}
	if int64(len(lines)) != called.Load() {
		t.Errorf("the victim's log has %d lines of %d", len(lines), called.Load())
	}
	if out, err := s.command("apis", "show", "floods", "--json"); err != nil || strings.Contains(out, string(sandbox.OutOfMemory)) {
		t.Errorf("%v: %s", err, out)
	}
}

// cpuTime is what a process has used, in ticks of a hundredth of a second (proc_pid_stat(5)).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func dirSize(t *testing.T, dir, prefix string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) {
			n += info.Size()
		}
	}
	return n
}
