"""The platform that apibuilder replaces, as far as one request goes: every program is run by exec() in one process, and
each request is handed to it by Starlette's TestClient in a thread. Its key check and its count of requests are dictionaries."""

import sys

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.testclient import TestClient

KEYS = {sys.argv[1] if len(sys.argv) > 1 else "ab_" + "a" * 32: "bench"}
counts = {}
namespace = {}
with open(__file__.replace("replaced.py", "app.py"), encoding="utf-8") as source:
    exec(source.read(), namespace)
client = TestClient(namespace["app"])
app = FastAPI()


def call(method, path, headers, body):
    return client.request(method, path, headers=headers, content=body)


@app.api_route("/run/{api}/{path:path}", methods=["GET", "POST"])
async def run(api: str, path: str, request: Request):
    from starlette.concurrency import run_in_threadpool

    key = request.headers.get("x-api-key")
    if KEYS.get(key) != api:
        raise HTTPException(401)
    counts[key] = counts.get(key, 0) + 1
    body = await request.body()
    headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length", "x-api-key")}
    r = await run_in_threadpool(call, request.method, "/" + path, headers, body)
    return Response(r.content, r.status_code, media_type=r.headers.get("content-type"))
