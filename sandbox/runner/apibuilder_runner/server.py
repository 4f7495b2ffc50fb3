"""uvicorn, with the end of start-up told to the host."""

import faulthandler
import logging

from .connections import watch_ends
from .control import Failure
from .imports import imported_since
from .loggers import as_left
from .mount import Mount
from .routes import describe


class Records(logging.Handler):
    """Keeps what uvicorn logs as errors while the program starts: its lifespan traceback is among them."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def serve(app, listener, control, order, known, took):
    """Serve until told to stop; report the end of start-up to the host.

    `known` are the modules from before the program, `took` is how many seconds its import took.
    """
    import uvicorn

    mounted = Mount(app, order["root_path"], order["probe"])
    records = Records()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            watch_ends()
            try:
                await super().startup(sockets=sockets)
                ended = self.should_exit
            except SystemExit:
                ended = True
            if ended:
                raise Failure("startup_failed", "\n".join(records.lines) or mounted.complaint)
            logging.getLogger("uvicorn.error").removeHandler(records)
            faulthandler.cancel_dump_traceback_later()
            routes = describe(app) if order.get("describe") else []
            imports = imported_since(known) if order.get("learn") else []
            control.send(event="started", routes=routes, imports=imports, import_seconds=took)

    options = dict(
        **as_left(),
        proxy_headers=True,
        forwarded_allow_ips="*",  # the gateway is the only peer, and it replaces what consumers send
        timeout_keep_alive=3600,  # the gateway decides when to close, so that it never meets a closing connection
        backlog=2048,
    )
    config = uvicorn.Config(mounted, **options)
    if hasattr(config, "timeout_graceful_shutdown"):
        # Requests have had their time when the program is told to end. What runs on is cancelled, so that the program's own shutdown
        # code has its turn before the host's patience ends.
        config.timeout_graceful_shutdown = 1
    logging.getLogger("uvicorn.error").addHandler(records)
    Server(config).run(sockets=[listener])
