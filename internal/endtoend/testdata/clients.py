"""Real Python clients against an API: clients.py PUBLIC-URL PRIVATE-URL KEY. Prints what does not fit, and then fails. Every host
name is taken for this machine's."""

import asyncio
import hashlib
import os
import socket
import sys

import aiohttp
import httpx
import requests
import websockets

look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **options: look_up("127.0.0.1", *more, **options)
public, private, key = sys.argv[1:4]
headers = {"X-API-Key": key}
data = os.urandom(3_000_000)
digest = hashlib.sha256(data).hexdigest()
failures = []


def want(what, got, expected):
    if got != expected:
        failures.append(f"{what}: got {got!r}, want {expected!r}")


def generated():
    for at in range(0, len(data), 70_001):
        yield data[at : at + 70_001]


async def generated_async():
    for piece in generated():
        yield piece


def with_requests():
    with requests.Session() as s:
        s.headers.update(headers)
        want("requests raw", s.post(private + "/raw", data=data).json()["sha256"], digest)
        want("requests chunked", s.put(private + "/raw", data=generated()).json()["sha256"], digest)
        part = s.post(private + "/form", files={"f": ("näme \".bin", data)}, data={"a": "1"}).json()["parts"]
        want("requests form", sorted(p.get("sha256", "") for p in part), ["", digest])
        got = s.get(private + "/bytes/3000000").content
        want("requests download", len(got), 3_000_000)
        lines = [line for line in s.get(private + "/chunked/100", stream=True).iter_lines()]
        want("requests stream", (len(lines), lines[99]), (100, b"piece 99"))
        want("requests redirect", len(s.get(private + "/moved").content), 5)
        want("requests cookies", s.get(private + "/cookies").cookies.get_dict(), {"a": "1", "b": "2"})
        want("requests without key", requests.get(private + "/bytes/1").status_code, 401)
        want("requests bearer", requests.get(private + "/bytes/1", headers={"Authorization": "Bearer " + key}).status_code, 200)


def with_httpx(http2):
    name = "httpx/2" if http2 else "httpx"
    with httpx.Client(headers=headers, http1=not http2, http2=http2, timeout=30) as c:
        r = c.post(private + "/raw", content=data)
        want(name + " version", r.http_version, "HTTP/2" if http2 else "HTTP/1.1")
        want(name + " raw", r.json()["sha256"], digest)
        want(name + " chunked", c.patch(private + "/raw", content=generated()).json()["sha256"], digest)
        part = c.post(private + "/form", files={"f": ("x", data)}).json()["parts"][0]
        want(name + " form", part["sha256"], digest)
        want(name + " download", len(c.get(private + "/bytes/3000000").content), 3_000_000)
        with c.stream("GET", private + "/events") as r:
            lines = []
            for line in r.iter_lines():
                lines.append(line)
                if line == "data: event 3":
                    break
        want(name + " events", lines.count("data: event 2"), 1)
        want(name + " head", c.head(private + "/bytes/7").status_code, 405)


async def with_aiohttp():
    async with aiohttp.ClientSession(headers=headers) as s:
        async with s.post(private + "/raw", data=data) as r:
            want("aiohttp raw", (await r.json())["sha256"], digest)
        async with s.post(private + "/raw", data=generated_async()) as r:
            want("aiohttp chunked", (await r.json())["sha256"], digest)
        async with s.post(private + "/raw", data=data, expect100=True) as r:
            want("aiohttp expect", (await r.json())["sha256"], digest)
        many = await asyncio.gather(*(fetch(s, private + f"/bytes/{n}") for n in range(100)))
        want("aiohttp concurrent", many, list(range(100)))
        async with s.ws_connect(private + "/ws", protocols=("a", "b"), compress=15) as ws:
            want("aiohttp subprotocol", ws.protocol, "b")
            await ws.send_str("x" * 100_000)
            want("aiohttp text", len((await ws.receive()).data), 100_000)
            await ws.send_str("close")
            await ws.receive()
            want("aiohttp close code", ws.close_code, 4321)
        try:
            async with s.ws_connect(private + "/refused"):
                want("aiohttp refused", "accepted", "refused")
        except aiohttp.WSServerHandshakeError as e:
            want("aiohttp refused", e.status, 403)


async def fetch(session, url):
    async with session.get(url) as r:
        return len(await r.read())


async def with_websockets():
    url = public.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(url, subprotocols=["x"]) as ws:
        want("websockets subprotocol", ws.subprotocol, "x")
        await ws.send(data[:900_000])
        want("websockets binary", await ws.recv(), data[:900_000])
        await (await ws.ping())
        await ws.send("close")
        try:
            await ws.recv()
        except websockets.ConnectionClosed as e:
            want("websockets close", (e.rcvd.code, e.rcvd.reason), (4321, "as asked"))
    try:
        await websockets.connect(url.replace("/ws", "/refused"))
        want("websockets refused", "accepted", "refused")
    except websockets.InvalidStatus as e:
        want("websockets refused", e.response.status_code, 403)


for step in (with_requests, lambda: with_httpx(False), lambda: with_httpx(True)):
    step()
asyncio.run(with_aiohttp())
asyncio.run(with_websockets())
print("\n".join(failures) or "well")
sys.exit(bool(failures))
