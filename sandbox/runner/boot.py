"""The first program in a sandbox: PID 1, which starts the runner in a child and does an init's duties.

It is apart from the runner, and imports nothing but what the interpreter has loaded already, because its memory is part of
what every sandbox costs.
"""

import _signal as signal  # the module without its enumerations
import os
import sys

LISTEN_FD = 3
CONTROL_FD = 4
VERDICT_FD = 7  # PID 1 alone holds it, to add what the host cannot see


def supervise(child):
    """Reap every orphan and pass signals on until `child` ends, and end as it ended."""

    def forward(number, _frame):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            os._exit(0)
        if pid != child:
            continue
        if disk_is_full():
            os.write(VERDICT_FD, b"disk_full")
        if os.WIFSIGNALED(status):
            os._exit(128 + os.WTERMSIG(status))
        os._exit(os.WEXITSTATUS(status))


def disk_is_full():
    """Tell whether /tmp has no byte or no file left. It ends with the sandbox, so only from inside it can be told."""
    state = os.statvfs("/tmp")
    return state.f_bavail == 0 or state.f_favail == 0


def main():
    child = os.fork()
    if child:
        for fd in (0, LISTEN_FD, CONTROL_FD):
            os.close(fd)
        supervise(child)
    os.close(VERDICT_FD)


main()
del main, supervise, disk_is_full
sys.path.insert(0, os.path.dirname(__file__))
from apibuilder_runner.main import main  # noqa: E402

del sys.path[0]
main()
