"""A bare ASGI program that stops wherever one can. Each request has a name, its query: /gone?NAME waits until the program was
told that the consumer of NAME is not there any more."""

import asyncio
import collections
import functools
import os
import socket
import time

LISTENER = 3  # the descriptor at which the gateway connects
gone = collections.defaultdict(asyncio.Event)


async def begin(send, length=None):
    headers = [(b"content-type", b"text/plain")] + ([(b"content-length", length)] if length else [])
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def piece(send, body, more=True):
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def left(receive):
    """Read until the consumer has left, or has sent all of its body: then it is False."""
    while True:
        message = await receive()
        if message["type"].endswith(".disconnect"):
            return True
        if message["type"] == "http.request" and not message.get("more_body"):
            return False


async def stop(send, receive, length=None, body=b""):
    await begin(send, length)
    if body:
        await piece(send, body)
    await left(receive)


async def flow(send, receive, body, pause):
    """Go on and on."""
    await begin(send)
    leaving = asyncio.ensure_future(left(receive))
    while not leaving.done():
        await piece(send, body)
        await asyncio.sleep(pause)


STALLS = {
    "/silent": lambda send, receive: left(receive),
    "/header": functools.partial(stop, length=b"5"),
    "/half": functools.partial(stop, length=b"5", body=b"ab"),
    "/begun": functools.partial(stop, body=b"ab"),
    "/flow": functools.partial(flow, body=b"more\n", pause=0.02),
    "/flood": functools.partial(flow, body=bytes(1 << 20), pause=0),
}


async def http(path, name, receive, send):
    if await left(receive):
        gone[name].set()
    elif path in STALLS:
        await STALLS[path](send, receive)
        gone[name].set()
    elif path == "/deaf":
        socket.socket(fileno=os.dup(LISTENER)).listen(0)
        await begin(send)
        await piece(send, b"deaf")
        time.sleep(3600)
    else:
        if path == "/gone":
            await asyncio.wait_for(gone[name].wait(), 20)
        await begin(send)
        await piece(send, b"well", more=False)


async def websocket(name, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await left(receive)
    gone[name].set()


async def app(scope, receive, send):
    path, name = scope["path"][len(scope.get("root_path", "")) :], scope.get("query_string")
    if scope["type"] == "http":
        await http(path, name, receive, send)
    elif scope["type"] == "websocket":
        await websocket(name, receive, send)
    else:
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
