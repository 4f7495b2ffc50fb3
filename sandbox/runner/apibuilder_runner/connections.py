"""What uvicorn keeps of connections."""

import sys


def forget_lost():
    """Have uvicorn's connections take their timer with them, however they end; its protocols are imported by then.

    From the end of an answer on, a timer holds the connection for the keep-alive time. uvicorn ends the timer where the peer
    closes in order, but not where it resets (connection_lost in all of uvicorn/protocols/http, 0.54 being the newest), as
    the gateway does when a consumer has gone with a part of the answer unread: some 8 KiB each, for an hour.
    """
    for name, module in list(sys.modules.items()):
        if not name.startswith("uvicorn.protocols.http."):
            continue
        for protocol in vars(module).values():
            if isinstance(protocol, type) and "connection_lost" in vars(protocol) and protocol.__module__ == name:
                protocol.connection_lost = ending_timer(protocol.connection_lost)


def ending_timer(connection_lost):
    def lost(self, exc):
        try:
            connection_lost(self, exc)
        finally:
            timer = getattr(self, "timeout_keep_alive_task", None)
            if timer is not None:
                timer.cancel()
                self.timeout_keep_alive_task = None

    return lost
