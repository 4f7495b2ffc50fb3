"""A bare ASGI program that tells in its answer's fields what it was asked, and answers as the request says."""

import asyncio
import base64
import hashlib
import json


def fields(pairs):
    return [[n.decode("latin-1"), v.decode("latin-1")] for n, v in pairs]


async def http(scope, receive, send):
    plan = dict(scope["headers"]).get(b"x-plan")
    plan = json.loads(base64.b64decode(plan)) if plan else {}
    seen = {k: scope[k] for k in ("method", "http_version", "path")} | {
        "raw_path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "root_path": scope.get("root_path", ""),
        "headers": fields(scope["headers"]),
    }
    if plan.get("read", True):
        body = hashlib.sha256()
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body.update(message.get("body", b""))
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        seen |= {"size": size, "body": body.hexdigest()}
    head = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in plan.get("headers") or []]
    head.append((b"x-seen", base64.b64encode(json.dumps(seen).encode())))
    await send({"type": "http.response.start", "status": plan.get("status") or 200, "headers": head})
    for piece in plan.get("pieces") or []:
        if piece < 0:
            await asyncio.sleep(0.002)
            continue
        await send({"type": "http.response.body", "body": bytes(i * 7 % 251 for i in range(piece)), "more_body": True})
    await send({"type": "http.response.body"})


async def app(scope, receive, send):
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
