"""What real clients are tried against: each answer says what arrived, so that both ends can compare."""

import asyncio
import hashlib

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, Response, StreamingResponse

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_headers=["*"], allow_methods=["*"])
BLOCK = bytes(range(256)) * 256


@app.api_route("/raw", methods=["POST", "PUT", "PATCH"])
async def raw(request: Request):
    size, digest, pieces = 0, hashlib.sha256(), 0
    async for piece in request.stream():
        size, pieces = size + len(piece), pieces + 1
        digest.update(piece)
    return {"size": size, "sha256": digest.hexdigest(), "pieces": pieces, "method": request.method}


@app.post("/form")
async def form(request: Request):
    parts = []
    async with request.form(max_files=10000, max_fields=10000) as data:
        for field, value in data.multi_items():
            if isinstance(value, str):
                parts.append({"field": field, "value": value})
                continue
            body = await value.read()
            parts.append(
                {
                    "field": field,
                    "filename": value.filename,
                    "type": value.content_type,
                    "size": len(body),
                    "sha256": hashlib.sha256(body).hexdigest(),
                }
            )
    return {"parts": parts}


@app.get("/bytes/{size}")
async def some(size: int):
    async def pieces(left=size):
        while left > 0:
            yield BLOCK[:left]
            left -= len(BLOCK)

    return StreamingResponse(pieces(), media_type="application/octet-stream", headers={"content-length": str(size)})


@app.get("/file")
async def file():
    with open("/tmp/file", "wb") as f:
        f.write(BLOCK)
    return FileResponse("/tmp/file")


@app.get("/chunked/{count}")
async def chunked(count: int):
    async def pieces():
        for i in range(count):
            yield b"piece %d\n" % i
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/events")
async def events(request: Request):
    first = int(request.headers.get("last-event-id", "0")) + 1

    async def stream():
        for i in range(first, first + 3):
            yield f"id: {i}\ndata: event {i}\n\n"
            await asyncio.sleep(0.01)
        while not await request.is_disconnected():
            await asyncio.sleep(0.05)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


@app.get("/cookies")
async def cookies():
    response = Response("two cookies")
    response.headers.append("set-cookie", "a=1; Path=/")
    response.headers.append("set-cookie", "b=2; Path=/")
    return response


@app.get("/moved")
async def moved(request: Request):
    return Response(status_code=307, headers={"location": str(request.url.replace(path=request.scope["root_path"] + "/bytes/5"))})


@app.websocket("/ws")
async def ws(socket: WebSocket):
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol=offered[-1] if offered else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "close":
                await socket.close(4321, "as asked")
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


@app.websocket("/refused")
async def refused(socket: WebSocket):
    await socket.close()
