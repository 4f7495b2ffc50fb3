package nsjail

import (
	"fmt"
	"runtime"
	"strings"
)

// syscallGroup is a set of system calls and the reason why a web program has them, or is refused them.
type syscallGroup struct {
	reason string
	names  string // as Kafel calls them; with an argument filter where only some uses are meant
	amd64  string // calls that exist on x86-64 only
}

// allowed is what Python, its packages' native code and uvicorn need. What is in no list is answered with ENOSYS, so that
// libraries that try a newer call fall back to an older one.
var allowed = []syscallGroup{
	{
		"files and directories: read-only mounts and the tmpfs bound what they reach",
		`read, write, pread64, pwrite64, readv, writev, preadv, pwritev, preadv2, pwritev2, openat, openat2, close,
		close_range(fd, last, flags) { (flags & 0x2) == 0 }, lseek, newfstatat, newfstat, statx, statfs, fstatfs, faccessat, faccessat2, readlinkat,
		getdents64, getcwd, chdir, fchdir, fchmod, fchmodat, fchown, fchownat, umask, mkdirat, mknodat, unlinkat,
		renameat, renameat2, linkat, symlinkat, truncate, ftruncate, fallocate, fsync, fdatasync, sync_file_range,
		utimensat, flock, fadvise64, readahead, copy_file_range, sendfile64, splice, tee, getxattr, lgetxattr,
		fgetxattr, listxattr, llistxattr, flistxattr, setxattr, lsetxattr, fsetxattr, removexattr, lremovexattr,
		fremovexattr, memfd_create(name, flags) { (flags & 0x4) == 0 }, inotify_init1, inotify_add_watch, inotify_rm_watch`,
		`open, creat, newstat, newlstat, access, readlink, getdents, chmod, chown, lchown, mkdir, mknod, rmdir, unlink,
		rename, link, symlink, utime, utimes, futimesat, inotify_init`,
	},
	{
		"descriptors and waiting: the event loop",
		`dup, dup3, fcntl(fd, cmd) { (cmd & 0xffffffff) < 36 || (cmd & 0xffffffff) > 38 }, pipe2, eventfd2, timerfd_create, timerfd_settime, timerfd_gettime, signalfd4, epoll_create1,
		epoll_ctl, epoll_pwait, epoll_pwait2, ppoll, pselect6`,
		`dup2, pipe, eventfd, signalfd, epoll_create, epoll_wait, poll, select`,
	},
	{
		"terminals are refused their injection calls (TIOCSTI, TIOCLINUX), sockets what they tell of interfaces; other ioctls reach only our own files",
		`ioctl(fd, cmd) { (cmd & 0xffffffff) != 0x5412 && (cmd & 0xffffffff) != 0x541c &&
			((cmd & 0xffffffff) < 0x8910 || (cmd & 0xffffffff) > 0x8bff) }`, "",
	},
	{
		"memory, but for huge pages of the host's pool, which control groups for memory do not count",
		`brk, mmap(addr, len, prot, flags) { (flags & 0x40000) == 0 }, munmap, mprotect, mremap, madvise, msync, mincore,
		mlock, mlock2, munlock, mlockall, munlockall, pkey_mprotect, pkey_alloc, pkey_free, membarrier, get_mempolicy,
		set_mempolicy, mbind, shmget(key, size, flags) { (flags & 0x800) == 0 }, shmat, shmdt, shmctl`, "",
	},
	{
		"threads and processes of our own namespace, without new namespaces",
		`clone(flags) { (flags & 0x7e020000) == 0 && (flags & 0x10400) != 0x10000 }, execve, execveat, exit, exit_group, wait4, waitid, kill, tkill,
		tgkill, pidfd_open, pidfd_send_signal, getpid, getppid, gettid, getpgid, setpgid, getsid, setsid, set_tid_address,
		set_robust_list, get_robust_list, futex, rseq, sched_yield, sched_getaffinity, sched_setaffinity,
		sched_getparam, sched_setparam, sched_getscheduler, sched_setscheduler, sched_getattr, sched_setattr,
		sched_get_priority_max, sched_get_priority_min, sched_rr_get_interval, getpriority, setpriority, ioprio_get,
		ioprio_set, getcpu, prlimit64, getrlimit, setrlimit, getrusage, times, prctl, capget, capset`,
		`fork, vfork, arch_prctl, getpgrp, time`,
	},
	{
		"the only personalities are the default one and the query",
		`personality(persona) { (persona & 0xffffffff) == 0 || (persona & 0xffffffff) == 0xffffffff }`, "",
	},
	{
		"signals, clocks and timers",
		`rt_sigaction, rt_sigprocmask, rt_sigreturn, rt_sigpending, rt_sigsuspend, rt_sigtimedwait, rt_sigqueueinfo,
		rt_tgsigqueueinfo, sigaltstack, restart_syscall, nanosleep, clock_nanosleep, clock_gettime, clock_getres,
		gettimeofday, getitimer, setitimer, timer_create, timer_settime, timer_gettime, timer_getoverrun, timer_delete`,
		`alarm, pause`,
	},
	{
		"identity: reads, and changes within a user namespace that maps one user",
		`getuid, geteuid, getgid, getegid, getresuid, getresgid, getgroups, setuid, setgid, setreuid, setregid, setresuid,
		setresgid, setgroups, setfsuid, setfsgid`, "",
	},
	{
		"sockets of the families Unix, IPv4 and IPv6, of the internet's those of ICMP, TCP, UDP, ICMPv6 and MPTCP, and netlink for routing " +
			"with a network",
		`socket(domain, type, protocol) {
			domain == 1 || ALLOWED_NETLINK((domain == 2 || domain == 10) && (type & 0xf) <= 5 &&
			(protocol == 0 || protocol == 1 || protocol == 6 || protocol == 17 || protocol == 58 || protocol == 262))
		}, socketpair(domain) { domain == 1 }, bind, listen, accept, accept4, connect, getsockname, getpeername, sendto,
		recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg, shutdown, getsockopt,
		setsockopt(fd, level, optname) { (level & 0xffffffff) != 1 || ((optname & 0xffffffff) != 25 && (optname & 0xffffffff) != 26 &&
			((optname & 0xffffffff) < 50 || (optname & 0xffffffff) > 52) && (optname & 0xffffffff) != 62) }`, "",
	},
	{
		"System V and POSIX messages and semaphores of our own IPC namespace: multiprocessing",
		`semget, semop, semctl, semtimedop, msgget, msgsnd, msgrcv, msgctl, mq_open, mq_unlink, mq_timedsend,
		mq_timedreceive, mq_notify, mq_getsetattr`, "",
	},
	{
		"what programs ask about the machine and a source of randomness",
		`newuname, sysinfo, getrandom`, "",
	},
	{
		"a program may confine itself further",
		`landlock_create_ruleset, landlock_add_rule, landlock_restrict_self`, "",
	},
}

// refused are calls that exist to reach outside a sandbox or have been the way out of one; they answer EPERM, as for any
// unprivileged program, instead of ENOSYS.
var refused = []syscallGroup{
	{
		"mounts and roots",
		`mount, umount, pivot_root, chroot, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr,
		name_to_handle_at, open_by_handle_at, swapon, swapoff, quotactl, quotactl_fd`, "",
	},
	{
		"namespaces; threads with descriptors of their own (CLONE_THREAD without CLONE_FILES, CLOSE_RANGE_UNSHARE): a process has one table, in which " +
			"its locks are counted",
		`unshare, setns, clone(flags) { (flags & 0x7e020000) != 0 || (flags & 0x10400) == 0x10000 }, close_range(fd, last, flags) { (flags & 0x2) != 0 }`, "",
	},
	{
		"other processes",
		`ptrace, process_vm_readv, process_vm_writev, process_madvise, process_mrelease, pidfd_getfd, kcmp, move_pages,
		migrate_pages`, "",
	},
	{
		"kernel interfaces with a history of privilege escalation",
		`bpf, perf_event_open, userfaultfd, io_uring_setup, io_uring_enter, io_uring_register, keyctl, add_key, request_key,
		fanotify_init, fanotify_mark, vmsplice, lookup_dcookie`,
		`modify_ldt, iopl, ioperm`,
	},
	{
		"socket families and protocols that a web program has no use for, and whose modules the kernel would load for it: packet, " +
			"vsock, AF_ALG, other netlink and the rest; SCTP, DCCP, L2TP and the rest",
		`socket(domain, type, protocol) {
			(domain != 1 && domain != 2 && domain != 10REFUSED_NETLINK) || ((domain == 2 || domain == 10) &&
			((type & 0xf) > 5 ||
			(protocol != 0 && protocol != 1 && protocol != 6 && protocol != 17 && protocol != 58 && protocol != 262)))
		}, socketpair(domain) { domain != 1 }`, "",
	},
	{
		"interfaces, by ioctls (SIOCGIFNAME, 0x8910, to the last of the wireless ones, 0x8bff) and by binding to one (SO_BINDTODEVICE, " +
			"SO_BINDTOIFINDEX): a socket tells of the network namespace that it was made in, and the one that requests come by, with each " +
			"connection, was made in the host's. With a network there is netlink",
		`ioctl(fd, cmd) { (cmd & 0xffffffff) >= 0x8910 && (cmd & 0xffffffff) <= 0x8bff },
		setsockopt(fd, level, optname) { (level & 0xffffffff) == 1 && ((optname & 0xffffffff) == 25 || (optname & 0xffffffff) == 62) }`, "",
	},
	{
		"filters of sockets (SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF), which are compiled into memory that the whole " +
			"machine has little of (bpf_jit_limit): without it no filter of system calls can be set up, and nothing started",
		`setsockopt(fd, level, optname) { (level & 0xffffffff) == 1 && ((optname & 0xffffffff) == 26 ||
			((optname & 0xffffffff) >= 50 && (optname & 0xffffffff) <= 52)) }`, "",
	},
	{
		"locks of open file descriptions (F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW), which /proc/locks does not say whose they are, so that they " +
			"cannot be counted; those of processes and flock are there",
		`fcntl(fd, cmd) { (cmd & 0xffffffff) >= 36 && (cmd & 0xffffffff) <= 38 }`, "",
	},
	{
		"writing whole file systems out, which are the host's: fsync does for a file", `sync, syncfs`, "",
	},
	{
		"huge pages of the host's pool",
		`mmap(addr, len, prot, flags) { (flags & 0x40000) != 0 }, memfd_create(name, flags) { (flags & 0x4) != 0 },
		shmget(key, size, flags) { (flags & 0x800) != 0 }`, "",
	},
	{
		"the machine itself",
		`reboot, kexec_load, kexec_file_load, init_module, finit_module, delete_module, syslog, acct, settimeofday,
		clock_settime, clock_adjtime, adjtimex, sethostname, setdomainname, vhangup, nfsservctl`, "",
	},
}

// netlink says of which netlink a program may have sockets. What the kernel answers there lies outside of every limit of memory until it is
// read, 200 KiB and more for each socket, so that a program without a network has none. With one it has that for routing: the resolver
// lists interfaces by it, with each look-up; watchNetlink bounds what waits.
var netlink = map[bool]struct{ allowed, refused string }{
	false: {"", ""},
	true:  {"(domain == 16 && protocol == 0) || ", " && (domain != 16 || protocol != 0)"},
}

// Policy is the seccomp policy of every sandbox that has a network, or that has none, in the language of Kafel
// (github.com/google/kafel). Kafel's filter also kills on a system call of another architecture's table, which refuses the 32-bit one.
func Policy(network bool) string { return policy(runtime.GOARCH, network) }

func policy(arch string, network bool) string {
	var b strings.Builder
	b.WriteString("POLICY apibuilder {\n  ALLOW {\n")
	writeGroups(&b, arch, allowed)
	b.WriteString("  },\n  ERRNO(1) {\n")
	writeGroups(&b, arch, refused)
	b.WriteString("  }\n}\nUSE apibuilder DEFAULT ERRNO(38)\n")
	is := netlink[network]
	return strings.NewReplacer("ALLOWED_NETLINK", is.allowed, "REFUSED_NETLINK", is.refused).Replace(b.String())
}

// arm64Names are the calls that Kafel knows there by another name, or by their number alone (asm-generic/unistd.h).
var arm64Names = strings.NewReplacer("sendfile64", "sendfile", "sync_file_range", "SYSCALL[84]",
	"pkey_mprotect", "SYSCALL[288]", "pkey_alloc", "SYSCALL[289]", "pkey_free", "SYSCALL[290]")

func writeGroups(b *strings.Builder, arch string, groups []syscallGroup) {
	var parts []string
	for _, g := range groups {
		names := g.names
		if arch == "amd64" && g.amd64 != "" {
			names += ", " + g.amd64
		}
		if arch == "arm64" {
			names = arm64Names.Replace(names)
		}
		parts = append(parts, fmt.Sprintf("    // %s\n    %s", g.reason, strings.Join(strings.Fields(names), " ")))
	}
	b.WriteString(strings.Join(parts, ",\n") + "\n")
}
