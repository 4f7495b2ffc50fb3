"""The author's application at the addresses by which the gateway reaches it."""

import contextvars

from .connections import request_ended
from .output import note_request
from .program import program_traceback
from .routes import innermost
from .tally import Tally

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
        self.complaint = ""  # why the program did not start, by its own word
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
            try:
                await self.tally(scope, receive, send)
            finally:
                request_ended(scope)
            return
        await self.live(scope, receive, send)

    async def live(self, scope, receive, send):
        """The program's lifespan. uvicorn logs what goes wrong there, which does not arrive where the program has turned its loggers off."""

        async def note(message):
            if message["type"] == "lifespan.startup.failed":
                self.complaint = str(message.get("message") or "")
            await send(message)

        try:
            await self.app(scope, receive, note)
        except BaseException as error:
            self.complaint = program_traceback(error)
            raise


def strip(path, prefix):
    slash = prefix[:0] + ("/" if isinstance(path, str) else b"/")
    if path == prefix:
        return slash
    if path.startswith(prefix + slash):
        return path[len(prefix) :]
    return path
