package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"golang.org/x/sys/unix"
)

const mountpoint = "/sys/fs/cgroup"

// needed are the controllers without which no author code is run.
var needed = []string{"cpu", "memory", "pids"}

// supervisorLeaf is where the server itself goes in a delegated group, because a group of v2 has either processes or
// children with controllers ("no internal processes", cgroups(7)).
const supervisorLeaf = "supervisor"

// detect finds the hierarchy that carries the controllers and the group below which this process may make its own.
func detect() (hierarchy, string, error) {
	if cgroups.Mode() == cgroups.Unified {
		base, err := unifiedBase()
		return unified{}, base, err
	}
	names, err := legacyControllers()
	if err != nil {
		return nil, "", err
	}
	var missing []string
	for _, name := range append([]string{"cpuacct"}, needed...) {
		if !slices.Contains(names, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, "", fmt.Errorf("this host's control groups (v1) lack %s: boot with "+
			"systemd.unified_cgroup_hierarchy=1 to use v2, or mount the missing controllers below %s",
			strings.Join(missing, ", "), mountpoint)
	}
	return legacy{}, "", nil
}

func legacyControllers() ([]string, error) {
	subsystems, err := cgroup1.Default()
	if err != nil {
		return nil, fmt.Errorf("find control groups below %s: %w (is this a container without them?)", mountpoint, err)
	}
	var names []string
	for _, s := range subsystems {
		names = append(names, string(s.Name()))
	}
	return names, nil
}

// unifiedBase is our own group where systemd delegated it to us or where a container gave us nothing else, and the root
// of the hierarchy where we run in somebody else's group, for example a login shell's. In a group of our own the
// server moves into a leaf.
func unifiedBase() (string, error) {
	_, self, err := cgroups.ParseCgroupFileUnified("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("read own control group: %w", err)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(self, supervisorLeaf), "/")
	if _, err := os.Stat(mountpoint + "/cgroup.type"); errors.Is(err, os.ErrNotExist) && !delegated(mountpoint+base) {
		base = "" // the real root of the hierarchy is the one group that may have processes and children
	}
	if base != "" || fileExists(mountpoint+"/cgroup.type") {
		if err := moveAside(base); err != nil {
			return "", err
		}
	}
	return base, checkControllers(mountpoint + base)
}

// delegated reports whether systemd marks the group as given to us (Delegate=yes sets this attribute since v251; before
// that there is none, and the group is used when it is a service's).
func delegated(dir string) bool {
	buf := make([]byte, 8)
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, name, buf); err == nil && string(buf[:n]) == "1" {
			return true
		}
	}
	return false
}

func moveAside(base string) error {
	leaf := filepath.Join(mountpoint, base, supervisorLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a leaf for the server in its control group: %w", err)
	}
	if err := os.WriteFile(leaf+"/cgroup.procs", []byte("0"), 0o644); err != nil {
		return fmt.Errorf("move the server into %s: %w", leaf, err)
	}
	return nil
}

func checkControllers(dir string) error {
	data, err := os.ReadFile(dir + "/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("read control group controllers: %w", err)
	}
	have := strings.Fields(string(data))
	for _, name := range needed {
		if !slices.Contains(have, name) {
			return fmt.Errorf("the %s controller is not available in %s (it has: %s): run the server as a systemd "+
				"service with Delegate=yes, or from a root shell outside a container",
				name, dir, strings.Join(have, " "))
		}
	}
	return nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
