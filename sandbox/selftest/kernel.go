package selftest

import "strings"

// Ways in which a call is refused. The filter answers EPERM to what it names and ENOSYS to what it does not know.
const (
	eperm  = "EPERM"
	enosys = "ENOSYS"
	eacces = "EACCES"
	erofs  = "EROFS"
	enoent = "ENOENT"

	econnrefused = "ECONNREFUSED"
)

const (
	bySeccomp    = "seccomp"
	byReadOnly   = "read-only mounts"
	byAbsence    = "it is not in the file tree"
	byNoCaps     = "no capabilities"
	byUserSpace  = "user namespace"
	byNetwork    = "network namespace"
	byProcesses  = "pid namespace"
	byDescriptor = "closed descriptors"
)

func kernelChecks() []check {
	call := func(id, tried string) check {
		return probe("kernel."+id, tried, bySeccomp, refused(eperm, enosys))
	}
	return []check{
		call("unshare", "unshare every kind of namespace"),
		call("clone", "clone into new namespaces, have descriptors of a thread's own"),
		probe("kernel.filters", "add filters of system calls, which may have them logged by the host", bySeccomp, refused(eperm, enosys)),
		probe("kernel.clone3", "clone3, whose flags no filter can see", bySeccomp, refused(enosys)),
		call("setns", "enter another namespace"),
		call("mount", "mount and unmount"),
		call("mount_api", "mount by open_tree, move_mount, fsopen, fsmount, fspick, mount_setattr"),
		call("mount_query", "list mounts by statmount and listmount"),
		call("pivot_root", "change the root by pivot_root"),
		call("chroot", "change the root by chroot"),
		call("swap", "turn swap on and off"),
		call("quota", "read disk quotas"),
		call("file_handles", "open files by handle (open_by_handle_at)"),
		call("ptrace", "trace a process"),
		call("process_memory", "read and write another process's memory (process_vm_readv and its kin)"),
		call("process_handles", "take another process's descriptors (pidfd_getfd), compare kernel pointers (kcmp)"),
		call("page_moves", "move another process's pages"),
		call("bpf", "load a BPF program or make a map"),
		call("perf_event_open", "open a performance counter"),
		call("userfaultfd", "handle page faults (userfaultfd)"),
		call("io_uring", "set up an io_uring"),
		call("keyrings", "use the kernel's keyrings"),
		call("fanotify", "watch whole file systems (fanotify)"),
		call("splice_pages", "give pages to a pipe (vmsplice)"),
		call("old_calls", "calls that nobody needs any more: uselib, sysfs, _sysctl, remap_file_pages, lookup_dcookie"),
		call("secret_memory", "make memory that the kernel cannot see (memfd_secret)"),
		call("kexec", "load another kernel"),
		call("modules", "load and remove kernel modules"),
		call("reboot", "reboot, with wrong magic numbers"),
		call("log", "read the kernel's log"),
		call("accounting", "turn on process accounting"),
		call("clock", "set the clock"),
		call("hostname", "set the host's name"),
		call("terminal", "hang up the terminal"),
		call("ports", "open I/O ports (iopl, ioperm)"),
		call("ldt", "change the descriptor table (modify_ldt)"),
		call("tiocsti", "type into a terminal (TIOCSTI, TIOCLINUX), also with bits that the kernel ignores"),
		call("personality", "change the personality, to turn off address randomization"),
		probe("kernel.table_32bit", "a call of the 32-bit table (int 0x80)", "seccomp ends the process", refused("SIGSYS", "SIGSEGV")),
		probe("kernel.table_x32", "calls of the x32 table", bySeccomp, refused("SIGSYS", enosys, eperm)),
		probe("kernel.raw_sockets", "open raw sockets", byNoCaps, refused(eperm)),
		call("packet_sockets", "open packet sockets"),
		call("vsock", "open a socket to the hypervisor (vsock)"),
		call("netlink", "open netlink sockets, whose memory no limit counts"),
		call("socket_families", "open sockets of 22 rare families, whose modules the kernel would load"),
		call("socket_pairs", "open pairs of sockets of families that it may have no single ones of"),
		call("socket_protocols", "open sockets of rare protocols of the internet, whose modules the kernel would load: SCTP, DCCP, L2TP"),
		call("socket_filters", "have filters of sockets compiled, for which the whole machine has little memory"),
		call("file_locks", "lock files by their open descriptions, which are not counted"),
		call("file_systems", "have a whole file system of the host's written out (syncfs)"),
		call("huge_pages", "take huge pages of the host's, which no limit of memory counts"),
	}
}

func privilegeChecks() []check {
	return []check{
		byHost("kernel.seccomp", "run without a system call filter", bySeccomp, func(_ *run, p process) (string, error) {
			if p.status["Seccomp"] != "2" {
				return "it has no filter", nil
			}
			return "", nil
		}),
		byHost("kernel.no_new_privs", "gain privileges by running a program", "no_new_privs", func(_ *run, p process) (string, error) {
			if p.status["NoNewPrivs"] != "1" {
				return "it could gain privileges", nil
			}
			return "", nil
		}),
		byHost("kernel.capabilities", "hold a capability", byNoCaps, func(_ *run, p process) (string, error) {
			for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
				if strings.Trim(p.status[set], "0") != "" {
					return set + " is " + p.status[set], nil
				}
			}
			return "", nil
		}),
		probe("kernel.capability_sets", "take a capability (capset, ambient set)", byNoCaps, refused(eperm)),
		probe("kernel.become_root", "become user or group 0", byUserSpace, refused(eperm, "EINVAL")),
		probe("kernel.set_uid_files", "run a set-uid program that is in the file tree, or one of its own", "nosuid on every mount", refused("nosuid")),
		byHost("kernel.mount_flags", "mounts that are writable, or on which set-uid files or devices work", "nosuid, nodev and read-only on every mount", mountOffence),
		probe("kernel.devices", "find a device beyond null, zero, full, random and urandom", byAbsence, refused(enoent)),
		probe("kernel.make_devices", "make device nodes", byNoCaps, refused(eperm)),
		probe("kernel.proc_sys", "write below /proc/sys", byReadOnly+", "+byUserSpace, refused(erofs, eacces, eperm, enoent)),
		probe("kernel.proc_files", "write other files of /proc, its own among them", byReadOnly, refused(erofs, eacces, enoent)),
		probe("kernel.proc_hidden", "read what /proc tells about the host", "masked files of /proc", refused("empty", eacces, eperm, enoent)),
		probe("kernel.sysfs", "find anything below /sys", byAbsence, refused(enoent)),
		probe("kernel.write_files", "make, change or rename a file outside /tmp", byReadOnly, unwritable),
		probe("kernel.write_stubbornly", "change a file through /proc, as its owner, by attributes or a link", byReadOnly, refused(erofs, eacces, eperm, "EXDEV", enosys)),
	}
}

// unwritable wants new names to meet the read-only mount; a file of root's is refused to others before that.
func unwritable(_ *run, s seen) []string {
	var found []string
	for name, came := range s {
		ofRoot := strings.HasPrefix(name, "/") && came == eacces
		if came != erofs && !ofRoot {
			found = append(found, name+": "+came)
		}
	}
	return found
}

// mountOffence reads the mounts of a process (proc_pid_mountinfo(5)).
func mountOffence(_ *run, p process) (string, error) {
	text, err := p.read("mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		path, options := f[4], ","+f[5]+","
		has := func(name string) bool { return strings.Contains(options, ","+name+",") }
		device := strings.HasPrefix(path, "/dev/")
		switch {
		case !has("ro") && path != "/tmp" && !device:
			return path + " is writable", nil
		case !has("nosuid") && path != "/":
			return "set-uid files work in " + path, nil
		case !has("nodev") && path != "/" && !device:
			return "devices work in " + path, nil
		}
	}
	return "", nil
}
