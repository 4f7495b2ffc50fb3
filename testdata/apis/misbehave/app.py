"""Does on request what no program should."""

import os
import threading

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def fine():
    return {"fine": True}


@app.get("/exit")
def leave(code: int = 3):
    os._exit(code)


@app.get("/memory")
def memory():
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


@app.get("/loop")
async def loop():
    while True:
        pass


@app.get("/threads")
def threads():
    for _ in range(10_000):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


@app.get("/error")
def error():
    raise RuntimeError("the program's own error")
