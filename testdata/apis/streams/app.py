"""Answers piece by piece: a stream, server-sent events, and a WebSocket."""

import asyncio

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/count")
async def count(to: int = 3):
    async def numbers():
        for i in range(to):
            yield f"{i}\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(numbers(), media_type="text/plain")


@app.get("/events")
async def events():
    async def forever():
        i = 0
        while True:
            yield f"data: {i}\n\n"
            i += 1
            await asyncio.sleep(0.05)

    return StreamingResponse(forever(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/refused")
async def refused(socket: WebSocket):
    await socket.close(code=1008)
