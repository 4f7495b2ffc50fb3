package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// Description is what a host's control groups offer to Open, found without changing anything.
type Description struct {
	Version     int      // 2, 1, or 0 where none are mounted below /sys/fs/cgroup
	Hybrid      bool     // v1 has the controllers, and v2 is mounted beside it
	ReadOnly    bool     // nobody can make a group
	Controllers []string // that a server's groups could have, sorted
	Missing     []string // that Open needs besides those
	Group       string   // v2: the group below which Open makes its own; empty: the root of the hierarchy
	Delegated   bool     // v2: systemd gave that group away (Delegate=yes)
	Contained   bool     // v2: the root that is seen here is not the host's, as in a container
	Others      int      // v2: processes in that group besides the caller, where they would be in the way
	SwapUnbound bool     // v1: the kernel does not count swap, so a group's memory limit does not bound it
}

// Describe looks below root, which is "/" but for tests.
func Describe(root string) (Description, error) {
	data, err := os.ReadFile(filepath.Join(root, "/proc/self/mountinfo"))
	if err != nil {
		return Description{}, fmt.Errorf("list the mounts: %w", err)
	}
	var d Description
	var beside bool
	for line := range strings.Lines(string(data)) {
		at, kind, readOnly := parseMount(line)
		inside := at == mountpoint || strings.HasPrefix(at, mountpoint+"/")
		switch {
		case kind == "cgroup2" && at == mountpoint:
			d.Version, d.ReadOnly = 2, readOnly
		case kind == "cgroup2" && inside:
			beside = true
		case kind == "cgroup" && inside && d.Version != 2:
			d.Version, d.ReadOnly = 1, d.ReadOnly || readOnly
		}
	}
	switch d.Version {
	case 2:
		return d.unified(root)
	case 1:
		d.Hybrid = beside
		return d.legacy(root), nil
	}
	d.Missing = slices.Clone(needed)
	return d, nil
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)).
func parseMount(line string) (at, kind string, readOnly bool) {
	before, after, _ := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if len(fields) < 6 || len(rest) < 1 {
		return "", "", false
	}
	return fields[4], rest[0], slices.Contains(strings.Split(fields[5], ","), "ro")
}

// known are the controllers of v1 that are worth telling about.
var known = []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"}

func (d Description) legacy(root string) Description {
	dir := filepath.Join(root, mountpoint)
	for _, name := range known {
		if fileExists(filepath.Join(dir, name)) {
			d.Controllers = append(d.Controllers, name)
		}
	}
	d.lack(append([]string{"cpuacct"}, needed...))
	d.SwapUnbound = !fileExists(filepath.Join(dir, "memory/memory.memsw.limit_in_bytes"))
	return d
}

// unified finds the same group as unifiedBase.
func (d Description) unified(root string) (Description, error) {
	_, self, err := cgroups.ParseCgroupFileUnified(filepath.Join(root, "/proc/self/cgroup"))
	if err != nil {
		return d, fmt.Errorf("read own control group: %w", err)
	}
	top := filepath.Join(root, mountpoint)
	d.Group = strings.TrimSuffix(strings.TrimSuffix(self, supervisorLeaf), "/")
	d.Contained = fileExists(filepath.Join(top, "cgroup.type"))
	d.Delegated = delegated(top + d.Group)
	if !d.Contained && !d.Delegated {
		d.Group = ""
	}
	data, err := os.ReadFile(top + d.Group + "/cgroup.controllers")
	if err != nil {
		return d, fmt.Errorf("read control group controllers: %w", err)
	}
	d.Controllers = strings.Fields(string(data))
	slices.Sort(d.Controllers)
	d.lack(needed)
	if d.Contained || d.Group != "" {
		d.Others, err = others(top + d.Group + "/cgroup.procs")
	}
	return d, err
}

func (d *Description) lack(names []string) {
	for _, name := range names {
		if !slices.Contains(d.Controllers, name) {
			d.Missing = append(d.Missing, name)
		}
	}
}

// others counts the processes of a group besides this one.
func others(procs string) (int, error) {
	data, err := os.ReadFile(procs)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list the processes of the own control group: %w", err)
	}
	pids := parsePids(data)
	return len(slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })), nil
}
