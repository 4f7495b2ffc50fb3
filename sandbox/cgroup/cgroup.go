// Package cgroup bounds and counts what one sandbox may use: memory, CPU time and processes. A Tree is the part of the
// host's control groups that one server owns; a Group in it holds one sandbox. The unified hierarchy (v2) is used where
// it carries the controllers, else the separate ones (v1); both go through containerd/cgroups. Every write is checked,
// because an ignored failure here looks like a limit that does nothing.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Root is the group at the top of every tree of ours, below the base that the host gives us.
const Root = "apibuilder"

// cpuPeriod is the span over which CPU time is granted, the kernel's default.
const cpuPeriod = 100 * time.Millisecond

// Limits bound one group. The first three must be positive.
type Limits struct {
	MemoryBytes int64
	CPU         float64 // cores; where time is short, groups get it in proportion to this
	Pids        int     // processes and threads
	IO          []IOLimit
}

// IOLimit bounds what a group may read from and write to one block device each second. A zero rate is no bound.
type IOLimit struct {
	Major, Minor          int64
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
}

// Stats is what a group uses now and has used.
type Stats struct {
	MemoryBytes     int64
	MemoryPeakBytes int64 // 0 where the kernel does not tell (v2 before 5.19)
	CPUTime         time.Duration
	Throttled       time.Duration // how long it waited for CPU time because of its limit
	Pids            int
	// Pressure is the share of the last ten seconds, in percent, in which some of its processes waited for memory, CPU or
	// IO (Documentation/accounting/psi.rst). v1 has none.
	Pressure Pressure
}

// Pressure is in percent.
type Pressure struct{ Memory, CPU, IO float64 }

// Events counts the limits that a group has hit.
type Events struct {
	OOMKills    uint64 // processes that the kernel killed at the memory limit
	PidsRefused uint64 // forks that the kernel refused at the process limit
}

// hierarchy is what v1 and v2 do differently.
type hierarchy interface {
	version() int
	// create makes the group at parent/name with its limits, or leaves nothing.
	create(path string, l Limits) (group, error)
	// children lists the groups directly below path; none when path does not exist.
	children(path string) ([]string, error)
	// load opens a group that exists, to end it.
	load(path string) (group, error)
	// prepare makes path the parent of groups with limits.
	prepare(path string) error
}

type group interface {
	start(cmd *exec.Cmd) error
	procs() ([]int, error)
	kill() error
	stats() (Stats, error)
	cpuTime() (time.Duration, error)
	events() (Events, error)
	delete() error
}

var validInstance = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,80}$`)

// Tree is the part of the host's control groups that one server owns. Its methods may be called concurrently.
type Tree struct {
	h       hierarchy
	path    string
	spawner *spawner
}

// Open prepares the tree of one server: instance tells servers on one host apart. It fails when this host has no
// hierarchy with the memory, cpu and pids controllers, saying what to do. Close must be called.
func Open(instance string) (*Tree, error) {
	if !validInstance.MatchString(instance) {
		return nil, fmt.Errorf("control group name %q: use letters, digits, _ and -", instance)
	}
	h, base, err := detect()
	if err != nil {
		return nil, err
	}
	t := &Tree{h: h, path: base + "/" + Root + "/" + instance}
	if err := h.prepare(t.path); err != nil {
		return nil, fmt.Errorf("prepare control group %s: %w", t.path, err)
	}
	t.spawner = newSpawner()
	return t, nil
}

// Version is 1 or 2, the kernel's name for the hierarchy in use.
func (t *Tree) Version() int { return t.h.version() }

// Clean ends every process in the tree and removes all its groups: what a killed server left behind.
func (t *Tree) Clean(ctx context.Context) error {
	names, err := t.h.children(t.path)
	if err != nil {
		return fmt.Errorf("list control groups in %s: %w", t.path, err)
	}
	var errs []error
	for _, name := range names {
		g, err := t.h.load(t.path + "/" + name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, (&Group{g: g, path: t.path + "/" + name}).Remove(ctx))
	}
	return errors.Join(errs...)
}

// Close removes the tree when it is empty and stops its thread. Every process started through it is killed then
// (PR_SET_PDEATHSIG is bound to that thread), so it is the last call.
func (t *Tree) Close() error {
	t.spawner.close()
	g, err := t.h.load(t.path)
	if err != nil {
		return err
	}
	return g.delete()
}

// New makes a group for one sandbox.
func (t *Tree) New(name string, l Limits) (*Group, error) {
	if !validInstance.MatchString(name) {
		return nil, fmt.Errorf("control group name %q: use letters, digits, _ and -", name)
	}
	if l.MemoryBytes <= 0 || l.CPU <= 0 || l.Pids <= 0 {
		return nil, fmt.Errorf("control group %s: limits must be positive: %+v", name, l)
	}
	g, err := t.h.create(t.path+"/"+name, l)
	if err != nil {
		return nil, fmt.Errorf("create control group %s: %w", name, err)
	}
	return &Group{g: g, path: t.path + "/" + name, spawner: t.spawner}, nil
}

// Group holds one sandbox. Its methods may be called concurrently.
type Group struct {
	g       group
	path    string
	spawner *spawner
}

// Start starts cmd inside the group from its first instruction on, and has the kernel kill it when this process ends.
func (g *Group) Start(cmd *exec.Cmd) error {
	return g.spawner.do(func() error { return g.g.start(cmd) })
}

// StartIn is like Start, in another network namespace of the host's: network is open on it (setns(2)).
func (g *Group) StartIn(network *os.File, cmd *exec.Cmd) error {
	return g.spawner.do(func() error {
		return inNetwork(network, func() error { return g.g.start(cmd) })
	})
}

// inNetwork runs f while the calling thread is in another network namespace. The thread is the spawner's alone; should the
// way back fail, its next children would be born there, so that is an error.
func inNetwork(network *os.File, f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("find the own network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave the network namespace: %w", back))
	}
	return err
}

// Procs lists the processes in the group.
func (g *Group) Procs() ([]int, error) { return g.g.procs() }

// Stats reads what the group uses.
func (g *Group) Stats() (Stats, error) { return g.g.stats() }

// CPUTime reads what CPU time its processes have used, as Stats does.
func (g *Group) CPUTime() (time.Duration, error) { return g.g.cpuTime() }

// Events reads which limits it has hit.
func (g *Group) Events() (Events, error) { return g.g.events() }

// Kill ends every process in the group. It may be called again.
func (g *Group) Kill() error { return g.g.kill() }

// Remove ends every process in the group, waits until they are gone, and removes it.
func (g *Group) Remove(ctx context.Context) error {
	for delay := time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		if err := g.g.kill(); err != nil {
			return fmt.Errorf("kill control group %s: %w", g.path, err)
		}
		pids, err := g.g.procs()
		if err != nil {
			return fmt.Errorf("list processes of control group %s: %w", g.path, err)
		}
		if len(pids) == 0 {
			break
		}
		// A killed process leaves its group when its parent or init reaps it: there is no event for that in v1.
		select {
		case <-ctx.Done():
			return fmt.Errorf("end processes %v of control group %s: %w", pids, g.path, ctx.Err())
		case <-time.After(delay):
		}
	}
	if err := g.g.delete(); err != nil {
		return fmt.Errorf("remove control group %s: %w", g.path, err)
	}
	return nil
}
