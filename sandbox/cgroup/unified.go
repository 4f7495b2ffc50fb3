package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
)

// unified is the v2 hierarchy.
type unified struct{}

func (unified) version() int { return 2 }

func (unified) prepare(path string) error {
	if err := os.MkdirAll(mountpoint+path, 0o755); err != nil {
		return err
	}
	// Controllers come down level by level: a group has only those that its parent lists in subtree_control.
	for dir := filepath.Dir(filepath.Dir(mountpoint + path)); ; dir = filepath.Join(dir, nextElement(dir, mountpoint+path)) {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+cpu +memory +pids"), 0o644); err != nil {
			return fmt.Errorf("enable controllers for the children of %s: %w", dir, remedyBusy(err))
		}
		// Needed only where a device is named: limiting it fails then if this did.
		_ = os.WriteFile(dir+"/cgroup.subtree_control", []byte("+io"), 0o644)
		if dir == mountpoint+path {
			return nil
		}
	}
}

func nextElement(dir, path string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func remedyBusy(err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w: other processes are in that group; run the server as a systemd service with Delegate=yes", err)
	}
	return err
}

func (unified) create(path string, l Limits) (group, error) {
	if err := os.Mkdir(mountpoint+path, 0o755); err != nil {
		return nil, err
	}
	g, err := limitUnified(path, l)
	if err != nil {
		return nil, errors.Join(err, os.Remove(mountpoint+path))
	}
	return g, nil
}

func limitUnified(path string, l Limits) (group, error) {
	m, err := cgroup2.Load(path)
	if err != nil {
		return nil, err
	}
	swap, oomGroup := int64(0), true
	quota, period := int64(l.CPU*float64(cpuPeriod.Microseconds())), uint64(cpuPeriod.Microseconds())
	// Just below the limit the kernel reclaims and slows the group down first, so that what it can give back, it gives.
	high := l.MemoryBytes - l.MemoryBytes/32
	memory := &cgroup2.Memory{Max: &l.MemoryBytes, High: &high, OOMGroup: &oomGroup}
	weight := min(max(uint64(100*l.CPU), 1), 10_000)
	if fileExists(mountpoint + path + "/memory.swap.max") { // absent when the kernel has no swap
		memory.Swap = &swap
	}
	err = m.Update(&cgroup2.Resources{
		Memory: memory,
		CPU:    &cgroup2.CPU{Weight: &weight, Max: cgroup2.NewCPUMax(&quota, &period)},
		Pids:   &cgroup2.Pids{Max: int64(l.Pids)},
		IO:     unifiedIO(l.IO),
	})
	if err != nil {
		return nil, err
	}
	return &unifiedGroup{m: m, dir: mountpoint + path}, nil
}

func unifiedIO(limits []IOLimit) *cgroup2.IO {
	if len(limits) == 0 {
		return nil
	}
	io := &cgroup2.IO{}
	for _, l := range limits {
		for kind, rate := range map[cgroup2.IOType]uint64{
			cgroup2.ReadBPS: l.ReadBytes, cgroup2.WriteBPS: l.WriteBytes, cgroup2.ReadIOPS: l.ReadOps, cgroup2.WriteIOPS: l.WriteOps,
		} {
			if rate > 0 {
				io.Max = append(io.Max, cgroup2.Entry{Type: kind, Major: l.Major, Minor: l.Minor, Rate: rate})
			}
		}
	}
	return io
}

func (unified) children(path string) ([]string, error) { return subdirectories(mountpoint + path) }

func (unified) load(path string) (group, error) {
	m, err := cgroup2.Load(path)
	if err != nil {
		return nil, err
	}
	return &unifiedGroup{m: m, dir: mountpoint + path}, nil
}

type unifiedGroup struct {
	m   *cgroup2.Manager
	dir string
}

// start has the kernel clone the child straight into the group (CLONE_INTO_CGROUP, clone(2)).
func (g *unifiedGroup) start(cmd *exec.Cmd) error {
	dir, err := os.Open(g.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd.Start()
}

func (g *unifiedGroup) procs() ([]int, error) {
	data, err := os.ReadFile(g.dir + "/cgroup.procs")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return parsePids(data), err
}

func (g *unifiedGroup) kill() error {
	err := os.WriteFile(g.dir+"/cgroup.kill", []byte("1"), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if !fileExists(g.dir) {
			return nil
		}
		return g.m.Kill() // kernels before 5.14 have no cgroup.kill: freeze, then signal each
	}
	return err
}

func (g *unifiedGroup) cpuTime() (time.Duration, error) {
	cpu, err := readFlatKeyed(g.dir + "/cpu.stat")
	return time.Duration(cpu["usage_usec"]) * time.Microsecond, err
}

func (g *unifiedGroup) stats() (Stats, error) {
	current, err := readNumber(g.dir + "/memory.current")
	if err != nil {
		return Stats{}, err
	}
	pids, err := readNumber(g.dir + "/pids.current")
	if err != nil {
		return Stats{}, err
	}
	cpu, err := readFlatKeyed(g.dir + "/cpu.stat")
	if err != nil {
		return Stats{}, err
	}
	peak, err := readNumber(g.dir + "/memory.peak")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Stats{}, err
	}
	return Stats{
		MemoryBytes:     current,
		MemoryPeakBytes: peak,
		CPUTime:         time.Duration(cpu["usage_usec"]) * time.Microsecond,
		Throttled:       time.Duration(cpu["throttled_usec"]) * time.Microsecond,
		Pids:            int(pids),
		Pressure: Pressure{
			Memory: readPressure(g.dir + "/memory.pressure"),
			CPU:    readPressure(g.dir + "/cpu.pressure"),
			IO:     readPressure(g.dir + "/io.pressure"),
		},
	}, nil
}

// readPressure reads the first average of a line like "some avg10=1.50 avg60=...". A kernel without pressure accounting
// has no such file, and 0 says as much.
func readPressure(path string) float64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	var percent float64
	_, _ = fmt.Sscanf(string(data), "some avg10=%f", &percent)
	return percent
}

func (g *unifiedGroup) events() (Events, error) {
	memory, err := readFlatKeyed(g.dir + "/memory.events")
	if err != nil {
		return Events{}, err
	}
	pids, err := readFlatKeyed(g.dir + "/pids.events")
	return Events{OOMKills: uint64(memory["oom_kill"]), PidsRefused: uint64(pids["max"])}, err
}

func (g *unifiedGroup) delete() error { return removeGroup(g.dir) }

// removeGroup removes an empty group; rmdir answers EBUSY for a moment after its last process was reaped.
func removeGroup(dir string) error {
	var err error
	for delay := time.Millisecond; delay < time.Second; delay *= 2 {
		err = syscall.Rmdir(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(delay)
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}

func subdirectories(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func parsePids(data []byte) []int {
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func readNumber(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// readFlatKeyed reads lines of a word and a number, as in memory.events.
func readFlatKeyed(path string) (map[string]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			values[key], _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return values, nil
}
