"""Probes of a program that has a network: whatever it may not reach by it, and the network itself."""


def entry(address, port):
    """A target as the host has it, so that it finds what was decided about it."""
    return "%s:%d" % ("[%s]" % address if ":" in address else address, port)


def reach(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(3)
        return outcome(s.connect, (address, port))


def everyone(addresses, port=80):
    return {entry(address, port): reach(address, port) for address in addresses}


def by_name(host, port):
    with socket.create_connection((host, port), 3):
        pass


def exchange(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((address, port))
        s.send(b"selftest")
        s.recv(100)


@probe("reach.egress_metadata")
def egress_metadata():
    return everyone(["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"])


@probe("reach.egress_private")
def egress_private():
    return everyone(["10.0.0.1", "172.16.0.1", "172.17.0.1", "192.168.0.1", "192.168.1.1", "100.64.0.1", "169.254.0.1", "fc00::1", "fd00::1"])


@probe("reach.egress_special")
def egress_special():
    return everyone(["::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:a9fe:a9fe::1", "2002:7f00:1::1", "2001::1:f5ff:fffe", "::7f00:1", "2001:db8::1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "ff02::1"])


@probe("reach.egress_host")
def egress_host():
    return {entry(address, port): reach(address, port) for address, port in GIVEN["listening"]} or {"an address": "not applicable"}


@probe("reach.egress_loopback")
def egress_loopback():
    """Connect to the host by its own name, which many hosts give to their loopback, and by others that lead there."""
    hosts = [GIVEN["host"], "ip6-localhost"] + GIVEN["loopback_traps"]
    return {entry(host, GIVEN["port"]): outcome(by_name, host, GIVEN["port"]) for host in hosts if host != socket.gethostname()}


@probe("reach.egress_resolved")
def egress_resolved():
    return {entry(host, 80): outcome(by_name, host, 80) for host in GIVEN["traps"]}


@probe("reach.egress_names")
def egress_names():
    """Try the network's own end, and addresses far behind those that the names of other probes have."""
    return everyone(["198.18.%d.%d" % (n, n) for n in range(9, 250, 16)] + ["198.18.0.1", "198.19.255.254"])


@probe("reach.egress_udp")
def egress_udp():
    servers = [a for a in GIVEN["name_servers"] if not a.startswith("127.") and a != "::1"]
    return {entry(address, 53): outcome(exchange, address, 53) for address in servers + ["192.0.2.53", "169.254.169.254", "10.0.0.1"]}


@probe("reach.egress_udp6")
def egress_udp6():
    return {entry(address, 53): outcome(exchange, address, 53) for address in ["2001:db8::53", "fd00:ec2::254", "fd00::1", "64:ff9b::a9fe:a9fe"]}


@probe("reach.egress_sockets")
def egress_sockets():
    def make(*kind):
        socket.socket(*kind).close()

    return outcomes(
        raw=lambda: make(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        raw6=lambda: make(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP),
        ping=lambda: make(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        packet=lambda: make(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)),
        vsock=lambda: make(40, socket.SOCK_STREAM),
        firewall=lambda: make(socket.AF_NETLINK, socket.SOCK_RAW, 12),
    )


@probe("reach.egress_device")
def egress_device():
    import fcntl

    def netlink(kind, flags, body):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
            s.bind((0, 0))
            s.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
            code = struct.unpack_from("=i", s.recv(4096), 16)[0]
            if code < 0:
                raise OSError(-code, os.strerror(-code))

    def down():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"tun0", 0))  # SIOCSIFFLAGS

    def write(name, text):
        with open("/proc/sys/net/ipv4/" + name, "w") as f:
            f.write(text)

    index = {name: index for index, name in socket.if_nameindex()}["tun0"]
    return outcomes(
        route=lambda: netlink(24, 0x600, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HHI", 8, 4, index)),
        link=lambda: netlink(16, 0, struct.pack("=BxHiII", 0, 0, index, 0, 1)),
        address=lambda: netlink(20, 0x600, struct.pack("=BBBBI", 2, 8, 0, 0, index) + struct.pack("=HH4s", 8, 2, socket.inet_aton("10.77.0.1"))),
        down=down,
        forward=lambda: write("ip_forward", "1"),
        pings=lambda: write("ping_group_range", "0 2147483647"),
        device=lambda: os.open("/dev/net/tun", os.O_RDWR),
        mark=lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1),
        transparent=lambda: socket.socket().setsockopt(socket.SOL_IP, 19, 1),
    )
