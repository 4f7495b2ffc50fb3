"""What every program of the self-test begins with. The host concatenates this file and those that the program is made of.

It says what it tried and what came of it, never whether that is good: the host judges.
"""

import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time

from fastapi import FastAPI

app = FastAPI()
GIVEN = json.loads(os.environ["SELFTEST"])  # what the host laid out as bait, and how much to try at most
INHERITED = [int(name) for name in os.listdir("/proc/self/fd")]
INHERITED = [fd for fd in INHERITED if os.path.islink("/proc/self/fd/%d" % fd)]  # without that of the listing
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.prctl(15, GIVEN["mark"].encode())  # PR_SET_NAME: how the host finds this process among its own

PROBES = {}
INLINE = set()
PATIENCE = 8  # seconds that one probe may take


class NotApplicable(Exception):
    """This machine has nothing to try it on."""


def probe(name, inline=False):
    """Register a function that returns {what was tried: what came of it}. It runs in a child unless it is inline."""

    def register(function):
        PROBES[name] = function
        if inline:
            INLINE.add(name)
        return function

    return register


def outcome(function, *args):
    """Call function and say in a word what came of it: "allowed", the name of an error, or what it returned."""
    try:
        value = function(*args)
    except NotApplicable:
        return "not applicable"
    except socket.gaierror as error:
        return "no address" if error.errno in (socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_NODATA) else str(error)
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)
    return value if isinstance(value, str) else "allowed"


def outcomes(**functions):
    return {name: outcome(function) for name, function in functions.items()}


def check(result):
    """Raise the C library's error for a result below zero."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def run_in_child(function):
    """Run a probe in a child, so that one that is killed or never ends is told as such."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            answer = json.dumps(function()).encode()
        except BaseException as error:
            answer = json.dumps({"the probe": "%s: %s" % (type(error).__name__, error)}).encode()
        with os.fdopen(write, "wb") as out:
            out.write(answer)
        os._exit(0)
    os.close(write)
    answer, deadline = b"", time.monotonic() + PATIENCE
    with os.fdopen(read, "rb", buffering=0) as source:
        while select.select([source], [], [], max(0, deadline - time.monotonic()))[0]:
            part = source.read(65536)
            if not part:
                break
            answer += part
        else:
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"the probe": signal.Signals(os.WTERMSIG(status)).name}
    return json.loads(answer)


@app.get("/probe/{name}")
async def run_probe(name: str):
    if name in INLINE:
        return PROBES[name]()
    return run_in_child(PROBES[name])
