"""The author's program: its code, and the application in it."""

import errno
import functools
import importlib
import inspect
import linecache
import os
import sys
import traceback
import types

from .control import Failure

FILENAME = "main.py"  # what tracebacks call the author's code, when it is one text
FILES = "/program"  # where a program of several files is


def program_traceback(error):
    """The traceback as its author knows it: from the program's own first line on."""
    entry = error.__traceback__
    while entry is not None and not is_own(entry.tb_frame.f_code.co_filename):
        entry = entry.tb_next
    return "".join(traceback.format_exception(type(error), error, entry))


def is_own(filename):
    return filename in (FILENAME, task_name) or filename.startswith(FILES + "/")


def note_python(error):
    """Which Python this is, where another one may know the syntax, or the name in the standard library."""
    standard = getattr(sys, "stdlib_module_names", ())  # since 3.10
    unknown = type(error) is ImportError and (error.name or "").partition(".")[0] in standard
    if not unknown and type(error) is not SyntaxError:
        return ""
    return "the program runs with Python %d.%d; --python asks for another one\n" % sys.version_info[:2]


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
        raise Failure("disk_full" if full else "import_error", program_traceback(error) + note_python(error))
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
        if not is_asgi(app):
            meant = hint({attribute: app})
            raise Failure("no_app", "the entry point names `%s`, which is no application in its module%s" % (attribute, meant))
        return app
    for name in ("app", "application"):
        if is_asgi(namespace.get(name)):
            return namespace[name]
    found = {name: value for name, value in namespace.items() if isinstance(value, Starlette)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(sorted(found))
        raise Failure("no_app", "the code defines several applications (%s): call the one to serve `app`" % names)
    meant = hint(namespace, namespace.get("__file__") or "")
    raise Failure("no_app", "the code defines no application: it needs a line like `app = FastAPI()` at its top level" + meant)


def is_asgi(app):
    """Whether app can be called as a server does it: app(scope, receive, send)."""
    if not callable(app) or isinstance(app, type):
        return False
    if inspect.isroutine(app) or isinstance(app, functools.partial):
        return takes(app, 3)
    return takes(type(app).__call__, 4)


def takes(function, count):
    """Whether a function can be called with so many arguments; one that does not tell is believed to."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except Exception:
        return True
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True


FACTORY = ("_app", "_application", "_api")  # how the names of functions end that make applications


def hint(namespace, path=""):
    """What the author may have meant to be the application."""
    for name, value in list(namespace.items()):
        if type(name) is str and name.endswith(FACTORY) and inspect.isfunction(value) and takes(value, 0):
            return "; if `%s` makes it, write `app = %s()`" % (name, name)
    app = namespace.get("app", namespace.get("application"))
    if callable(app) and not isinstance(app, type):
        return "; `app` is a %s of %s, which is no ASGI application" % (type(app).__name__, type(app).__module__)
    if any(line.startswith("if __name__ ==") for line in linecache.getlines(path)):
        return "; what is below `if __name__ == ...` is not run here"
    return ""
