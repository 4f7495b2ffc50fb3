"""The host's word and ours, over the control descriptor.

Frames, both ways: 4 bytes of big-endian length, then that many bytes of JSON.
"""

import json
import os
import socket
import struct

DETAIL_LIMIT = 32 * 1024


class Failure(Exception):
    """Why a program cannot be served: a reason word of the host's enumeration and what its author should read."""

    def __init__(self, reason, detail):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail[-DETAIL_LIMIT:]


class Control:
    """The host's end of the control descriptor."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)

    def receive(self):
        (length,) = struct.unpack(">I", self._read(4))
        return json.loads(self._read(length))

    def send(self, **message):
        body = json.dumps(message).encode()
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def _read(self, count):
        parts = []
        while count:
            part = self.sock.recv(min(count, 1 << 16))
            if not part:
                os._exit(0)  # the host is gone
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
