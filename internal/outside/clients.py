import os, smtplib, socket, ssl

CA = os.environ["CA"]

def context():
    return ssl.create_default_context(cadata=CA)

def use_requests(host):
    import requests
    with open("/tmp/ca.pem", "w") as f:
        f.write(CA)
    return requests.get("https://%s/" % host, verify="/tmp/ca.pem", timeout=20).text

async def use_httpx(host):
    import httpx
    async with httpx.AsyncClient(verify=context(), timeout=20) as c:
        return (await c.get("https://%s/" % host)).text

async def use_aiohttp(host):
    import aiohttp
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context())) as c:
        async with c.get("https://%s/" % host) as r:
            return await r.text()

async def use_asyncpg(host):
    import asyncpg
    c = await asyncpg.connect(host=host, user="postgres", database="postgres", ssl=False, timeout=20)
    try:
        return await c.fetchval("select 'asyncpg speaks'")
    finally:
        await c.close()

def use_psycopg(host):
    import psycopg
    with psycopg.connect("host=%s user=postgres dbname=postgres sslmode=disable connect_timeout=20" % host) as c:
        return c.execute("select 'psycopg speaks'").fetchone()[0]

def use_redis(host):
    import redis
    c = redis.Redis(host=host, socket_timeout=20)
    c.set("key", "redis speaks")
    return c.get("key").decode()

def use_smtplib(host):
    with smtplib.SMTP(host, 25, timeout=20) as c:
        refused = c.sendmail("a@example.com", ["b@example.com"], "Subject: hello\n\nbody\n")
        return "mail is taken" if not refused else str(refused)

def use_grpc(host):
    import grpc
    credentials = grpc.ssl_channel_credentials(CA.encode())
    with grpc.secure_channel(host + ":50051", credentials) as channel:
        said = channel.unary_unary("/test.Talk/Once")(b"grpc", timeout=20)
        asked = (b"part %d" % n for n in range(3))
        parts = list(channel.stream_stream("/test.Talk/Stream")(asked, timeout=20))
        return "%s, %s" % (said.decode(), b" ".join(parts).decode())

def use_tls(host):
    with socket.create_connection((host, 443), 20) as s, context().wrap_socket(s, server_hostname="six.example.com") as t:
        t.sendall(b"GET / HTTP/1.0\r\nHost: six.example.com\r\n\r\n")
        return t.makefile().read()

def use_getaddrinfo(host):
    return sorted({a[4][0] for a in socket.getaddrinfo(host, 443)})[0]

def use_gethostbyaddr(host):
    return socket.gethostbyaddr(socket.gethostbyname(host))[0]

CLIENTS = {k[4:]: v for k, v in globals().items() if k.startswith("use_")}

@app.get("/use")
async def use(client: str, host: str):
    import asyncio, inspect, time
    f = CLIENTS[client]
    began = time.monotonic()
    try:
        result = await f(host) if inspect.iscoroutinefunction(f) else await asyncio.to_thread(f, host)
    except Exception as e:
        names = []
        while e is not None:
            names.append(type(e).__name__ + ": " + str(e))
            e = e.__cause__ or e.__context__
        result = "raised " + " < ".join(names)
    return {"result": result, "seconds": time.monotonic() - began}
