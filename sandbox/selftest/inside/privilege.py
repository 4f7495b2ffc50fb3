"""Probes of what a process may become, and of what it may write."""

import stat


@probe("kernel.become_root")
def become_root():
    return outcomes(setuid=lambda: os.setuid(0), setgid=lambda: os.setgid(0), setgroups=lambda: os.setgroups([0]), setreuid=lambda: os.setreuid(0, 0))


@probe("kernel.set_uid_files")
def set_uid_files():
    """Look for set-uid programs, and at the mounts that they are in; a file of its own is one of them."""
    os.close(os.open("/tmp/set-uid", os.O_CREAT | os.O_WRONLY))
    os.chmod("/tmp/set-uid", 0o6755)
    found, seen = {}, 0
    for top in ("/bin", "/sbin", "/usr", "/lib", "/lib64", "/env", "/runner", "/opt", "/tmp"):
        for where, _, names in os.walk(top):
            for name in names:
                path, seen = os.path.join(where, name), seen + 1
                try:
                    mode = os.lstat(path).st_mode
                except OSError:
                    continue
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    found[path] = "nosuid" if os.statvfs(path).f_flag & os.ST_NOSUID else "set-uid"
            if seen > 200000 or len(found) > 20:
                return found
    return found


@probe("kernel.capability_sets")
def capability_sets():
    def raise_ambient():
        check(libc.prctl(47, 2, 21, 0, 0))  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN

    def set_effective():
        head, data = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[1 << 21] * 6)
        check(libc.capset(head, data))

    return outcomes(ambient=raise_ambient, capset=set_effective)


@probe("kernel.devices")
def devices():
    names = ("mem", "kmem", "port", "kmsg", "kvm", "fuse", "tty", "console", "ptmx", "pts", "sda", "vda", "nvme0n1", "loop0", "loop-control", "net/tun", "vhost-net", "userfaultfd", "snapshot", "cpu_dma_latency", "rtc", "watchdog", "dri", "input", "mapper/control", "uinput", "vfio/vfio", "mqueue", "hugepages")
    return {name: outcome(os.stat, "/dev/" + name) for name in names}


@probe("kernel.make_devices")
def make_devices():
    made = {}
    for name, kind, major, minor in (("disk", stat.S_IFBLK, 8, 0), ("memory", stat.S_IFCHR, 1, 1), ("terminal", stat.S_IFCHR, 5, 0)):
        made[name] = outcome(os.mknod, "/tmp/node-" + name, kind | 0o600, os.makedev(major, minor))
    return made


def open_to_write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))


@probe("kernel.proc_sys")
def proc_sys():
    names = ("kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/randomize_va_space", "kernel/pid_max", "kernel/shmmax", "kernel/unprivileged_bpf_disabled", "kernel/yama/ptrace_scope", "vm/overcommit_memory", "vm/drop_caches", "fs/file-max", "fs/suid_dumpable", "fs/mqueue/msg_max", "net/ipv4/ip_forward", "net/ipv4/ping_group_range", "user/max_user_namespaces")
    return {name: outcome(open_to_write, "/proc/sys/" + name) for name in names}


@probe("kernel.proc_files")
def proc_files():
    names = ("sysrq-trigger", "self/oom_score_adj", "self/oom_adj", "self/coredump_filter", "self/comm", "self/timerslack_ns", "self/clear_refs", "self/uid_map", "self/gid_map", "self/setgroups", "self/projid_map", "self/attr/current", "self/sched", "self/autogroup", "1/oom_score_adj", "1/comm", "mtrr")
    return {name: outcome(open_to_write, "/proc/" + name) for name in names}


@probe("kernel.proc_hidden")
def proc_hidden():
    """Read a byte of what tells about the host or is a way into the kernel."""
    names = ("cmdline", "config.gz", "diskstats", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecount", "kpageflags", "latency_stats", "locks", "modules", "partitions", "sched_debug", "slabinfo", "softirqs", "swaps", "sysrq-trigger", "timer_list", "vmallocinfo", "vmstat", "zoneinfo", "acpi", "asound", "bus", "driver", "fs", "irq", "pressure", "scsi", "sysvipc", "tty")

    def read(path):
        if os.path.isdir(path):
            return "listed" if os.listdir(path) else "empty"
        with open(path, "rb", buffering=0) as f:
            return "read" if f.read(1) else "empty"

    return {name: outcome(read, "/proc/" + name) for name in names}


@probe("kernel.sysfs")
def sysfs():
    names = ("", "/kernel", "/kernel/uevent_helper", "/kernel/debug", "/kernel/tracing", "/kernel/mm/transparent_hugepage/enabled", "/fs/cgroup", "/fs/bpf", "/firmware/efi/efivars", "/power/state", "/module", "/class/net", "/block", "/devices/system/cpu")
    return {name or "/sys": outcome(os.stat, "/sys" + name) for name in names}


@probe("kernel.write_files")
def write_files():
    """Make or change a file everywhere but in /tmp."""

    def make(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    found = {}
    for where in ("/", "/env", "/env/bin", "/etc", "/usr/lib", "/runner", "/dev", "/lib64", os.path.dirname(os.path.realpath(sys.executable)), os.path.dirname(os.__file__)):
        if os.path.isdir(where):
            found["a file in " + where] = outcome(make, os.path.join(where, "selftest-%d" % os.getpid()))
    for path in ("/env/bin/python", "/etc/passwd", "/etc/resolv.conf", "/etc/ld.so.cache", "/runner/apibuilder_runner/main.py", os.__file__):
        if os.path.exists(path):
            found[path] = outcome(open_to_write, path)
            found["the name " + path] = outcome(os.rename, path, path + ".selftest")
    return found


@probe("kernel.write_stubbornly")
def write_stubbornly():
    """Change a file through what names it in other ways."""

    def by_proc():
        fd = os.open("/etc/passwd", os.O_RDONLY)
        os.close(os.open("/proc/self/fd/%d" % fd, os.O_WRONLY))

    def by_owner():
        os.chmod("/etc/passwd", 0o666)

    def by_attribute():
        os.setxattr("/etc/passwd", "user.selftest", b"x")

    def by_link():
        os.link("/etc/passwd", "/tmp/passwd-link")

    return outcomes(by_proc=by_proc, by_owner=by_owner, by_attribute=by_attribute, by_link=by_link, by_times=lambda: os.utime("/etc/passwd"), by_truncation=lambda: os.truncate("/etc/passwd", 0))
