package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The lowest versions that the documentation promises to work.
const (
	lowestKernelMajor, lowestKernelMinor   = 5, 14
	lowestLibraryMajor, lowestLibraryMinor = 2, 34
)

var version = regexp.MustCompile(`^(\d+)\.(\d+)`)

// atLeast compares the first two numbers of a version; known is false where there are none.
func atLeast(text string, major, minor int) (yes, known bool) {
	found := version.FindStringSubmatch(text)
	if found == nil {
		return false, false
	}
	a, errA := strconv.Atoi(found[1])
	b, errB := strconv.Atoi(found[2])
	return a > major || a == major && b >= minor, errA == nil && errB == nil
}

func (e *exam) kernel(context.Context) {
	release, _ := e.read("/proc/sys/kernel/osrelease")
	enough, known := atLeast(release, lowestKernelMajor, lowestKernelMinor)
	needs := fmt.Sprintf("use Linux %d.%d or later", lowestKernelMajor, lowestKernelMinor)
	switch {
	case !known:
		e.warn("kernel", needs, "its version is not known: %q", release)
	case !enough:
		e.miss("kernel", needs+", for example that of Debian 12 or Ubuntu 22.04", "Linux %s", release)
	default:
		e.ok("kernel", "Linux %s", release)
	}
}

func (e *exam) architecture(context.Context) {
	if slices.Contains([]string{"x86_64", "aarch64"}, e.Machine) {
		e.ok("architecture", "%s", e.Machine)
		return
	}
	e.miss("architecture", "use a machine with x86-64 or 64-bit ARM", "%s", e.Machine)
}

// libraryPaths are where the C library is in the common distributions.
var libraryPaths = []string{
	"/lib/*-linux-gnu/libc.so.6", "/usr/lib/*-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib64/libc.so.6",
	"/lib/libc.so.6", "/usr/lib/libc.so.6",
}

var libraryVersion = regexp.MustCompile(`GNU C Library[^\n]{0,80} version (\d+\.\d+)`)

// library looks for glibc, which nsjail and most wheels are built against. The library carries its version as text.
func (e *exam) library(context.Context) {
	const name = "c library"
	remedy := fmt.Sprintf("use a distribution with glibc %d.%d or later, for example Debian 12 or Ubuntu 22.04",
		lowestLibraryMajor, lowestLibraryMinor)
	for _, pattern := range libraryPaths {
		found, _ := filepath.Glob(e.path(pattern))
		if len(found) == 0 {
			continue
		}
		data, _ := os.ReadFile(found[0])
		text := libraryVersion.FindSubmatch(data)
		if text == nil {
			continue
		}
		if enough, _ := atLeast(string(text[1]), lowestLibraryMajor, lowestLibraryMinor); !enough {
			e.miss(name, remedy, "glibc %s", text[1])
			return
		}
		e.ok(name, "glibc %s", text[1])
		return
	}
	if musl, _ := filepath.Glob(e.path("/lib/ld-musl-*")); len(musl) > 0 {
		e.miss(name, remedy, "musl")
		return
	}
	e.warn(name, remedy, "none was found where distributions have it")
}

func (e *exam) root(context.Context) {
	if e.UID == 0 {
		e.ok("root", "this runs as root, as serve must")
		return
	}
	e.miss("root", "run serve, and this for a full picture, with sudo", "this runs as user %d", e.UID)
}

// jail is every kind of namespace that a sandbox is made of.
const jail = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

func (e *exam) namespaces(ctx context.Context) {
	const name = "user namespaces"
	highest, limited := e.number("/proc/sys/user/max_user_namespaces")
	if limited && highest == 0 {
		e.miss(name, "run `sysctl -w user.max_user_namespaces=10000`, and put the setting into /etc/sysctl.d",
			"the sysctl user.max_user_namespaces is 0")
		return
	}
	uid := e.FirstUID
	if e.UID != 0 {
		uid = uint32(e.UID)
	}
	if err := e.Clone(ctx, jail, uid); err != nil {
		e.cloneFailed(ctx, err, uid)
		return
	}
	found := "a process in new user, mount, process, network, ipc, host name and control group namespaces starts"
	if limited {
		found += fmt.Sprintf("; at most %d", highest)
	}
	if limited && highest < int64(e.MaxSandboxes) {
		e.warn(name, fmt.Sprintf("run `sysctl -w user.max_user_namespaces=%d` or more", 2*e.MaxSandboxes),
			"%s, which is fewer than --max-sandboxes (%d)", found, e.MaxSandboxes)
		return
	}
	if value, ok := e.number("/proc/sys/kernel/unprivileged_userns_clone"); ok && value == 0 {
		found += "; kernel.unprivileged_userns_clone is 0, which does not concern root"
	}
	e.ok(name, "%s", found)
}

// cloneFailed tells a host without user namespaces from one that lacks another kind.
func (e *exam) cloneFailed(ctx context.Context, err error, uid uint32) {
	remedy := "do not run the server in a chroot or in a container that forbids new namespaces (Docker: --privileged)"
	if errors.Is(err, unix.EINVAL) {
		remedy = "use a kernel that is built with all kinds of namespaces"
	}
	kind := "namespaces of other kinds than user"
	if alone := e.Clone(ctx, unix.CLONE_NEWUSER, uid); alone != nil {
		kind, err = "user namespaces", alone
	}
	e.miss("user namespaces", remedy, "a process in new %s does not start: %v", kind, err)
}

// empty are directories of /proc that are made for mounts, so that covering them hides nothing.
var empty = []string{"/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd"}

// proc looks for mounts that hide a part of /proc, as container managers make them: the kernel then lets no user namespace
// have a /proc of its own, because that would show what is hidden (mount_too_revealing in fs/namespace.c).
func (e *exam) proc(context.Context) {
	const name = "proc"
	var hidden []string
	for _, f := range e.lines("/proc/self/mountinfo") {
		if len(f) > 4 && strings.HasPrefix(f[4], "/proc/") && !slices.Contains(empty, f[4]) {
			hidden = append(hidden, f[4])
		}
	}
	if len(hidden) == 0 {
		e.ok(name, "whole, so that sandboxes can have their own")
		return
	}
	e.miss(name, "run the server outside the container, or without masked paths (Docker: --privileged or "+
		"--security-opt systempaths=unconfined)", "partly hidden, so that sandboxes cannot have their own: %s", few(hidden))
}

// apparmor is told because people look for it: Ubuntu since 23.10 restricts unprivileged programs only.
func (e *exam) apparmor(context.Context) {
	const name = "apparmor"
	switch value, ok := e.number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); {
	case !ok:
		e.ok(name, "no restriction of user namespaces")
	case value == 0:
		e.ok(name, "user namespaces are not restricted")
	default:
		e.ok(name, "user namespaces are restricted for unprivileged programs, which does not concern root and so the server")
	}
}

func (e *exam) seccomp(context.Context) {
	const name, remedy = "seccomp", "use a kernel that is built with CONFIG_SECCOMP_FILTER"
	text, ok := e.read("/proc/sys/kernel/seccomp/actions_avail")
	actions := strings.Fields(text)
	var lacks []string
	for _, action := range []string{"kill_process", "errno"} {
		if !slices.Contains(actions, action) {
			lacks = append(lacks, action)
		}
	}
	switch {
	case !ok:
		e.miss(name, remedy, "the kernel has no system call filters")
	case len(lacks) > 0:
		e.miss(name, remedy, "the kernel's filters lack the actions %s", strings.Join(lacks, ", "))
	default:
		e.ok(name, "actions %s", strings.Join(actions, ", "))
	}
}

// refusals says whether authors are told of calls that the filter refuses. Who runs auditd has a reason, so that it is no lack.
func (e *exam) refusals(context.Context) {
	const name = "refused calls"
	switch pid, err := e.Auditd(); {
	case err == nil && pid != 0:
		e.ok(name, "not in programs' logs, nor recorded: process %d (auditd) takes the kernel's records, whose rate nothing bounds", pid)
	default:
		e.ok(name, "in programs' logs, by the kernel's")
	}
}
