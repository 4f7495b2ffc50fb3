package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// legacy is the v1 hierarchies of memory, cpu, cpuacct and pids, which may be mounted together or apart.
type legacy struct{}

var legacyNames = []cgroup1.Name{cgroup1.Memory, cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Pids}

// legacyAll are those in which a group may be: blkio is used only where a device is named.
var legacyAll = append(slices.Clone(legacyNames), cgroup1.Blkio)

// Shares are in proportion to this for one core (cgroups(7)).
const sharesPerCore = 1024

// legacyHierarchy leaves the other controllers alone: a group in each of them would cost a start and give nothing.
func legacyHierarchy(names []cgroup1.Name) cgroup1.Hierarchy {
	return func() ([]cgroup1.Subsystem, error) {
		all, err := cgroup1.Default()
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(all, func(s cgroup1.Subsystem) bool { return !slices.Contains(names, s.Name()) }), nil
	}
}

func (legacy) version() int { return 1 }

func (legacy) prepare(path string) error {
	for _, name := range legacyNames {
		if err := os.MkdirAll(legacyDir(name, path), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func legacyDir(name cgroup1.Name, path string) string { return mountpoint + "/" + string(name) + path }

// legacyRoots are the groups that are mounted as the roots of the hierarchies, by the names of their controllers: in a container without a
// namespace for control groups that is its own, while /proc names groups by the way from the host's (cgroup_namespaces(7)).
var legacyRoots = sync.OnceValue(func() map[string]string {
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo")
	return parseLegacyRoots(string(mountinfo))
})

// parseLegacyRoots leaves out those that are the hierarchy's root. Of several mounts at a place the last one is seen.
func parseLegacyRoots(mountinfo string) map[string]string {
	roots := map[string]string{}
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			if name, ok := strings.CutPrefix(fields[4], mountpoint+"/"); ok {
				for name := range strings.SplitSeq(name, ",") {
					roots[name] = strings.TrimSuffix(fields[3], "/")
				}
			}
		}
	}
	return roots
}

func (legacy) create(path string, l Limits) (group, error) {
	if fileExists(legacyDir(cgroup1.Pids, path)) {
		return nil, &os.PathError{Op: "mkdir", Path: path, Err: os.ErrExist}
	}
	quota, period := int64(l.CPU*float64(cpuPeriod.Microseconds())), uint64(cpuPeriod.Microseconds())
	pids := int64(l.Pids)
	shares := max(uint64(sharesPerCore*l.CPU), 2)
	memory := &specs.LinuxMemory{Limit: &l.MemoryBytes}
	if fileExists(mountpoint + "/memory/memory.memsw.limit_in_bytes") { // absent without swap accounting
		memory.Swap = &l.MemoryBytes
	}
	// What sockets of TCP and UDP hold counts apart, and only where it has a limit of its own: without one a sandbox could fill what
	// the whole machine may have.
	sockets := l.MemoryBytes / 4
	if fileExists(mountpoint + "/memory/memory.kmem.tcp.limit_in_bytes") {
		memory.KernelTCP = &sockets
	}
	noSwap := uint64(0)
	memory.Swappiness = &noSwap
	names := legacyNames
	if len(l.IO) > 0 {
		names = append(slices.Clone(names), cgroup1.Blkio)
	}
	c, err := cgroup1.New(cgroup1.StaticPath(path), &specs.LinuxResources{
		Memory: memory,
		CPU:    &specs.LinuxCPU{Shares: &shares, Quota: &quota, Period: &period},
		Pids:   &specs.LinuxPids{Limit: &pids},

		BlockIO: legacyIO(l.IO),
	}, cgroup1.WithHierarchy(legacyHierarchy(names)))
	g := &legacyGroup{c: c, path: path, names: names}
	if err != nil {
		return nil, errors.Join(err, g.delete())
	}
	if err := g.watchOOM(); err != nil {
		return nil, errors.Join(err, g.delete())
	}
	return g, nil
}

func legacyIO(limits []IOLimit) *specs.LinuxBlockIO {
	if len(limits) == 0 {
		return nil
	}
	io := &specs.LinuxBlockIO{}
	add := func(to *[]specs.LinuxThrottleDevice, l IOLimit, rate uint64) {
		if rate > 0 {
			device := specs.LinuxThrottleDevice{Rate: rate}
			device.Major, device.Minor = l.Major, l.Minor
			*to = append(*to, device)
		}
	}
	for _, l := range limits {
		add(&io.ThrottleReadBpsDevice, l, l.ReadBytes)
		add(&io.ThrottleWriteBpsDevice, l, l.WriteBytes)
		add(&io.ThrottleReadIOPSDevice, l, l.ReadOps)
		add(&io.ThrottleWriteIOPSDevice, l, l.WriteOps)
	}
	return io
}

func (legacy) children(path string) ([]string, error) {
	var names []string
	for _, controller := range legacyAll {
		found, err := subdirectories(legacyDir(controller, path))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (legacy) load(path string) (group, error) {
	return &legacyGroup{path: path, names: legacyAll}, nil
}

type legacyGroup struct {
	c       cgroup1.Cgroup // nil when loaded only to be ended
	path    string
	names   []cgroup1.Name // the hierarchies that it is in
	oom     *os.File
	deleted atomic.Bool
}

// watchOOM ends the whole group when the kernel reports that it ran out of memory: v1 kills one process and leaves the
// others in a state that nobody planned (v2 has memory.oom.group for this).
func (g *legacyGroup) watchOOM() error {
	fd, err := g.c.OOMEventFD()
	if err != nil {
		return fmt.Errorf("watch for out of memory: %w", err)
	}
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return fmt.Errorf("watch for out of memory: %w", err)
	}
	g.oom = os.NewFile(fd, "memory.oom_control")
	go func() {
		var counter [8]byte
		for {
			if _, err := g.oom.Read(counter[:]); err != nil || g.deleted.Load() {
				return
			}
			if g.waitOOMKill() {
				_ = g.kill()
			}
		}
	}()
	return nil
}

// waitOOMKill waits until the kernel has counted its kill, which it does just after the event; false when it found
// memory after all.
func (g *legacyGroup) waitOOMKill() bool {
	for delay := time.Millisecond; delay < 500*time.Millisecond; delay *= 2 {
		if e, err := g.events(); err != nil || e.OOMKills > 0 {
			return err == nil
		}
		time.Sleep(delay)
	}
	return false
}

// start moves the calling thread into the group, so that its child is born there, and back. The thread is the
// spawner's alone; should the way back fail, it would stay charged to a sandbox, so that is an error.
func (g *legacyGroup) start(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := cgroup1.ParseCgroupFile("/proc/thread-self/cgroup")
	if err != nil {
		return fmt.Errorf("read the thread's control groups: %w", err)
	}
	for name, path := range home {
		if root := legacyRoots()[name]; path == root || strings.HasPrefix(path, root+"/") {
			home[name] = path[len(root):]
		}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := g.moveThread(func(cgroup1.Name) string { return g.path }); err != nil {
		return errors.Join(err, g.moveThread(func(n cgroup1.Name) string { return home[string(n)] }))
	}
	startErr := cmd.Start()
	if err := g.moveThread(func(n cgroup1.Name) string { return home[string(n)] }); err != nil {
		if startErr == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return errors.Join(startErr, err)
	}
	return startErr
}

func (g *legacyGroup) moveThread(to func(cgroup1.Name) string) error {
	for _, name := range g.names {
		file := legacyDir(name, to(name)) + "/tasks"
		if err := os.WriteFile(file, []byte(strconv.Itoa(unix.Gettid())), 0o644); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// procs looks in every hierarchy: a server that was killed while it started a sandbox may have got only half way.
func (g *legacyGroup) procs() ([]int, error) {
	var pids []int
	for _, name := range g.names {
		data, err := os.ReadFile(legacyDir(name, g.path) + "/cgroup.procs")
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			return nil, err
		}
		pids = append(pids, parsePids(data)...)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// kill forbids new processes first, so that a fork bomb cannot outrun it.
func (g *legacyGroup) kill() error {
	err := os.WriteFile(legacyDir(cgroup1.Pids, g.path)+"/pids.max", []byte("0"), 0o644)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
		return err
	}
	pids, err := g.procs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := g.killProcess(pid); err != nil {
			return err
		}
	}
	return nil
}

// killProcess kills pid only if it is still in the group once it is held by a descriptor: the number may have been given
// to another process since it was read.
func (g *legacyGroup) killProcess(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ignoreGone(err)
	}
	defer unix.Close(fd)
	groups, err := cgroup1.ParseCgroupFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil //nolint:nilerr // no such process any more
	}
	for _, name := range g.names {
		if groups[string(name)] == legacyRoots()[string(name)]+g.path {
			return ignoreGone(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0))
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (g *legacyGroup) cpuTime() (time.Duration, error) {
	n, err := readNumber(legacyDir(cgroup1.Cpuacct, g.path) + "/cpuacct.usage")
	return time.Duration(n), err
}

func (g *legacyGroup) stats() (Stats, error) {
	usage, err := readNumber(legacyDir(cgroup1.Memory, g.path) + "/memory.usage_in_bytes")
	if err != nil {
		return Stats{}, err
	}
	peak, err := readNumber(legacyDir(cgroup1.Memory, g.path) + "/memory.max_usage_in_bytes")
	if err != nil {
		return Stats{}, err
	}
	cpu, err := g.cpuTime()
	if err != nil {
		return Stats{}, err
	}
	throttle, err := readFlatKeyed(legacyDir(cgroup1.Cpu, g.path) + "/cpu.stat")
	if err != nil {
		return Stats{}, err
	}
	pids, err := readNumber(legacyDir(cgroup1.Pids, g.path) + "/pids.current")
	return Stats{
		MemoryBytes:     usage,
		MemoryPeakBytes: peak,
		CPUTime:         cpu,
		Throttled:       time.Duration(throttle["throttled_time"]),
		Pids:            int(pids),
	}, err
}

func (g *legacyGroup) events() (Events, error) {
	memory, err := readFlatKeyed(legacyDir(cgroup1.Memory, g.path) + "/memory.oom_control")
	if err != nil {
		return Events{}, err
	}
	pids, err := readFlatKeyed(legacyDir(cgroup1.Pids, g.path) + "/pids.events")
	return Events{OOMKills: uint64(memory["oom_kill"]), PidsRefused: uint64(pids["max"])}, err
}

func (g *legacyGroup) delete() error {
	g.deleted.Store(true)
	if g.oom != nil {
		_ = g.oom.Close()
	}
	var errs []error
	for _, name := range g.names {
		errs = append(errs, removeGroup(legacyDir(name, g.path)))
	}
	return errors.Join(errs...)
}
