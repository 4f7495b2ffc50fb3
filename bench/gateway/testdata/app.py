"""The program behind every proxy: as little Python as there can be, so that the proxies are what is measured."""

import asyncio

SMALL = b'{"id":1,"name":"a small answer","tags":["json","bench"],"price":12.5}'
BLOCK = b"x" * 65536


async def answer(send, body, kind=b"application/json"):
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def download(send, size):
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while size > 0:
        piece = BLOCK[:size]
        size -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": size > 0})


async def upload(receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await answer(send, b'{"bytes":%d}' % size)


async def events(receive, send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: open\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "open"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.startswith("/run/"):  # behind proxies that pass the path on as it is
        path = "/" + path.split("/", 3)[3]
    if scope["type"] == "websocket":
        return await websocket(receive, send)
    if path.startswith("/bytes/"):
        return await download(send, int(path.rpartition("/")[2]))
    if path == "/upload":
        return await upload(receive, send)
    if path == "/events":
        return await events(receive, send)
    if path == "/slow":
        await asyncio.sleep(0.05)
    await answer(send, SMALL)
