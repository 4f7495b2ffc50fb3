"""Probes of what lies outside: the host's processes, files and network, and another API's."""


@probe("reach.processes")
def processes():
    """Tell every process that /proc shows by its name."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/comm" % name) as f:
                found[name] = f.read().strip()
        except OSError:
            continue  # it has ended meanwhile
    return dict(list(found.items())[:100])


@probe("reach.host_process")
def host_process():
    pid = GIVEN["pid"]
    names = ("status", "environ", "cmdline", "maps", "root", "cwd", "fd", "mem", "ns/net")
    return {name: outcome(os.lstat, "/proc/%d/%s" % (pid, name)) for name in names}


@probe("reach.signals")
def signals():
    import fcntl
    import resource

    pid = GIVEN["pid"]

    def own(who):
        with socket.socket(socket.AF_UNIX) as s:
            fcntl.fcntl(s, fcntl.F_SETOWN, who)

    return outcomes(
        kill=lambda: os.kill(pid, 0),
        kill_group=lambda: os.killpg(pid, 0),
        tgkill=lambda: check(libc.tgkill(pid, pid, 0)),
        pidfd=lambda: os.close(call("pidfd_open", pid, 0)),
        owner=lambda: own(pid),
        priority=lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        affinity=lambda: os.sched_setaffinity(pid, {0}),
        limits=lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE) and None,
    )


@probe("reach.environment", inline=True)
def environment():
    """Tell every variable of this process and of all that /proc shows."""
    found = dict(os.environ)
    found.pop("SELFTEST")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as f:
                pairs = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key:
                found["%s of %s" % (key, name)] = value
    return found


@probe("reach.descriptors", inline=True)
def descriptors():
    """Tell what the program inherited, which was noted before its first line that opens anything.

    A pipe with both of its ends here is none of that: libuv has one, for signals, since the runner tried its event loop.
    """
    import fcntl

    found, ends = {}, {}
    links = {fd: os.readlink("/proc/self/fd/%d" % fd) for fd in sorted(INHERITED)}
    for fd, link in links.items():
        ends.setdefault(link, []).append(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE)
    for fd, link in links.items():
        if link.startswith("pipe:") and sorted(ends[link]) == [os.O_RDONLY, os.O_WRONLY]:
            continue
        if link.startswith("socket:"):
            with socket.socket(fileno=os.dup(fd)) as s:
                listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                link = "%s %s" % (socket.AddressFamily(s.family).name, "listening" if listens else "connected")
        found[str(fd)] = link.split(":")[0]
    return found


@probe("reach.control_descriptor", inline=True)
def control_descriptor():
    """Try what the control descriptor and the listening one allow after the start."""
    control, listener = socket.socket(fileno=os.dup(4)), socket.socket(fileno=os.dup(3))

    def receive():
        control.setblocking(False)
        return "a message" if control.recv(1) else "the end"

    def peer():
        return "pid %d" % struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def name():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(listener.getsockname())

    with control, listener:
        return {
            "send": outcome(control.send, b"x"),
            "send a descriptor": outcome(control.sendmsg, [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))]),
            "receive": outcome(receive),
            "the host's process": outcome(peer),
            "the host's name of the socket": outcome(name),
        }


@probe("reach.abstract_socket")
def abstract_socket():
    with socket.socket(socket.AF_UNIX) as s:
        return {"the host's": outcome(s.connect, "\0" + GIVEN["abstract"])}


@probe("reach.unix_socket")
def unix_socket():
    with socket.socket(socket.AF_UNIX) as s:
        return {"by its path": outcome(s.connect, GIVEN["socket"])}


def connect(address, port=80, kind=socket.SOCK_STREAM):
    """Connect or send one datagram, and say when the answer did not come at once."""
    began = time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as s:
        s.settimeout(2)
        if kind == socket.SOCK_STREAM:
            result = outcome(s.connect, (address, port))
        else:
            result = outcome(lambda: s.sendto(b"selftest", (address, port)) and None)
    took = time.monotonic() - began
    return result if took < 1 else "%s after %.1f s" % (result, took)


def network(name, addresses):
    """Register a probe that connects to each address by TCP and sends to it by UDP."""

    @probe(name)
    def reach():
        found = {}
        for address in addresses():
            found[address] = connect(address)
            found[address + " udp"] = connect(address, 53, socket.SOCK_DGRAM)
        return found or {"an address": "not applicable"}


network("reach.metadata", lambda: ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"])
network("reach.private_ranges", lambda: ["10.0.0.1", "172.16.0.1", "172.17.0.1", "192.168.0.1", "192.168.1.1", "100.64.0.1", "169.254.0.1", "fc00::1", "fd00::1"])
network("reach.public_network", lambda: ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"])
network("reach.host_addresses", lambda: GIVEN["addresses"])
network("reach.multicast", lambda: ["224.0.0.251", "239.255.255.250", "255.255.255.255", "ff02::1", "ff02::fb"])


@probe("reach.host_loopback")
def host_loopback():
    return {"127.0.0.1": connect("127.0.0.1", GIVEN["port"]), "127.1.2.3": connect("127.1.2.3", GIVEN["port"]), "0.0.0.0": connect("0.0.0.0", GIVEN["port"]), "::1": connect("::1", GIVEN["port"]), "::ffff:127.0.0.1": connect("::ffff:127.0.0.1", GIVEN["port"])}


@probe("reach.host_loopback_udp")
def host_loopback_udp():
    return {"127.0.0.1": connect("127.0.0.1", GIVEN["port"], socket.SOCK_DGRAM), "::1": connect("::1", GIVEN["port"], socket.SOCK_DGRAM)}


@probe("reach.names")
def names():
    """Resolve names, among them some that lead to private addresses."""
    hosts = ("metadata.google.internal", "instance-data.ec2.internal", "localtest.me", "host.docker.internal", "example.com")
    return {host: outcome(lambda: socket.getaddrinfo(host, 80) and None) for host in hosts}


@probe("reach.name_servers")
def name_servers():
    return {address: connect(address, 53, socket.SOCK_DGRAM) for address in GIVEN["name_servers"] + ["192.0.2.53"]}


@probe("reach.host_file")
def host_file():
    path = GIVEN["file"]

    def write(where):
        with open(where, "a") as f:
            f.write("selftest")

    found = {"read": outcome(lambda: open(path).read() and None), "write": outcome(write, path), "list": outcome(lambda: os.listdir(os.path.dirname(path)) and None)}
    for name in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd/../../../..", "/proc/self/fd/3/../..", "/..", "/tmp/../.."):
        found["through " + name] = outcome(write, name + path)
    return found


@probe("reach.host_paths")
def host_paths():
    paths = ("/root", "/home", "/boot", "/srv", "/opt", "/mnt", "/media", "/run", "/var/lib", "/var/log", "/var/run", "/etc/shadow", "/etc/ssh", "/etc/sudoers", "/etc/machine-id", "/etc/fstab", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/src", "/bin", "/sbin")
    return {path: outcome(lambda: " ".join(sorted(os.listdir(path))[:20]) if os.path.isdir(path) else os.stat(path) and None) for path in paths}


@probe("reach.accounts")
def accounts():
    with open("/etc/passwd") as f:
        return {line.split(":")[0]: line.split(":")[2] for line in f}


@probe("reach.other_files")
def other_files():
    """Look for another API's file: under its name, and through every process that there is."""
    path = GIVEN["other_file"]
    found = {"by its path": outcome(os.stat, path)}
    for name in os.listdir("/proc"):
        if name.isdigit():
            found["through process " + name] = outcome(os.stat, "/proc/%s/root%s" % (name, path))
    return found


@probe("reach.other_socket")
def other_socket():
    with socket.socket(socket.AF_UNIX) as s:
        return {"abstract": outcome(s.connect, "\0" + GIVEN["other_abstract"])}


@probe("reach.shared_memory")
def shared_memory():
    return {"the host's segment": outcome(lambda: call("shmget", GIVEN["shm_key"], 0, 0))}


@probe("reach.message_queue")
def message_queue():
    return {"the host's queue": outcome(lambda: call("mq_open", GIVEN["queue"].encode(), 0, 0, 0))}


@probe("reach.hostname")
def hostname():
    return {"name": socket.gethostname()}


@probe("reach.control_groups")
def control_groups():
    with open("/proc/self/cgroup") as f:
        found = {line.split(":")[1] or "unified": line.strip().split(":", 2)[2] for line in f}
    return found


INTERFACE_CALLS = {
    "SIOCGIFNAME": 0x8910, "SIOCGIFCONF": 0x8912, "SIOCGIFFLAGS": 0x8913, "SIOCGIFADDR": 0x8915, "SIOCGIFHWADDR": 0x8927, "SIOCGIFINDEX": 0x8933,
    "SIOCETHTOOL": 0x8946, "SIOCGSKNS": 0x894C, "SIOCGARP": 0x8954, "SIOCGIFMAP": 0x8970, "SIOCGIWNAME": 0x8B01, "SIOCGIWESSID": 0x8B1B,
    "SIOCGIFCONF with high bits": 1 << 32 | 0x8912,
}


@probe("reach.interface_calls")
def interface_calls():
    """Ask every socket that there is: what requests come by, the connection of this one among them, was made in the host's namespace."""
    found, connections = {}, 0
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_INET) as internet:
        for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
            link = os.path.lexists("/proc/self/fd/%d" % fd) and os.readlink("/proc/self/fd/%d" % fd)
            if not link or not link.startswith("socket:"):
                continue
            connections += fd > 4 and fd not in (own.fileno(), internet.fileno())
            for name, number in INTERFACE_CALLS.items():
                # A struct ifreq of lo, whose union begins with the 1 that SIOCGIFNAME takes for an index; a struct ifconf with room for none.
                data = struct.pack("16si20x", b"lo", 1) if "IFCONF" not in name else struct.pack("iP24x", 0, 0)
                found["%s on %d" % (name, fd)] = outcome(call, "ioctl", fd, number, ctypes.create_string_buffer(data, 64))
            found["SO_BINDTOIFINDEX on %d" % fd] = outcome(call, "setsockopt", fd, 1, 62, struct.pack("i", 1), 4)
            found["SO_BINDTODEVICE on %d" % fd] = outcome(call, "setsockopt", fd, 1, 25, b"lo", 2)
    if not connections:
        found["a connection"] = "is not there"
    return found


@probe("reach.terminal")
def terminal():
    return outcomes(open=lambda: os.open("/dev/tty", os.O_RDWR), group=lambda: os.tcgetpgrp(0), pty=lambda: os.openpty() and None)
