"""Probes of the kernel's interfaces. A call's arguments do no harm should it be allowed."""

MACHINE = os.uname().machine

# Numbers above 424 are the same everywhere (Documentation/process/adding-syscalls.rst).
NUMBERS = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "statmount": 457, "listmount": 458,
}
PER_MACHINE = {
    "x86_64": {
        "ioctl": 16, "shmget": 29, "shmat": 30, "clone": 56, "uselib": 134, "personality": 135, "sysfs": 139,
        "mlock": 149, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159,
        "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
        "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175,
        "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "remap_file_pages": 216,
        "clock_settime": 227, "mq_open": 240, "mq_unlink": 241, "kexec_load": 246, "add_key": 248, "request_key": 249,
        "keyctl": 250, "migrate_pages": 256, "unshare": 272, "vmsplice": 278, "move_pages": 279, "syslog": 103,
        "ptrace": 101, "perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "seccomp": 317,
        "socket": 41, "socketpair": 53, "mmap": 9, "memfd_create": 319, "setsockopt": 54, "syncfs": 306,
        "fcntl": 72,
    },
    "aarch64": {
        "ioctl": 29, "shmget": 194, "shmat": 196, "clone": 220, "personality": 92, "mlock": 228, "vhangup": 58,
        "pivot_root": 41, "adjtimex": 171, "chroot": 51, "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39,
        "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161, "setdomainname": 162, "init_module": 105,
        "delete_module": 106, "quotactl": 60, "nfsservctl": 42, "lookup_dcookie": 18, "remap_file_pages": 234,
        "clock_settime": 112, "mq_open": 180, "mq_unlink": 181, "kexec_load": 104, "add_key": 217, "request_key": 218,
        "keyctl": 219, "migrate_pages": 238, "unshare": 97, "vmsplice": 75, "move_pages": 239, "syslog": 116,
        "ptrace": 117, "perf_event_open": 241, "fanotify_init": 262, "fanotify_mark": 263, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282, "seccomp": 277,
        "socket": 198, "socketpair": 199, "mmap": 222, "memfd_create": 279, "setsockopt": 208, "syncfs": 267,
        "fcntl": 25,
    },
}
NUMBERS.update(PER_MACHINE.get(MACHINE, {}))


def call(name, *args):
    """A system call by its name, with every argument as wide as a register."""
    if MACHINE not in PER_MACHINE or name not in NUMBERS:
        raise NotApplicable
    wide = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in args]
    return check(libc.syscall(ctypes.c_long(NUMBERS[name]), *wide))


def calls(name, tries):
    """Register a probe of several system calls, each with its arguments."""
    probe(name)(lambda: {" ".join(map(str, t[:1])): outcome(call, *t) for t in tries})


SPACES = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "network": 0x40000000,
}


@probe("kernel.unshare")
def unshare():
    return {space: run_in_child(lambda: {"": outcome(call, "unshare", flag)}).popitem()[1] for space, flag in SPACES.items()}


@probe("kernel.clone")
def clone():
    def born(flag):
        pid = call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    return {
        **{space: outcome(born, flag) for space, flag in SPACES.items() if flag > 0xFF},
        "a thread with descriptors of its own": outcome(call, "close_range", 1 << 20, 1 << 20, 2),
    }


@probe("kernel.filters")
def filters():
    """Add a filter of system calls, which allows everything."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
    header = struct.pack("H6xP", 1, ctypes.addressof(code))
    return outcomes(prctl=lambda: check(libc.prctl(22, 2, header, 0, 0)), seccomp=lambda: call("seccomp", 1, 0, header))


@probe("kernel.clone3")
def clone3():
    def born():
        args = ctypes.create_string_buffer(struct.pack("8Q", SPACES["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
        pid = call("clone3", ctypes.byref(args), 64)
        if pid == 0:
            os._exit(0)

    return {"with a user namespace": outcome(born)}


calls("kernel.setns", [("setns", 0, 0)])
calls("kernel.mount", [("mount", b"none", b"/tmp", b"tmpfs", 0, 0), ("umount2", b"/proc", 2)])
calls("kernel.mount_api", [
    ("open_tree", -100, b"/tmp", 0), ("move_mount", -1, b"", -1, b"", 0), ("fsopen", b"tmpfs", 0),
    ("fsconfig", -1, 0, 0, 0, 0), ("fsmount", -1, 0, 0), ("fspick", -100, b"/", 0), ("mount_setattr", -100, b"/", 0, 0, 0),
])
calls("kernel.mount_query", [("statmount", 0, 0, 0, 0), ("listmount", 0, 0, 0, 0)])
calls("kernel.pivot_root", [("pivot_root", b"/tmp", b"/tmp")])
calls("kernel.chroot", [("chroot", b"/tmp")])
calls("kernel.swap", [("swapon", b"/tmp/none", 0), ("swapoff", b"/tmp/none")])
calls("kernel.quota", [("quotactl", 0x80000700, 0, 0, 0), ("quotactl_fd", 0, 0x80000700, 0, 0)])
calls("kernel.file_handles", [("name_to_handle_at", -100, b"/", 0, 0, 0), ("open_by_handle_at", -100, 0, 0)])
@probe("kernel.file_locks")
def file_locks():
    lock = struct.pack("hhqqi4x", 1, 0, 0, 1, 0)  # struct flock: one byte, F_WRLCK
    found = {}
    with open("/tmp/locks", "w") as file:
        for name, command in {"F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38, "with high bits": 1 << 32 | 37}.items():
            found[name] = outcome(call, "fcntl", file.fileno(), command, ctypes.create_string_buffer(lock, 64))
    return found


calls("kernel.file_systems", [("syncfs", -1)])
calls("kernel.ptrace", [("ptrace", 0, 0, 0, 0)])
calls("kernel.process_memory", [
    ("process_vm_readv", 1, 0, 0, 0, 0, 0), ("process_vm_writev", 1, 0, 0, 0, 0, 0), ("process_madvise", -1, 0, 0, 0, 0),
    ("process_mrelease", -1, 0),
])
calls("kernel.process_handles", [("pidfd_getfd", -1, 0, 0), ("kcmp", 1, 1, 0, 0, 0)])
calls("kernel.page_moves", [("move_pages", 1, 0, 0, 0, 0, 0), ("migrate_pages", 1, 0, 0, 0)])
calls("kernel.bpf", [("bpf", 0, 0, 0)])
calls("kernel.perf_event_open", [("perf_event_open", 0, 0, -1, -1, 0)])
calls("kernel.userfaultfd", [("userfaultfd", 1)])
calls("kernel.io_uring", [("io_uring_setup", 1, ctypes.create_string_buffer(256)), ("io_uring_enter", -1, 0, 0, 0, 0, 0), ("io_uring_register", -1, 0, 0, 0)])
calls("kernel.keyrings", [
    ("keyctl", 0, -3, 1, 0, 0), ("add_key", b"user", b"selftest", b"x", 1, -2), ("request_key", b"user", b"selftest", 0, 0),
])
calls("kernel.fanotify", [("fanotify_init", 0, 0), ("fanotify_mark", -1, 0, 0, -1, 0)])
calls("kernel.splice_pages", [("vmsplice", -1, 0, 0, 0)])
calls("kernel.old_calls", [
    ("lookup_dcookie", 0, 0, 0), ("nfsservctl", 0, 0, 0), ("remap_file_pages", 0, 0, 0, 0, 0), ("uselib", b"/none"),
    ("sysfs", 3, 0, 0), ("_sysctl", 0),
])
calls("kernel.secret_memory", [("memfd_secret", 0)])
calls("kernel.kexec", [("kexec_load", 0, 1 << 20, 0, 0), ("kexec_file_load", -1, -1, 0, 0, 0)])
calls("kernel.modules", [("init_module", 0, 0, b""), ("finit_module", -1, b"", 0), ("delete_module", b"selftest_none", 2048)])
calls("kernel.reboot", [("reboot", 1, 2, 3, 0)])  # not the magic numbers
calls("kernel.log", [("syslog", 10, 0, 0)])
calls("kernel.accounting", [("acct", b"/tmp/none")])
calls("kernel.clock", [("settimeofday", 0, 0), ("clock_settime", 0, 0), ("clock_adjtime", 0, 0), ("adjtimex", 0)])
calls("kernel.hostname", [("sethostname", b"selftest", 8), ("setdomainname", b"selftest", 8)])
calls("kernel.terminal", [("vhangup",)])
calls("kernel.ports", [("iopl", 3), ("ioperm", 0x80, 1, 1)])
calls("kernel.ldt", [("modify_ldt", 0, 0, 0)])


@probe("kernel.tiocsti")
def tiocsti():
    # The kernel looks at the low half of the command alone; a filter that compares the whole is passed by (CVE-2019-10063).
    return {
        "TIOCSTI": outcome(call, "ioctl", 0, 0x5412, b"x"),
        "TIOCSTI with high bits": outcome(call, "ioctl", 0, 0x5412 | 1 << 32, b"x"),
        "TIOCLINUX": outcome(call, "ioctl", 0, 0x541C, b"\x02"),
        "TIOCLINUX with high bits": outcome(call, "ioctl", 0, 0x541C | 1 << 32, b"\x02"),
    }


@probe("kernel.personality")
def personality():
    return {
        name: outcome(call, "personality", flag)
        for name, flag in {"READ_IMPLIES_EXEC": 0x400000, "ADDR_NO_RANDOMIZE": 0x40000, "UNAME26": 0x20000, "with high bits": 0x40000 | 1 << 32}.items()
    }


def machine_code(code):
    import mmap

    if MACHINE != "x86_64":
        raise NotApplicable
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    if result < 0:
        raise OSError(-result, os.strerror(-result))


@probe("kernel.table_32bit")
def table_32bit():
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    return {"getpid by int 0x80": outcome(machine_code, b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")}


@probe("kernel.table_x32")
def table_x32():
    # mov eax, 0x40000027 (getpid of the x32 table); syscall; ret
    return {"getpid": outcome(machine_code, b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"), "ptrace": outcome(machine_code, b"\xb8\x09\x02\x00\x40\x0f\x05\xc3")}


def new_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


@probe("kernel.raw_sockets")
def raw_sockets():
    return outcomes(
        ipv4=lambda: new_socket(socket.AF_INET, socket.SOCK_RAW, 1),
        ipv6=lambda: new_socket(socket.AF_INET6, socket.SOCK_RAW, 58),
        ipv4_any=lambda: new_socket(socket.AF_INET, socket.SOCK_RAW, 255),
    )


@probe("kernel.packet_sockets")
def packet_sockets():
    return outcomes(raw=lambda: new_socket(17, socket.SOCK_RAW, 0x0300), datagram=lambda: new_socket(17, socket.SOCK_DGRAM, 0x0300))


@probe("kernel.vsock")
def vsock():
    return outcomes(vsock=lambda: new_socket(40, socket.SOCK_STREAM))


@probe("kernel.netlink")
def netlink():
    names = {"ROUTE": 0, "SOCK_DIAG": 4, "NFLOG": 5, "XFRM": 6, "SELINUX": 7, "ISCSI": 8, "AUDIT": 9, "FIB_LOOKUP": 10, "CONNECTOR": 11, "NETFILTER": 12, "KOBJECT_UEVENT": 15, "GENERIC": 16, "SCSITRANSPORT": 18, "RDMA": 20, "CRYPTO": 21}
    return {name: outcome(new_socket, 16, socket.SOCK_RAW, protocol) for name, protocol in names.items()}


FAMILIES = {
    "AX25": 3, "APPLETALK": 5, "X25": 9, "KEY": 15, "RDS": 21, "PPPOX": 24, "LLC": 26, "IB": 27, "CAN": 29, "TIPC": 30,
    "BLUETOOTH": 31, "RXRPC": 33, "PHONET": 35, "IEEE802154": 36, "CAIF": 37, "ALG": 38, "NFC": 39, "KCM": 41,
    "QIPCRTR": 42, "SMC": 43, "XDP": 44, "MCTP": 45,
}


@probe("kernel.socket_families")
def socket_families():
    found = {name: outcome(new_socket, family, socket.SOCK_DGRAM) for name, family in FAMILIES.items()}
    found["ALG with high bits"] = outcome(call, "socket", 38 | 1 << 32, 5, 0)
    return found


@probe("kernel.socket_pairs")
def socket_pairs():
    # The kernel makes both sockets, and loads their module, before it says that the family has no pairs. TIPC has some.
    ends = (ctypes.c_int * 2)()
    found = {name: outcome(call, "socketpair", family, socket.SOCK_STREAM, 0, ends) for name, family in FAMILIES.items()}
    found["INET"] = outcome(call, "socketpair", 2, socket.SOCK_STREAM, 132, ends)
    found["NETLINK"] = outcome(call, "socketpair", 16, socket.SOCK_RAW, 12, ends)
    found["PACKET"] = outcome(call, "socketpair", 17, socket.SOCK_DGRAM, 0x0300, ends)
    return found


@probe("kernel.socket_protocols")
def socket_protocols():
    found = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for name, kind, protocol in (
            ("SCTP", 1, 132), ("SCTP packets", 5, 132), ("DCCP", 6, 33), ("DCCP by its type", 6, 0), ("UDP-Lite", 2, 136),
            ("L2TP", 2, 115), ("SMC", 1, 256), ("an unknown one", 1, 200),
        ):
            found["%s, %s" % (name, family.name)] = outcome(new_socket, family, kind, protocol)
    return found


@probe("kernel.socket_filters")
def socket_filters():
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xFFFF))  # take the whole packet
    program = struct.pack("HP", 1, ctypes.addressof(code))

    def attach(option, value):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.setsockopt(socket.SOL_SOCKET, option, value)

    def with_high_bits(level, option):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            call("setsockopt", s.fileno(), level, option, program, len(program))

    return outcomes(
        level_with_high_bits=lambda: with_high_bits(1 | 1 << 32, 26), option_with_high_bits=lambda: with_high_bits(1, 26 | 1 << 32),
        classic=lambda: attach(26, program), extended=lambda: attach(50, -1),
        reuseport_classic=lambda: attach(51, program), reuseport_extended=lambda: attach(52, -1),
    )


@probe("kernel.huge_pages")
def huge_pages():
    # No control group of ours counts them: they come from a pool that the host's administrator laid aside for others.
    return outcomes(
        mmap=lambda: call("mmap", 0, 2 << 20, 3, 0x40022, -1, 0),  # MAP_HUGETLB|MAP_ANONYMOUS|MAP_PRIVATE
        mmap_shared=lambda: call("mmap", 0, 2 << 20, 3, 21 << 26 | 0x40021, -1, 0),
        memfd_create=lambda: call("memfd_create", b"x", 4),  # MFD_HUGETLB
        shmget=lambda: call("shmget", 0, 2 << 20, 0o5600),  # SHM_HUGETLB|IPC_CREAT
    )
