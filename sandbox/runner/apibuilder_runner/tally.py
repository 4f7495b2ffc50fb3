"""What each request cost, for the host."""

import time

from .routes import innermost, template_of

USE_FIELD = b"x-apibuilder-use"  # which the gateway takes off every response
HEADS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
LONGEST_TEMPLATE = 200  # bytes


class Tally:
    """Tells the gateway, in a field of each response, how many microseconds of CPU time a request used until then and which
    route it took.

    The CPU time of this process, all of its threads included, is divided evenly among the requests that wait for the head of
    their response. So it is exact where one waits at a time, and the sum is where several do.
    """

    def __init__(self, app):
        self.app = app
        self.inner = innermost(app)
        self.waiting = 0
        self.seen = 0  # nanoseconds that were divided
        self.share = 0  # what a request has got that waits since the beginning

    def move(self, change):
        now = time.process_time_ns()
        if self.waiting:
            self.share += (now - self.seen) // self.waiting
        self.seen = now
        self.waiting += change
        return self.share

    def field(self, scope, prefix, used):
        try:
            template = template_of(scope, prefix, self.inner)
            template = template.encode() if template.isprintable() else b""
        except Exception:  # a program may put anything into its scope
            template = b""
        return USE_FIELD, b"%d %s" % (used // 1000, template if len(template) <= LONGEST_TEMPLATE else b"")

    async def __call__(self, scope, receive, send):
        prefix = scope["root_path"]
        begin = self.move(1)
        waits = True

        async def tell(message):
            nonlocal waits
            if waits and message["type"] in HEADS:
                waits = False
                field = self.field(scope, prefix, self.move(-1) - begin)
                message = {**message, "headers": [*(message.get("headers") or ()), field]}
            await send(message)

        try:
            await self.app(scope, receive, tell)
        finally:
            if waits:
                self.move(-1)
