"""A bare ASGI program that shows what arrives, and answers in ways that frameworks do not. What begins with /raw/ goes to
the connection as it is, beside uvicorn: a hostile program can do that too."""

import asyncio
import gzip

RAW = {
    "both-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
    "folded": b"HTTP/1.1 200 OK\r\nX: 1\r\n Y: 2\r\nContent-Length: 2\r\n\r\nab",
    "endless": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 20000,
    "no-http": b"hello\r\n\r\n",
    "split": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
}
gone = asyncio.Queue()
closed = asyncio.Queue()
step = asyncio.Event()
marked = []


async def answer(send, status=200, headers=(), body=b""):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def whole(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def stream(send, kind):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})


async def websocket(path, scope, receive, send):
    await receive()
    if path == "/refuse":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[-1]})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            closed.put_nowait(f"{message.get('code')} {message.get('reason') or ''}")
            return
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
            return
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def http(path, scope, receive, send):
    if path.startswith("/late/"):
        await asyncio.sleep(1.5)
        path = path[len("/late") :]
    if path.startswith("/raw/"):
        receive.__self__.transport.write(RAW[path[5:]])
        await asyncio.sleep(0.2)
        receive.__self__.transport.close()
    elif path == "/head":
        lines = b"".join(n + b": " + v + b"\n" for n, v in scope["headers"])
        body = await whole(receive)
        await answer(send, body=scope["method"].encode() + b" " + scope["raw_path"] + b"\n" + lines + b"\n" + body)
    elif path == "/pieces":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        while True:
            message = await receive()
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": message["more_body"]})
            if not message["more_body"]:
                return
    elif path == "/events":
        await stream(send, b"text/event-stream")
        await step.wait()
        await send({"type": "http.response.body", "body": b"data: two\n\n"})
    elif path == "/step":
        step.set()
        await answer(send)
    elif path == "/hang":
        await stream(send, b"text/plain")
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.put_nowait(scope["query_string"])
    elif path in ("/gone", "/closed"):
        told = await asyncio.wait_for((gone if path == "/gone" else closed).get(), 20)
        await answer(send, body=told if isinstance(told, bytes) else told.encode())
    elif path.startswith("/echo"):
        await answer(send, body=scope["raw_path"] + b"?" + scope["query_string"])
    elif path == "/mark":
        marked.append(scope["query_string"].decode())
        await answer(send)
    elif path == "/marked":
        await answer(send, body=" ".join(marked).encode())
    elif path == "/gzip":
        await answer(send, headers=[(b"content-encoding", b"gzip")], body=gzip.compress(b"hello", mtime=0))
    elif path == "/double":
        await answer(send, headers=[(b"set-cookie", b"a=1"), (b"x", b"1"), (b"set-cookie", b"b=2"), (b"x", b"2")])
    elif path == "/range":
        await answer(send, 206, [(b"content-range", b"bytes 1-2/5"), (b"content-length", b"2")], b"el")
    elif path == "/early":
        await answer(send, 403, [(b"content-length", b"2")], b"no")
    elif path == "/crlf":
        await answer(send, headers=[(b"x", b"a\r\nSet-Cookie: evil=1\r\n\r\n<html>")])
    elif path == "/short":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"ab"})
    elif path == "/demand":
        await answer(send, 426, [(b"upgrade", b"websocket"), (b"connection", b"upgrade")])
    elif path == "/preflight":
        await answer(send, 204, [(b"access-control-allow-origin", b"*")])
    else:
        await answer(send, 404)


async def app(scope, receive, send):
    path = scope["path"][len(scope.get("root_path", "")) :]
    if scope["type"] == "http":
        await http(path, scope, receive, send)
    elif scope["type"] == "websocket":
        await websocket(path, scope, receive, send)
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
