"""From the start of the interpreter to the program that serves."""

import faulthandler
import gc
import os
import site
import socket
import sys
import time
import traceback

from . import interpreter
from .control import Control, Failure
from .imports import import_beforehand, preload
from .output import mark_output
from .program import enter_files, find_app, importable, load, run_task
from .server import serve

LISTEN_FD = 3
CONTROL_FD = 4


def main():
    interpreter.refine_filter()
    interpreter.give_children_site()
    site.main()  # the interpreter was started without site packages
    mark_output()
    gc.disable()  # next to nothing of what is imported becomes garbage, and looking for it takes long
    control = Control(CONTROL_FD)
    listener = socket.socket(fileno=LISTEN_FD)
    try:
        try:
            preload()
        except BaseException as error:
            raise Failure("import_error", "".join(traceback.format_exception(type(error), error, error.__traceback__)))
        control.send(event="waiting")
        order = control.receive()
        if order.get("import"):
            import_beforehand(order["import"])
            control.send(event="waiting")
            order = control.receive()
        control.send(event="taken")
        gc.freeze()  # nor will it later: the program's collections leave it alone
        gc.enable()
        os.environ.update(order["env"])
        time.tzset()  # the C library looks at TZ when it first needs it, which was long ago
        faulthandler.enable()
        if order.get("entry"):
            enter_files()
        else:
            importable(order["code"])
        if "task" in order:
            control.send(event="started")
            control.sock.close()
            listener.close()
            return run_task(order)
        # What is still running shortly before the host loses patience is written to the log, where the host reads it.
        faulthandler.dump_traceback_later(order["patience_seconds"], exit=False)
        known, began = frozenset(sys.modules), time.perf_counter()
        app = find_app(load(order), order.get("entry", "").partition(":")[2])
        serve(app, listener, control, order, known, time.perf_counter() - began)
    except Failure as failure:
        try:
            sys.stdout.flush()  # before the host learns of it and kills us: what it printed may say why
        except Exception:
            pass  # the program's own stream, or none
        control.send(event="failed", reason=failure.reason, detail=failure.detail)
        os._exit(70)  # EX_SOFTWARE: threads that the program started must not keep it alive
