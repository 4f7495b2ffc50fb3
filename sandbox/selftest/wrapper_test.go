package selftest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
	"apibuilder/sandbox/selftest"
)

// wall is one that is turned off by a script between the driver and nsjail, and what must fail then.
type wall struct {
	name    string
	replace map[string]string // options that have one value, and what stands there instead
	add     []string          // options
	config  []string          // expressions of sed on the configuration
	before  string            // shell that runs before nsjail; $dir is a directory that everybody may write
	through string            // a command that runs nsjail
	fails   []string          // and their like in a sandbox with a network, where there are such
	holds   []string          // of those
}

const (
	procMount = `s#src: "" dst: "/proc" fstype: "proc" options: "" is_symlink: false is_bind: false#src: "/proc" dst: "/proc" fstype: "" options: "" is_symlink: false is_bind: true#`
	dropTmp   = `/dst: "\/tmp" fstype: "tmpfs"/d`
	// The runner adds a filter of its own to the host's; this takes it away.
	mildRunner = `from=$(sed -n 's#.*src: "\([^"]*\)" dst: "/runner".*#\1#p' "$dir/given.$$")
[ -z "$from" ] || { mkdir -p "$dir/runner"; cp -r "$from"/* "$dir/runner/"; sed -i '/^    interpreter.refine_filter()$/d' "$dir/runner/apibuilder_runner/main.py"; chmod -R a+rX "$dir/runner"; }`
	useMildRunner = `s#src: "[^"]*" dst: "/runner"#src: "'$dir'/runner" dst: "/runner"#`
	noLimits      = `for limit in nofile fsize memlock msgqueue core; do prlimit --pid $$ --$limit=unlimited || true; done`
)

var walls = []wall{
	{name: "seccomp", replace: map[string]string{"--seccomp_policy": ""}, fails: []string{
		"kernel.seccomp", "kernel.unshare", "kernel.clone", "kernel.setns", "kernel.mount_api", "kernel.ptrace",
		"kernel.process_memory", "kernel.process_handles", "kernel.page_moves", "kernel.keyrings", "kernel.splice_pages",
		"kernel.old_calls", "kernel.tiocsti", "kernel.personality", "kernel.socket_families", "kernel.socket_pairs",
		"kernel.socket_protocols", "kernel.socket_filters", "kernel.huge_pages", "kernel.file_handles",
		"kernel.quota", "kernel.clock", "kernel.file_systems", "kernel.file_locks", "reach.interface_calls",
	}},
	{name: "both seccomp filters", replace: map[string]string{"--seccomp_policy": ""}, before: mildRunner, config: []string{useMildRunner}, fails: []string{
		"kernel.filters", "kernel.clone3", "kernel.table_32bit", "kernel.io_uring",
	}},
	{name: "capabilities", add: []string{"--keep_caps"}, fails: []string{"kernel.capabilities", "kernel.capability_sets"}},
	{name: "seccomp and capabilities", replace: map[string]string{"--seccomp_policy": ""}, add: []string{"--keep_caps"}, fails: []string{
		"kernel.mount", "kernel.pivot_root", "kernel.chroot", "kernel.hostname", "kernel.raw_sockets", "kernel.packet_sockets",
	}, holds: []string{"kernel.egress_raw_sockets", "kernel.egress_packet_sockets"}}, // which want the capabilities of the network's owner
	{name: "seccomp, capabilities and user namespace", replace: map[string]string{"--seccomp_policy": ""}, add: []string{"--keep_caps", "--disable_clone_newuser"}, fails: []string{
		"kernel.egress_raw_sockets", "kernel.egress_packet_sockets", "reach.egress_sockets", "reach.egress_device",
	}},
	{ // without which a program may not add a filter, and the runner does not start
		name: "no_new_privs", replace: map[string]string{"--seccomp_policy": ""}, add: []string{"--disable_no_new_privs"}, before: mildRunner,
		config: []string{useMildRunner}, fails: []string{"kernel.no_new_privs"},
	},
	{name: "read-only mounts", add: []string{"--rw"}, config: []string{"s/rw: false/rw: true/"}, fails: []string{
		"kernel.mount_flags", "kernel.write_files", "kernel.proc_files",
	}},
	{
		name: "read-only mounts, for the files' owner", add: []string{"--rw"}, config: []string{"s/rw: false/rw: true/"},
		replace: map[string]string{"--user": "--user 1000:0:1"}, fails: []string{"kernel.write_stubbornly"},
	},
	{name: "nosuid", config: []string{"s/nosuid: true/nosuid: false/"}, fails: []string{"kernel.mount_flags", "kernel.set_uid_files"}},
	{name: "nodev", config: []string{"s/nodev: true/nodev: false/"}, fails: []string{"kernel.mount_flags"}},
	{name: "masked proc", config: []string{`/dst: "\/proc\/./d`}, fails: []string{"kernel.proc_hidden"}},
	{name: "sysfs", add: []string{"--bindmount_ro", "/sys"}, fails: []string{"kernel.sysfs"}},
	{name: "devices", add: []string{"--bindmount_ro", "/dev/kmsg"}, fails: []string{"kernel.devices"}},
	{name: "users", replace: map[string]string{"--user": "--user 1000:1999999999:1"}, fails: []string{"reach.user"}},
	{name: "no root outside", replace: map[string]string{"--user": "--user 1000:0:1", "--group": "--group 1000:0:1"}, fails: []string{"reach.user"}},
	{name: "no root inside", replace: map[string]string{"--user": "--user 0:1999999999:1"}, fails: []string{"kernel.become_root"}},
	{name: "user namespace", add: []string{"--disable_clone_newuser"}, fails: []string{"reach.namespace_user"}},
	{name: "network namespace", add: []string{"--disable_clone_newnet"}, through: "nsenter --net=/proc/$PPID/ns/net", fails: []string{
		"reach.namespace_net", "reach.abstract_socket", "reach.other_socket", "reach.host_loopback", "reach.host_loopback_udp",
		"reach.host_addresses", "reach.interfaces", "reach.egress_namespace",
	}},
	{name: "pid namespace", add: []string{"--disable_clone_newpid"}, config: []string{procMount}, fails: []string{
		"reach.namespace_pid", "reach.processes", "reach.host_process", "reach.signals",
	}},
	{name: "ipc namespace", add: []string{"--disable_clone_newipc"}, fails: []string{"reach.namespace_ipc", "reach.shared_memory", "reach.message_queue"}},
	{name: "uts namespace", add: []string{"--disable_clone_newuts"}, fails: []string{"reach.namespace_uts", "reach.hostname"}},
	{name: "cgroup namespace", add: []string{"--disable_clone_newcgroup"}, fails: []string{"reach.namespace_cgroup", "reach.control_groups"}},
	{name: "host's directories", add: []string{"--bindmount_ro", "/root", "--bindmount_ro", "/etc/shadow"}, fails: []string{"reach.host_paths"}},
	{name: "host's files", add: []string{"--bindmount", "$dir"}, fails: []string{"reach.host_file", "reach.unix_socket"}},
	{name: "an etc of its own", config: []string{`s#src: "[^"]*/etc/passwd"#src: "/etc/passwd"#`}, fails: []string{"reach.accounts"}},
	{name: "a tmp of its own", config: []string{dropTmp}, before: `mkdir -p -m 777 $dir/tmp; rm -rf $dir/tmp/.program`, add: []string{"--bindmount", "$dir/tmp:/tmp"}, fails: []string{"reach.other_files"}},
	{name: "environment", before: "export APIBUILDER_LEAK=leaked", add: []string{"--keep_env"}, fails: []string{"reach.environment"}},
	{name: "descriptors", before: "exec 8</etc/passwd", add: []string{"--pass_fd", "8"}, fails: []string{"reach.descriptors"}},
	{name: "descriptors of a network", before: "exec 8<>/dev/net/tun 9</proc/self/ns/net", add: []string{"--pass_fd", "8", "--pass_fd", "9"}, fails: []string{
		"reach.descriptors", "reach.egress_handles",
	}},
	{name: "session", add: []string{"--skip_setsid"}, fails: []string{"reach.session"}},
	{name: "resource limits", before: noLimits, replace: map[string]string{
		"--rlimit_nofile": "--rlimit_nofile hard", "--rlimit_fsize": "--rlimit_fsize hard", "--rlimit_memlock": "--rlimit_memlock hard",
		"--rlimit_msgqueue": "--rlimit_msgqueue hard", "--rlimit_core": "--rlimit_core hard",
	}, fails: []string{
		"resources.descriptors", "resources.file_size", "resources.locked_memory", "resources.message_queues", "resources.core", "resources.raise_limits",
	}},
	{name: "size of the tmpfs", config: []string{"s/size=[0-9]*,nr_inodes=[0-9]*,/size=256m,nr_inodes=100000,/"}, fails: []string{"resources.disk", "resources.inodes"}},
}

// failing are the checks that must fail.
func (w wall) failing() []string {
	ids := slices.Clone(w.fails)
	for _, c := range selftest.Checks() {
		if first := strings.Replace(c.ID, ".egress_", ".", 1); first != c.ID && slices.Contains(w.fails, first) && !slices.Contains(w.holds, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// driver calls nsjail by a script that turns the wall off.
func (w wall) driver(t *testing.T) sandbox.Driver {
	t.Helper()
	dir, err := os.MkdirTemp("", "wall") // short, for the sake of a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(shared, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", shared) // where the bait is laid
	script := filepath.Join(dir, "nsjail-without-a-wall")
	if err := os.WriteFile(script, []byte(w.script(shared, testenv.Tools(t).Nsjail)), 0o755); err != nil {
		t.Fatal(err)
	}
	return nsjail.New(nsjail.Config{
		Nsjail: script, Dir: dir, Instance: nsjail.InstanceName(dir),
		UIDs: nsjail.UIDRange{First: nsjail.DefaultUIDs.First + 1, Last: nsjail.DefaultUIDs.Last}, Network: true,
	})
}

// script takes the driver's arguments, which begin with the configuration.
func (w wall) script(dir, nsjail string) string {
	var cases, sed strings.Builder
	for option, instead := range w.replace {
		fmt.Fprintf(&cases, "\t%s) shift; n=$((n - 1)); set -- \"$@\" %s ;;\n", option, instead)
	}
	for _, expression := range w.config {
		fmt.Fprintf(&sed, " -e '%s'", expression)
	}
	return fmt.Sprintf(`#!/bin/sh
dir=%s
cat /proc/self/fd/6 > "$dir/given.$$" # a pipe, which can be read once
%s
sed -e ''%s "$dir/given.$$" > "$dir/config.$$"
shift 2
n=$#
while [ "$n" -gt 0 ]; do
	arg=$1; shift; n=$((n - 1))
	case $arg in
%s	*) set -- "$@" "$arg" ;;
	esac
done
exec %s %s --config "$dir/config.$$" %s "$@"
`, dir, w.before, sed.String(), cases.String(), w.through, nsjail, strings.Join(w.add, " "))
}
