import asyncio, ctypes, errno, fcntl, os, socket, struct

libc = ctypes.CDLL(None, use_errno=True)

def outcome(f):
    try:
        f()
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))
    return "allowed"

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

def ioctl(number, data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, number, data)

def netlink(kind, flags, body):
    """Send one request to the kernel's routing and raise what it answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        code = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if code < 0:
            raise OSError(-code, "refused")

@app.get("/kernel")
def kernel():
    index = {name: index for index, name in socket.if_nameindex()}["tun0"]
    route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HHI", 8, 4, index)
    link = struct.pack("=BxHiII", 0, 0, index, 0, 1)
    address = struct.pack("=BBBBI", 2, 8, 0, 0, index) + struct.pack("=HH4s", 8, 2, socket.inet_aton("10.77.0.1"))
    return {name: outcome(f) for name, f in {
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "raw IPv6 socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "ping socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)),
        "vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
        "netlink for the firewall": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "add a route": lambda: netlink(24, 0x600, route),
        "take the device down": lambda: netlink(16, 0, link),
        "add an address": lambda: netlink(20, 0x600, address),
        "take the device down by ioctl": lambda: ioctl(0x8914, struct.pack("16sH14x", b"tun0", 0)),
        "a new network namespace": lambda: check(libc.unshare(0x40000000)),
        "a new user and network namespace": lambda: check(libc.unshare(0x50000000)),
        "move to a namespace": lambda: check(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0x40000000)),
        "open the device": lambda: os.open("/dev/net/tun", os.O_RDWR),
        "forward packets": lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1"),
        "allow pings": lambda: open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 2147483647"),
        "bind to the device": lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1),
        "be transparent": lambda: socket.socket().setsockopt(socket.SOL_IP, 19, 1),
    }.items()}

async def connect(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as s:
        s.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(s, (host, port)), 10)
        except (OSError, asyncio.TimeoutError) as e:
            return type(e).__name__
        return "connected"

@app.get("/scan")
async def scan():
    hosts = ["198.18.%d.%d" % (n // 256, n % 256) for n in range(512)] + ["198.19.255.254"]
    hosts += ["169.254.169.254", "192.168.7.7", "5.5.5.1", "2a00:5::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
    hosts += ["224.0.0.1", "255.255.255.255", "ff02::1", "2001:2::1", "fe80::1", "0.0.0.0", "127.0.0.1", "::1"]
    found = {}
    for start in range(0, len(hosts), 64):
        part = hosts[start:start + 64]
        for host, came in zip(part, await asyncio.gather(*[connect(h, 80) for h in part])):
            found[host] = came
    return found

@app.get("/careless")
async def careless(count: int):
    """Open connections, say something on some, and drop them in every way."""
    made, address = 0, await asyncio.get_running_loop().getaddrinfo("web.example.com", 443, type=socket.SOCK_STREAM)
    async def one(n):
        nonlocal made
        s = socket.socket()
        s.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(s, address[0][4]), 30)
        except (OSError, asyncio.TimeoutError):
            s.close()
            return
        made += 1
        if n % 3 == 0:
            await asyncio.get_running_loop().sock_sendall(s, b"x" * 100000)
        if n % 3 == 1:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if n % 5 == 0:
            s.shutdown(socket.SHUT_WR)
        s.close()
    for start in range(0, count, 50):
        await asyncio.gather(*[one(n) for n in range(start, min(start + 50, count))])
    return made

@app.get("/flood")
def flood():
    """Send datagrams to everywhere, and questions that nobody can answer, for a while."""
    import time
    end, sent = time.monotonic() + 2, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        while time.monotonic() < end:
            for to in (("8.8.8.8", 53), ("198.18.0.1", 53), ("198.18.0.1", 1), ("1.2.3.4", 9)):
                try:
                    s.sendto(os.urandom(64) if sent % 2 else b"", to)
                except OSError:
                    pass
                sent += 1
    return sent
