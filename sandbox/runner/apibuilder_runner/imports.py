"""What is imported before there is a program, and what the program imports."""

import asyncio
import contextlib
import importlib
import os
import sys
import threading

from . import loggers


def import_beforehand(names):
    """Import what a program is known to import, before there is one. What does not work is left to the program."""
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001
            pass


def imported_since(known):
    """List what the program has imported of its environment and the standard library, in the order of the imports."""
    roots = ("/env/", os.path.dirname(os.__file__) + "/")
    names = []
    try:
        for name, module in list(sys.modules.items()):
            if type(name) is not str or name in known or name.partition(".")[0] == "main":
                continue
            origin = getattr(getattr(module, "__spec__", None), "origin", None)
            if type(origin) is str and (origin == "built-in" or origin.startswith(roots)):
                names.append(name)
    except Exception:  # a program may put anything there
        return []
    return names


def preload():
    """Import what every program needs, before there is one."""
    import fastapi  # noqa: F401
    import fastapi.responses  # noqa: F401
    import uvicorn.lifespan.on  # noqa: F401

    async def no_app(scope, receive, send):
        """Stands in for the program that is still to come."""

    config = loggers.configure(no_app)
    config.load()  # imports the protocol implementations that this environment has
    rehearse(config)


def rehearse(config):
    """Have an event loop give work to a thread, as a first request does: that imports most of what it waits for.

    No application is called, because that could settle what packages read from the environment once, and a program's
    variables are not there yet. The loop is made current nowhere, so that a program finds asyncio as it would be.
    """
    try:
        import anyio.to_thread

        if hasattr(config, "get_loop_factory"):
            new_event_loop = config.get_loop_factory()
        else:  # uvicorn before 0.36, which chooses when it runs
            new_event_loop = asyncio.new_event_loop
            importlib.import_module("uvicorn.loops.auto")
            with contextlib.suppress(ImportError):
                importlib.import_module("uvloop")
        loop = new_event_loop()
        try:
            loop.run_until_complete(anyio.to_thread.run_sync(threading.active_count))
        finally:
            loop.close()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(1)
    except Exception:  # it only saves time: whatever does not work is the program's to find
        pass
