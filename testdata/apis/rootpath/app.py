"""Names a root_path of its own, for a proxy that it expected."""

from fastapi import FastAPI, Request, WebSocket

app = FastAPI(root_path="/api/v1")


@app.get("/where")
def where(request: Request):
    return {"root_path": request.scope["root_path"], "url": str(request.url)}


@app.websocket("/talk")
async def talk(socket: WebSocket):
    await socket.accept()
    await socket.send_text(str(socket.url))
    await socket.close(4001)
