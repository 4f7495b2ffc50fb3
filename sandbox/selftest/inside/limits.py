"""Probes of limits that a call meets at once."""

import resource


@probe("resources.raise_limits")
def raise_limits():
    def more(kind):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY:
            return "unlimited"
        try:
            resource.setrlimit(kind, (hard, hard + 1))
        except ValueError:  # Python's word for EPERM here
            return "EPERM"

    kinds = {"core": resource.RLIMIT_CORE, "descriptors": resource.RLIMIT_NOFILE, "file size": resource.RLIMIT_FSIZE, "locked memory": resource.RLIMIT_MEMLOCK, "message queues": resource.RLIMIT_MSGQUEUE, "realtime priority": resource.RLIMIT_RTPRIO, "stack": resource.RLIMIT_STACK}
    return {name: outcome(more, kind) for name, kind in kinds.items()}


@probe("resources.file_size")
def file_size():
    fd = os.memfd_create("selftest")
    return {"a terabyte in memory": outcome(os.ftruncate, fd, 1 << 40), "a terabyte in /tmp": outcome(os.truncate, os.open("/tmp/size", os.O_CREAT | os.O_RDWR), 1 << 40)}


@probe("resources.locked_memory")
def locked_memory():
    import mmap

    page = mmap.mmap(-1, 1 << 20)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return outcomes(mlock=lambda: call("mlock", address, 1 << 20), mlockall=lambda: check(libc.mlockall(1)))


@probe("resources.message_queues")
def message_queues():
    """Open queues of 80 KiB until one is refused."""
    attributes = struct.pack("8q", 0, 10, 8192, 0, 0, 0, 0, 0)
    for n in range(16):
        result = outcome(lambda: call("mq_open", b"selftest%d" % n, os.O_CREAT | os.O_RDWR, 0o600, attributes))
        if result != "allowed":
            return {"after %d" % n: result} if n else {"the first": result}
    return {"sixteen": "allowed"}


@probe("resources.realtime")
def realtime():
    return outcomes(
        fifo=lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        round_robin=lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    )


@probe("resources.priority")
def priority():
    return outcomes(nice=lambda: os.nice(-1) and None, setpriority=lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))


@probe("resources.oom_score")
def oom_score():
    def write():
        with open("/proc/self/oom_score_adj", "w") as f:
            f.write("-1000")

    return outcomes(lower=write)
