"""What is done to the interpreter before anything else runs."""

import ctypes
import os
import struct
import subprocess


def refine_filter():
    """Add a seccomp filter to the host's, for three things that its language cannot say. No wall depends on the first two.

    A call of another architecture's table ends the whole process; the host's filter ends one thread, and leaves a
    program that hangs.

    clone3 and io_uring_setup are answered as the host's filter does, but without a line in the kernel's log. The C
    library and libuv try them at every thread and every start. The host hears of refused calls through that log, whose
    rate the kernel bounds: it is kept for calls that mean something. Of filters that give the same answer the newest
    decides whether it is logged (kernel/seccomp.c).

    No further filter can be added: one that has calls logged (SECCOMP_RET_LOG) would fill the log of the host's auditd. The
    host's filter cannot refuse that, since this one comes after it; it refuses seccomp(2).
    """
    arch, prctl = {"x86_64": (0xC000003E, 157), "aarch64": (0xC00000B7, 167)}[os.uname().machine]
    load, jump, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (jump, 0, 9, arch),
        (load, 0, 0, 0),  # seccomp_data.nr
        (jump, 2, 0, prctl),
        (jump, 3, 0, 435),  # clone3
        (jump, 2, 3, 425),  # io_uring_setup
        (load, 0, 0, 16),  # seccomp_data.args[0], of which prctl takes the lower half
        (jump, 2, 1, 22),  # PR_SET_SECCOMP
        (answer, 0, 0, 0x00050000 | 38),  # SECCOMP_RET_ERRNO, ENOSYS
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (answer, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO, EPERM
        (answer, 0, 0, 0x80000000),  # SECCOMP_RET_KILL_PROCESS
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("H6xP", len(program), ctypes.addressof(code))
    if ctypes.CDLL(None, use_errno=True).prctl(22, 2, header, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "add to the filter of system calls")


def give_children_site():
    """Leave out -S, which this interpreter was started with, from the options that worker processes are started with."""
    flags = subprocess._args_from_interpreter_flags
    subprocess._args_from_interpreter_flags = lambda: [flag for flag in flags() if flag != "-S"]
