"""Attacks on what is limited. Each stops by itself at three times its limit, so that a host without the wall survives."""

import fcntl
import mmap
import threading

HELD = []
MIB = 1 << 20


def at_most():
    """How many bytes an attack on memory takes in the end."""
    return 3 * GIVEN["memory"]


def take(make, size=8 * MIB):
    try:
        for _ in range(at_most() // size):
            HELD.append(make(size))
    except OSError as error:
        return "stopped by %s" % error
    return "survived"


def touched(size):
    """Memory of which every page is there."""
    block = mmap.mmap(-1, size)
    for at in range(0, size, mmap.PAGESIZE):
        block[at] = 1
    return block


def end_children(children):
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@app.get("/attack/fork")
def fork():
    children, stopped = [], "nothing"
    for _ in range(3 * GIVEN["pids"]):
        try:
            child = os.fork()
        except OSError as error:
            stopped = errno.errorcode[error.errno]
            break
        if not child:
            signal.pause()
        children.append(child)
    time.sleep(0.3)  # the host counts
    end_children(children)
    child = os.fork()
    if not child:
        os._exit(7)
    return {"made": len(children), "stopped": stopped, "after": os.WEXITSTATUS(os.waitpid(child, 0)[1])}


@app.get("/attack/storm")
def storm():
    import resource

    bound = 3 * GIVEN["pids"]
    resource.setrlimit(resource.RLIMIT_NPROC, (bound, bound))
    while True:
        try:
            os.fork()
        except OSError:
            pass


@app.get("/attack/threads")
def threads():
    release, started, stopped = threading.Event(), [], "nothing"
    for _ in range(3 * GIVEN["pids"]):
        thread = threading.Thread(target=release.wait, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            stopped = "refused"
            break
        started.append(thread)
    time.sleep(0.3)
    release.set()
    for thread in started:
        thread.join()
    return {"made": len(started), "stopped": stopped}


@app.get("/attack/memory")
def memory():
    return take(touched)


@app.get("/attack/memory_children")
def memory_children():
    children = []
    done, tell = os.pipe()
    for _ in range(6):
        child = os.fork()
        if not child:
            for _ in range(at_most() // 6 // MIB):
                HELD.append(touched(MIB))
            os.write(tell, b".")
            signal.pause()
        children.append(child)
    os.close(tell)  # so that the end of all children is the end of the pipe
    deadline, told = time.monotonic() + 15, 0
    while told < len(children) and time.monotonic() < deadline:
        if select.select([done], [], [], 0.1)[0]:
            words = os.read(done, len(children))
            if not words:
                break
            told += len(words)
    time.sleep(1)  # for the host to end what is left
    os.close(done)
    end_children(children)
    return "survived"


@app.get("/attack/memory_tmp")
def memory_tmp():
    def file(size):
        with open("/tmp/%d" % len(HELD), "wb") as f:
            f.write(bytes(size))

    return take(file)


@app.get("/attack/memory_shm")
def memory_shm():
    libc.shmat.restype = ctypes.c_void_p

    def segment(size):
        at = libc.shmat(check(libc.shmget(0, size, 0o1600)), None, 0)
        ctypes.memset(at, 1, size)
        return at

    return take(segment)


@app.get("/attack/memory_memfd")
def memory_memfd():
    def file(size):
        fd = os.memfd_create("m")
        os.write(fd, bytes(size))
        return fd

    return take(file)


@app.get("/attack/memory_sockets")
def memory_sockets():
    """Fill the buffers of sockets that nobody reads."""
    taken, block = 0, bytes(32 << 10)
    while taken < at_most():
        pair = socket.socketpair()
        pair[0].setblocking(False)
        HELD.append(pair)
        try:
            while True:
                taken += pair[0].send(block)
        except BlockingIOError:
            pass
    return "survived"


@app.get("/attack/memory_pipes")
def memory_pipes():
    taken, block = 0, bytes(64 << 10)
    while taken < at_most():
        try:
            pipe = os.pipe2(os.O_NONBLOCK)
        except OSError as error:
            return "stopped by %s" % error
        HELD.append(pipe)
        filled = 0
        try:
            while True:
                filled += os.write(pipe[1], block)
        except BlockingIOError:
            taken += max(filled, 4096)
    return "survived"


@app.get("/attack/memory_locks")
def memory_locks():
    """Lock single bytes of a file, from its end on, so that each new lock is the first that the kernel looks at, behind locks whose takers have gone."""
    hidden = os.fork()
    if not hidden:
        for i in range(10000):
            fcntl.flock(os.open("/tmp/locked-%d" % (i // 100), os.O_CREAT | os.O_RDWR), fcntl.LOCK_SH)
        if not os.fork():
            time.sleep(20)
        os._exit(0)
    os.waitpid(hidden, 0)
    file = open("/tmp/locked", "wb")
    HELD.append(file)
    for at in range(400_000, 0, -2):
        fcntl.lockf(file, fcntl.LOCK_EX, 1, at)
    time.sleep(3)  # for the host to see it
    return "survived"


@app.get("/attack/memory_accept")
def memory_accept():
    """Fill connections that nobody accepts, and reset every other one: then it is in no table, and holds what has arrived all the same."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    HELD.append(listener)
    block = bytes(64 << 10)
    for i in range(3000):
        with socket.create_connection(listener.getsockname()) as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", i % 2, 0))
            try:
                while True:
                    client.send(block)
            except BlockingIOError:
                pass
    time.sleep(3)  # for the host to see it
    return "survived"


@app.get("/attack/disk")
def disk():
    written, stopped, names = 0, "nothing", []
    while written < 3 * GIVEN["tmp"] and stopped == "nothing":
        names.append("/tmp/disk-%d" % len(names))
        try:
            fd = os.open(names[-1], os.O_CREAT | os.O_WRONLY)
            for _ in range(16):
                written += os.write(fd, bytes(256 << 10))
        except OSError as error:
            stopped = errno.errorcode[error.errno]
        os.close(fd)
    for name in names:
        os.unlink(name)
    with open("/tmp/after", "wb") as f:
        after = f.write(bytes(4096))
    return {"made": written, "stopped": stopped, "after": after}


@app.get("/attack/inodes")
def inodes():
    made, stopped = 0, "nothing"
    os.mkdir("/tmp/many")
    for n in range(40000):
        try:
            os.mknod("/tmp/many/%d" % n)
        except OSError as error:
            stopped = errno.errorcode[error.errno]
            break
        made += 1
    for n in range(made):
        os.unlink("/tmp/many/%d" % n)
    os.mknod("/tmp/after")
    return {"made": made, "stopped": stopped, "after": 1}


@app.get("/attack/descriptors")
async def descriptors_attack():
    made, stopped = [], "nothing"
    for _ in range(40000):
        try:
            made.append(os.dup(0))
        except OSError as error:
            stopped = errno.errorcode[error.errno]
            break
    for fd in made:
        os.close(fd)
    os.close(os.dup(0))
    return {"made": len(made), "stopped": stopped, "after": 1}


@app.get("/attack/spin")
def spin():
    """Keep four processes with four threads each busy for twenty seconds, longer than anybody looks."""

    def burn():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            pass

    for _ in range(4):
        if not os.fork():
            for _ in range(3):
                threading.Thread(target=burn).start()
            burn()
            os._exit(0)
    return "spinning"


def pour(block, seconds, most):
    """Write to the log in a child; tell how much it took."""
    read, write = os.pipe()
    if not os.fork():
        written, until = 0, time.monotonic() + seconds
        while time.monotonic() < until and written < most:
            written += os.write(1, block)
        os.write(1, b"\nthe last line\n")
        os.write(write, str(written).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as f:
        return {"made": int(f.read())}


@app.get("/attack/log_flood")
def log_flood():
    return pour(b"flood " * 10000 + b"\n", 2, 1 << 30)


@app.get("/attack/log_line")
def log_line():
    return pour(b"x" * 65536, 2, 3 * MIB)


@app.get("/attack/log_binary")
def log_binary():
    return pour(os.urandom(32768) + bytes(range(256)), 2, MIB)


@app.get("/attack/daemons")
def daemons():
    for _ in range(5):
        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)
            for number in range(1, 32):
                if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 64)
            while True:
                signal.pause()
        os.wait()
    return "left behind"


@app.get("/attack/core")
def core():
    child = os.fork()
    if not child:
        os.chdir("/tmp")
        os.kill(os.getpid(), signal.SIGSEGV)
    status = os.waitpid(child, 0)[1]
    return {"signal": os.WTERMSIG(status), "dumped": os.WCOREDUMP(status), "files": [name for name in os.listdir("/tmp") if name.startswith("core")]}


@app.get("/attack/never")
async def never():
    import asyncio

    await asyncio.sleep(3600)


@app.get("/attack/block")
async def block():
    while True:
        pass


@app.get("/attack/endless")
def endless():
    from fastapi.responses import StreamingResponse

    return StreamingResponse(bytes(65536) for _ in iter(int, 1))


@app.get("/attack/kill_init")
def kill_init():
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGSTOP)
    return "tried"


@app.get("/attack/ignore")
async def ignore():
    import asyncio

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            asyncio.get_running_loop().remove_signal_handler(number)
        except Exception:
            pass
        signal.signal(number, signal.SIG_IGN)
    return "ignoring"


@app.get("/attack/exit_255")
def exit_255():
    os.write(2, b"[F][2026-01-02T03:04:05+0000][1] runChild():1 Couldn't launch the child process\n")
    os._exit(255)
