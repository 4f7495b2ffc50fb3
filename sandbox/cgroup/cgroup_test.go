package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var ample = Limits{MemoryBytes: 64 << 20, CPU: 1, Pids: 16}

func openTree(t *testing.T) *Tree {
	t.Helper()
	tree, err := Open(fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "_")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Clean(context.Background()); err != nil {
			t.Error(err)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func newGroup(t *testing.T, tree *Tree, l Limits) *Group {
	t.Helper()
	g, err := tree.New("one", l)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run starts a shell script in g and returns what it printed and its exit error.
func run(t *testing.T, g *Group, script string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := g.Start(cmd); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	return out.String(), err
}

func TestChildIsBornInItsGroup(t *testing.T) {
	g := newGroup(t, openTree(t), ample)
	out, err := run(t, g, "cat /proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, g.path) {
		t.Errorf("child's groups:\n%s\nwant %s among them", out, g.path)
	}
	own, _ := os.ReadFile("/proc/thread-self/cgroup")
	if strings.Contains(string(own), g.path) {
		t.Errorf("this thread stayed in the sandbox's group:\n%s", own)
	}
}

func TestMemoryLimitKillsTheWholeGroup(t *testing.T) {
	g := newGroup(t, openTree(t), ample)
	// The shell itself uses little: it must die with its child, not outlive it.
	_, err := run(t, g, `python3 -c "x = bytearray(200 << 20)"; echo survived; sleep 60`)
	if err == nil {
		t.Fatal("a process that needs 200 MiB ended well in a group of 64 MiB")
	}
	events, err := g.Events()
	if err != nil {
		t.Fatal(err)
	}
	if events.OOMKills == 0 {
		t.Errorf("events %+v: want an out-of-memory kill counted", events)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // until init has reaped them
		pids, err := g.g.procs()
		if err == nil && len(pids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v (%v) are left after out of memory", pids, err)
		}
	}
}

// TestMemoryOfSocketsIsBounded fills the buffers of connections that nobody reads from, which v1 counts apart.
func TestMemoryOfSocketsIsBounded(t *testing.T) {
	g := newGroup(t, openTree(t), ample)
	out, err := run(t, g, `exec python3 -c "if 1:
		import socket
		listener, held, sent = socket.create_server(('127.0.0.1', 0)), [], 0
		for n in range(100):
			client = socket.create_connection(listener.getsockname())
			held.append((client, listener.accept()))
			client.setblocking(False)
			try:
				while True: sent += client.send(bytes(65536))
			except BlockingIOError: pass
		print(sent >> 20)"`)
	var sent int64
	if _, scanErr := fmt.Sscan(out, &sent); err == nil && (scanErr != nil || sent > ample.MemoryBytes>>20) {
		t.Errorf("sockets in a group of %d MiB hold %s MiB", ample.MemoryBytes>>20, out)
	} else if events, eventsErr := g.Events(); err != nil && (eventsErr != nil || events.OOMKills == 0) {
		t.Errorf("%v, events %+v, %v: %s", err, events, eventsErr, out)
	}
	t.Logf("%s MiB, %v", strings.TrimSpace(out), err)
}

func TestPidsLimit(t *testing.T) {
	g := newGroup(t, openTree(t), ample)
	_, _ = run(t, g, "for i in $(seq 40); do sleep 60 >/dev/null 2>&1 & done")
	events, err := g.Events()
	if err != nil {
		t.Fatal(err)
	}
	if events.PidsRefused == 0 {
		t.Errorf("events %+v: want refused forks counted", events)
	}
	stats, err := g.Stats()
	if err != nil || stats.Pids > ample.Pids {
		t.Errorf("stats %+v, %v: want at most %d processes", stats, err, ample.Pids)
	}
}

func TestCPUIsThrottledNotKilled(t *testing.T) {
	limits := ample
	limits.CPU = 0.2
	g := newGroup(t, openTree(t), limits)
	start := time.Now()
	if _, err := run(t, g, `python3 -S -c "
import time
while time.process_time() < 0.3: pass"`); err != nil {
		t.Fatal(err)
	}
	stats, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if stats.Throttled == 0 || time.Since(start) < 2*stats.CPUTime {
		t.Errorf("%v of CPU in %v at 0.2 cores, throttled %v", stats.CPUTime, time.Since(start), stats.Throttled)
	}
}

func TestCleanEndsWhatAKilledServerLeft(t *testing.T) {
	tree := openTree(t)
	g := newGroup(t, tree, ample)
	cmd := exec.Command("/bin/sh", "-c", "setsid sleep 600 & setsid sleep 600 & wait")
	if err := g.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := tree.Clean(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	if names, err := tree.h.children(tree.path); err != nil || len(names) > 0 {
		t.Errorf("groups %v (%v) are left", names, err)
	}
}

func TestRemoveEndsAForkBomb(t *testing.T) {
	g := newGroup(t, openTree(t), ample)
	cmd := exec.Command("python3", "-S", "-c", `
import os
while True:
    try: os.fork()
    except OSError: pass`)
	if err := g.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for { // until it has hit its limit
		if e, err := g.Events(); err != nil || e.PidsRefused > 0 {
			break
		}
	}
	go func() { _ = cmd.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Remove(ctx); err != nil {
		t.Error(err)
	}
}

func TestBadNamesAndLimitsAreRefused(t *testing.T) {
	if _, err := Open("../escape"); err == nil {
		t.Error("Open accepted ../escape")
	}
	tree := openTree(t)
	for name, l := range map[string]Limits{"a/b": ample, "": ample, "zero": {}, "negative": {MemoryBytes: -1, CPU: 1, Pids: 1}} {
		if _, err := tree.New(name, l); err == nil {
			t.Errorf("New(%q, %+v) was accepted", name, l)
		}
	}
	newGroup(t, tree, ample)
	if _, err := tree.New("one", ample); err == nil {
		t.Error("New gave a group that exists to a second sandbox")
	}
}

func TestIOLimitIsSet(t *testing.T) {
	device := firstDevice(t)
	limits := ample
	limits.IO = []IOLimit{{Major: device[0], Minor: device[1], ReadBytes: 1 << 20, WriteOps: 10}}
	tree := openTree(t)
	g := newGroup(t, tree, limits)
	out, err := run(t, g, "cat /proc/self/cgroup")
	if err != nil || !strings.Contains(out, g.path) {
		t.Errorf("%s, %v", out, err)
	}
	var found string
	for _, file := range []string{
		mountpoint + g.path + "/io.max", mountpoint + "/blkio" + g.path + "/blkio.throttle.read_bps_device",
	} {
		text, _ := os.ReadFile(file)
		found += string(text)
	}
	if want := fmt.Sprintf("%d:%d ", device[0], device[1]); !strings.Contains(found, want) || !strings.Contains(found, "1048576") {
		t.Errorf("limits in force: %q, want one of 1048576 for %s", found, want)
	}
}

// firstDevice is a whole block device of this machine.
func firstDevice(t *testing.T) [2]int64 {
	t.Helper()
	names, err := os.ReadDir("/sys/block")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile("/sys/block/" + name.Name() + "/dev")
		var device [2]int64
		if _, scanErr := fmt.Sscanf(string(text), "%d:%d", &device[0], &device[1]); err == nil && scanErr == nil {
			return device
		}
	}
	t.Fatal("this machine has no block device")
	return [2]int64{}
}
