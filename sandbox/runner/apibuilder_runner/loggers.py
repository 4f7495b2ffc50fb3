"""uvicorn's loggers, as a program finds them where uvicorn starts it."""

import logging
import os


class OthersWords(logging.Filter):
    """Leaves out what uvicorn and its websockets say of themselves, below a warning: that they start, stop and connect.

    It is told apart by the file that says it, because programs log by `uvicorn.error` as well, and set levels there.
    """

    def __init__(self, packages):
        super().__init__()
        self.own = tuple(os.path.join(packages, name, "") for name in ("uvicorn", "websockets"))

    def filter(self, record):
        return record.levelno >= logging.WARNING or not record.pathname.startswith(self.own)


def configure(app):
    """Return a configuration of uvicorn's, which has set its loggers up. Nothing of a program's may be imported yet: that closes
    every handler there is (logging.config.dictConfig), and takes those of a program off uvicorn's loggers.
    """
    import uvicorn

    config = uvicorn.Config(app, use_colors=False)
    leave_out_requests(logging.getLogger("uvicorn.access"))
    packages = os.path.dirname(os.path.dirname(uvicorn.__file__))
    logging.getLogger("uvicorn.error").addFilter(OthersWords(packages))
    return config


def leave_out_requests(logger):
    """Have uvicorn log no requests, which the gateway does, unless the program has changed how: it has handlers of its own, or another format.

    uvicorn asks for each connection whether there is anybody to tell. Its handler stays, because programs expect one.
    """
    handlers = list(logger.handlers)
    formats = [h.formatter for h in handlers]
    has_handlers = logger.hasHandlers

    def has_own_handlers():
        changed = logger.propagate or logger.handlers != handlers or [h.formatter for h in handlers] != formats
        return changed and has_handlers()

    logger.hasHandlers = has_own_handlers


def as_left():
    """Options with which uvicorn leaves the loggers as the program has them."""
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).disabled = False  # dictConfig does that to loggers that a program does not name; errors are told
    return dict(log_config=None, log_level=None)
