"""What uvicorn does when a consumer leaves."""

import os
import socket
import sys

left = {}  # connections whose consumer has gone, while the program answers the request with that scope


def watch_ends():
    """Have uvicorn's connections end as the gateway expects it. Its protocols are imported by then.

    The gateway ends its direction of a connection when nobody waits for the answer any more, and counts the request as one
    that the program has until the program's direction ends. uvicorn would end that at once, and the program would go on
    unseen, beside as many others as its author allows at a time. So it is ended with the request, by request_ended.

    Also, a timer holds each connection for the keep-alive time from the end of an answer on. uvicorn ends the timer where
    the peer closes in order, but not where it resets (connection_lost in all of uvicorn/protocols/http, 0.54 being
    the newest), as the gateway does with a part of an answer unread: some 8 KiB each, for an hour.
    """
    for name, module in list(sys.modules.items()):
        if not name.startswith("uvicorn.protocols.http."):
            continue
        for protocol in vars(module).values():
            if isinstance(protocol, type) and protocol.__module__ == name and "connection_lost" in vars(protocol):
                protocol.eof_received = consumer_left
                protocol.connection_lost = ending_timer(protocol.connection_lost)


def consumer_left(protocol):
    """Tell the program, as uvicorn's connection_lost does, and keep the connection while the program is at work."""
    cycle = getattr(protocol, "cycle", None)
    try:
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            protocol.flow.resume_writing()  # nobody reads what the program is waiting to send
            left[id(cycle.scope)] = protocol.transport
            return True
    except AttributeError:  # no request, or a uvicorn that keeps it elsewhere
        pass
    end(protocol.transport)
    return None


def request_ended(scope):
    """The program has ended its work for a request."""
    transport = left.pop(id(scope), None)
    if transport is not None:
        end(transport)


def end(transport):
    """End a connection at once, for a process that the program has forked meanwhile as well: it holds the connection too."""
    try:
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
    except (OSError, AttributeError):  # it has ended
        pass
    transport.abort()  # close would wait until what is left of the answer is read


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
