"""The program that serves: imports the web stack, takes one author's program over the control descriptor, and serves it on
the inherited listening socket. boot.py starts it in a child of PID 1.

It runs on CPython 3.9 and later with FastAPI 0.95 and uvicorn 0.20 and later. Everything below `load` runs beside
author code: the host takes nothing it says after that on trust.

Frames on the control descriptor, both ways: 4 bytes of big-endian length, then that many bytes of JSON.
"""

import asyncio
import contextlib
import contextvars
import errno
import faulthandler
import gc
import importlib
import io
import json
import linecache
import logging
import os
import site
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import types

LISTEN_FD = 3
CONTROL_FD = 4
FILENAME = "main.py"  # what tracebacks call the author's code, when it is one text
FILES = "/program"  # where a program of several files is


def refine_filter():
    """Add a seccomp filter to the host's, for two things that its language cannot say. No wall depends on it.

    A call of another architecture's table ends the whole process; the host's filter ends one thread, and leaves a
    program that hangs.

    clone3 and io_uring_setup are answered as the host's filter does, but without a line in the kernel's log. The C
    library and libuv try them at every thread and every start. The host hears of refused calls through that log, whose
    rate the kernel bounds: it is kept for calls that mean something. Of filters that give the same answer the newest
    decides whether it is logged (kernel/seccomp.c).
    """
    import ctypes

    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[os.uname().machine]
    load, jump, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (jump, 0, 5, arch),
        (load, 0, 0, 0),  # seccomp_data.nr
        (jump, 1, 0, 435),  # clone3
        (jump, 0, 1, 425),  # io_uring_setup
        (answer, 0, 0, 0x00050000 | 38),  # SECCOMP_RET_ERRNO, ENOSYS
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (answer, 0, 0, 0x80000000),  # SECCOMP_RET_KILL_PROCESS
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("H6xP", len(program), ctypes.addressof(code))
    ctypes.CDLL(None).prctl(22, 2, header, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def give_children_site():
    """Leave out -S, which this interpreter was started with, from the options that worker processes are started with."""
    flags = subprocess._args_from_interpreter_flags
    subprocess._args_from_interpreter_flags = lambda: [flag for flag in flags() if flag != "-S"]


refine_filter()
give_children_site()
site.main()  # the interpreter was started without site packages

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


request_of_line = contextvars.ContextVar("request_of_line", default="")  # id of the request that is being answered
level_of_line = contextvars.ContextVar("level_of_line", default="")  # letter of the level of the record that is being logged


class Marked(io.TextIOWrapper):
    """Standard output or error, in which every line that a request prints, or a logger, begins with a mark that says so.

    The host takes the marks out again. They are on the way to its pipe alone: a program that has put something else in
    the descriptor's place finds none in it. sandbox/mark.go says how they look.
    """

    def __init__(self, stream):
        self.descriptor = stream.fileno()
        self.pipe = os.fstat(self.descriptor).st_ino
        self.fresh = True  # at the beginning of a line
        self.mode = "w"
        encoding, errors = stream.encoding, "backslashreplace"
        super().__init__(stream.detach(), encoding=encoding, errors=errors, line_buffering=True)

    def write(self, text):
        request, level = request_of_line.get(), level_of_line.get()
        if not isinstance(text, str) or not text or not (request or level) or not self.leads_to_host():
            written = super().write(text)
            if written:
                self.fresh = text[-1] == "\n"
            return written
        mark = "\x1e%s;%s\x1f" % (request, level)
        marked = text.replace("\n", "\n" + mark)
        if self.fresh:
            marked = mark + marked
        self.fresh = text[-1] == "\n"
        if self.fresh:
            marked = marked[: -len(mark)]
        super().write(marked)
        return len(text)

    def leads_to_host(self):
        try:
            return os.fstat(self.descriptor).st_ino == self.pipe
        except OSError:
            return False


def mark_output():
    """Have what is printed say in which request, and what is logged at which level, whatever its format is."""
    sys.stdout = sys.__stdout__ = Marked(sys.stdout)
    sys.stderr = sys.__stderr__ = Marked(sys.stderr)
    handle = logging.Handler.handle

    def handle_marked(handler, record):
        token = level_of_line.set(level_letter(record.levelno))
        try:
            return handle(handler, record)
        finally:
            level_of_line.reset(token)

    logging.Handler.handle = handle_marked


def level_letter(number):
    for least, letter in ((50, "c"), (40, "e"), (30, "w"), (20, "i")):
        if number >= least:
            return letter
    return "d"


def note_request(headers):
    """Have lines that are printed from here on, in this task and what it starts, be those of the request."""
    for name, value in headers:
        if name == b"x-request-id" and len(value) == 36 and value.isascii():
            request_of_line.set(value.decode())
            return


def program_traceback(error):
    """The traceback as its author knows it: from the program's own first line on."""
    entry = error.__traceback__
    while entry is not None and not is_own(entry.tb_frame.f_code.co_filename):
        entry = entry.tb_next
    return "".join(traceback.format_exception(type(error), error, entry))


def is_own(filename):
    return filename in (FILENAME, task_name) or filename.startswith(FILES + "/")


def ignore_run(*_args, **_kwargs):
    """Stands in for uvicorn.run while the program is imported: the platform already serves it."""
    print("uvicorn.run() has no effect here: the platform serves the program", file=sys.stderr)


def load_text(source):
    """Run the author's code as a module named `main`; return its namespace."""
    module = types.ModuleType("main")
    module.__file__ = FILENAME
    sys.modules["main"] = module
    # An entry without a modification time is kept by linecache.checkcache, so tracebacks can quote the source.
    linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)
    exec(compile(source, FILENAME, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def load(order):
    """Run the author's code; return the namespace in which the application is."""
    import uvicorn

    run, uvicorn.run = uvicorn.run, ignore_run
    try:
        if order.get("entry"):
            return importlib.import_module(order["entry"].partition(":")[0]).__dict__
        return load_text(order["code"])
    except SystemExit as error:
        raise Failure("import_error", program_traceback(error) + "the program ended itself while it was imported\n")
    except BaseException as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise Failure("disk_full" if full else "import_error", program_traceback(error))
    finally:
        uvicorn.run = run


def importable(source):
    """Let worker processes that start as new interpreters import the author's code, as where uvicorn runs main:app.

    Its directory is not /tmp itself, so that no upload which a program keeps there is ever imported.
    """
    sys.modules["__main__"].__dict__.pop("__file__", None)  # multiprocessing would run boot.py again in them
    directory = "/tmp/.program"
    try:
        os.mkdir(directory)
        with open(directory + "/" + FILENAME, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            file.write(source)
    except OSError as error:
        reason = "disk_full" if error.errno == errno.ENOSPC else "startup_failed"
        raise Failure(reason, "write the program to /tmp: %s" % error)
    sys.path.append(directory)


def enter_files():
    """Have the program's own files be what `python` run in their folder would find: first on the path, and where it stands."""
    sys.modules["__main__"].__dict__.pop("__file__", None)
    sys.path.insert(0, FILES)
    os.chdir(FILES)


task_name = None  # what tracebacks call one-off code


def run_task(order):
    """Run one-off code as `python -c` or `python FILE` would beside the program."""
    global task_name
    sys.argv = list(order.get("args") or ["-c"])
    task_name = "<task>" if sys.argv[0] == "-c" else sys.argv[0]
    source = order["task"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    linecache.cache[task_name] = (len(source), None, source.splitlines(keepends=True), task_name)
    try:
        exec(compile(source, task_name, "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        print(program_traceback(error), end="", file=sys.stderr)
        sys.exit(1)


def find_app(namespace, attribute=""):
    """The ASGI application: what is named, else what is called `app` or `application`, else the only FastAPI or Starlette
    there is."""
    from starlette.applications import Starlette

    if attribute:
        app = namespace.get(attribute.partition(".")[0])
        for name in attribute.split(".")[1:]:
            app = getattr(app, name, None)
        if not callable(app) or isinstance(app, type):
            raise Failure("no_app", "the entry point names `%s`, which is no application in its module" % attribute)
        return app
    for name in ("app", "application"):
        app = namespace.get(name)
        if callable(app) and not isinstance(app, type):
            return app
    found = {name: value for name, value in namespace.items() if isinstance(value, Starlette)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(sorted(found))
        raise Failure("no_app", "the code defines several applications (%s): call the one to serve `app`" % names)
    raise Failure("no_app", "the code defines no application: it needs a line like `app = FastAPI()` at its top level")


def innermost(app):
    """The application below the middleware that wraps it, as far as `.app` leads."""
    for _ in range(32):
        inner = getattr(app, "app", None)
        if hasattr(app, "routes") or not callable(inner):
            break
        app = inner
    return app


PREFIX_FIELD = b"x-forwarded-prefix"  # which the gateway sets on every request, and takes from nobody

prefix_of_request = contextvars.ContextVar("prefix_of_request", default="")


def split_prefix(headers, default):
    """The prefix that a request came in by, "" for none, and the header as the program sees it."""
    for field in headers:
        if field[0] == PREFIX_FIELD:
            prefix = field[1].decode("latin-1").rstrip("/")
            if not prefix:
                headers = [other for other in headers if other is not field]
            return prefix, headers
    return default, headers


def serve_openapi_by_prefix(app):
    """Have the program's OpenAPI document name the server by the prefix of the request that asks for it.

    FastAPI does so by itself; but its older versions keep the prefix of the first request in the one document that they
    remember, and a program may be reached by several.
    """
    original = getattr(app, "openapi", None)
    if not callable(original) or not getattr(app, "root_path_in_servers", False):
        return

    def openapi():
        document, prefix = original(), prefix_of_request.get()
        servers = document.get("servers", []) if isinstance(document, dict) else None
        if not prefix or not isinstance(servers, list) or {"url": prefix} in servers:
            return document
        return {**document, "servers": [{"url": prefix}, *servers]}

    app.root_path_in_servers = False
    app.openapi = openapi


def template_of(scope, prefix, app):
    """The template of the route that a request took, "/items/{id}"; empty where that cannot be told.

    Newer versions of FastAPI put the route of an included router into the scope as its author wrote it, and beside it what
    the inclusion made of it. Older versions of Starlette put no route there that is not FastAPI's: those have an endpoint.
    """
    route, own = scope.get("route"), scope.get("fastapi")
    context = own.get("effective_route_context") if isinstance(own, dict) else None
    if context is not None and getattr(context, "original_route", None) is route:
        route = getattr(context, "starlette_route", None) or context
    if route is None:
        route = route_to(scope.get("endpoint"), app)
    path = getattr(route, "path_format", None)
    mounted = scope.get("root_path", "")[len(prefix) :]
    if mounted and hasattr(route, "app") and not hasattr(route, "endpoint"):
        return mounts_along(app, mounted) + "/{path}"  # the route is the mount itself
    if not isinstance(path, str):
        return ""
    return mounts_along(app, mounted) + path if mounted else path


def route_to(endpoint, app):
    """The only route of `app` that leads to an endpoint, or None."""
    if endpoint is None:
        return None
    found = [r for r in getattr(app, "routes", ()) if endpoint in (getattr(r, "endpoint", None), getattr(r, "app", None))]
    return found[0] if len(found) == 1 else None


def mounts_along(app, path):
    """The templates of the mounts that lead along a path, or the path itself where they cannot be found."""
    found, rest = "", path
    while rest:
        for route in getattr(app, "routes", ()):
            match = hasattr(route, "app") and not hasattr(route, "endpoint") and getattr(route, "path_regex", None)
            match = match and match.match(rest + "/")
            if match:
                inside = match.groupdict().get("path", "").rstrip("/")
                found, rest, app = found + route.path, inside and "/" + inside, route.app
                break
        else:
            return path
    return found


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


class Mount:
    """Serves `app` below the prefix that each request came in by, whatever the versions of uvicorn and Starlette make of
    `root_path`: the gateway reaches one program below /run and at a host name of its own.

    Since Starlette 0.33 (and in the ASGI specification) `path` includes `root_path`; before that it did not. uvicorn
    adds the prefix since 0.26 only, so it is told nothing and the prefix is put on here.

    A program may name a `root_path` of its own, for a proxy that it expected. FastAPI would put that over ours and
    find no route. It is taken away, and paths that carry the program's own prefix are served as without it, as
    plain uvicorn would.
    """

    def __init__(self, app, prefix, probe):
        import starlette

        self.app = app
        self.tally = Tally(app)
        self.prefix = prefix
        self.probe = probe
        inner = innermost(app)
        version = tuple(int(part) for part in starlette.__version__.split(".")[:2] if part.isdigit())
        self.path_has_prefix = version >= (0, 33) or not hasattr(inner, "routes")
        self.own = (getattr(inner, "root_path", None) or "").rstrip("/")
        if self.own:
            inner.root_path = ""
        serve_openapi_by_prefix(inner)

    async def __call__(self, scope, receive, send):
        kind = scope["type"]
        if kind == "http" and scope["path"] == self.probe:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if kind in ("http", "websocket"):
            note_request(scope["headers"])
            path, raw = scope["path"], scope.get("raw_path")
            prefix, scope["headers"] = split_prefix(scope["headers"], self.prefix)
            prefix_of_request.set(prefix)
            if self.own and self.path_has_prefix:
                path = strip(path, self.own)
                raw = raw and strip(raw, self.own.encode())
            if self.path_has_prefix:
                path = prefix + path
                raw = raw and prefix.encode() + raw
            scope["root_path"] = prefix
            scope["path"] = path
            if raw:
                scope["raw_path"] = raw
            await self.tally(scope, receive, send)
            return
        await self.app(scope, receive, send)


def strip(path, prefix):
    slash = prefix[:0] + ("/" if isinstance(path, str) else b"/")
    if path == prefix:
        return slash
    if path.startswith(prefix + slash):
        return path[len(prefix) :]
    return path


def describe(app):
    """List the program's routes and whether each needs input, as far as its OpenAPI document tells."""
    inner = innermost(app)
    operations = {}
    try:
        for path, item in inner.openapi().get("paths", {}).items():
            for method, operation in item.items():
                required = any(p.get("required") for p in operation.get("parameters", ()))
                operations[path, method.upper()] = required or "requestBody" in operation
    except Exception:  # a program whose document cannot be made still has routes
        pass
    routes, known = [], set()
    for (path, method), needs_input in operations.items():
        known.add((path, method))
        routes.append({"path": path, "methods": [method], "needs_input": needs_input or "{" in path})
    for route in getattr(inner, "routes", ()):
        path = getattr(route, "path", None)
        if not isinstance(path, str):
            continue
        methods = sorted(m for m in (getattr(route, "methods", None) or ()) if (path, m) not in known)
        if methods == ["HEAD"] or (not methods and any(p == path for p, _ in known)):
            continue
        routes.append({"path": path, "methods": methods, "needs_input": "{" in path or "GET" not in methods})
    return routes[:1000]


class Records(logging.Handler):
    """Keeps what uvicorn logs as errors while the program starts: its lifespan traceback is among them."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


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


def serve(app, listener, control, order, known, took):
    """Serve until told to stop; report the end of start-up to the host.

    `known` are the modules from before the program, `took` is how many seconds its import took.
    """
    import uvicorn

    mounted = Mount(app, order["root_path"], order["probe"])
    records = Records()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            try:
                await super().startup(sockets=sockets)
            except SystemExit:
                raise Failure("startup_failed", "\n".join(records.lines))
            if self.should_exit:
                raise Failure("startup_failed", "\n".join(records.lines))
            logging.getLogger("uvicorn.error").removeHandler(records)
            faulthandler.cancel_dump_traceback_later()
            routes = describe(app) if order.get("describe") else []
            imports = imported_since(known) if order.get("learn") else []
            control.send(event="started", routes=routes, imports=imports, import_seconds=took)

    options = dict(
        log_level="warning",
        access_log=False,
        use_colors=False,
        proxy_headers=True,
        forwarded_allow_ips="*",  # the gateway is the only peer, and it replaces what consumers send
        timeout_keep_alive=3600,  # the gateway decides when to close, so that it never meets a closing connection
        backlog=2048,
    )
    config = uvicorn.Config(mounted, **options)
    if hasattr(config, "timeout_graceful_shutdown"):
        config.timeout_graceful_shutdown = order.get("drain_seconds")
    logging.getLogger("uvicorn.error").addHandler(records)
    Server(config).run(sockets=[listener])


def preload():
    """Import what every program needs, before there is one."""
    import fastapi  # noqa: F401
    import fastapi.responses  # noqa: F401
    import uvicorn
    import uvicorn.lifespan.on  # noqa: F401

    async def no_app(scope, receive, send):
        """Stands in for the program that is still to come."""

    config = uvicorn.Config(no_app, log_config=None)
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


def main():
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
        control.send(event="failed", reason=failure.reason, detail=failure.detail)
        sys.stdout.flush()
        os._exit(70)  # EX_SOFTWARE: threads that the program started must not keep it alive


main()
