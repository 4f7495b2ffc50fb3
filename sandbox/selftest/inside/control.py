"""Attacks on the control descriptor, while the program is imported and the host listens."""


def say(body, length=None):
    os.write(4, struct.pack(">I", len(body) if length is None else length) + body)


def lie(**event):
    say(json.dumps(event).encode())


def deaf():
    """Refuse every further connection to the listening socket."""
    with socket.socket(fileno=os.dup(3)) as s:
        s.shutdown(socket.SHUT_RDWR)


def pass_descriptors():
    with socket.socket(fileno=os.dup(4)) as s:
        for _ in range(50):
            s.sendmsg([b"\xff"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("10i", *[0] * 10))])


def started_but_deaf():
    deaf()
    lie(event="started", routes=[])


ATTACKS = {
    "sleep": lambda: None,
    "garbage": lambda: os.write(4, b"\xff" * 64),
    "endless": lambda: say(b"x" * 4096, length=0xFFFFFFFF),
    "nested": lambda: say(b"[" * 1000000),
    "event": lambda: lie(event="sudo"),
    "reason": lambda: lie(event="failed", reason="out_of_memory", detail="no, it is not"),
    "started": started_but_deaf,
    "descriptors": pass_descriptors,
    "end": lambda: socket.socket(fileno=os.dup(4)).shutdown(socket.SHUT_RDWR),
}
ATTACKS[GIVEN["attack"]]()
time.sleep(3600)
