"""Web clients and servers, validation, secrets, and what programs ask about themselves."""

import asyncio
import contextlib
import http.server
import json
import threading


@contextlib.contextmanager
def _answering(answer):
    """An HTTP server on loopback that gives this JSON to every POST and GET; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield "http://127.0.0.1:%d" % server.server_port
        finally:
            server.shutdown()


async def httpx():
    """asks an ASGI application in the same process, and a server on loopback"""
    import httpx as package
    from fastapi import FastAPI

    inner = FastAPI()

    @inner.get("/double")
    def double(n: int):
        return 2 * n

    async with package.AsyncClient(transport=package.ASGITransport(inner), base_url="http://inner") as client:
        assert (await client.get("/double", params={"n": 21})).json() == 42
        assert (await client.get("/double")).status_code == 422
    with _answering({"n": 1}) as address:
        async with package.AsyncClient() as client:
            assert (await client.get(address)).json() == {"n": 1}


async def aiohttp():
    """serves on loopback and streams an upload to itself"""
    from aiohttp import ClientSession, web

    async def count(request):
        return web.json_response({"bytes": len(await request.read())})

    server = web.Application()
    server.router.add_post("/", count)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session:
            async with session.post("http://127.0.0.1:%d/" % runner.addresses[0][1], data=bytes(100_000)) as response:
                assert await response.json() == {"bytes": 100_000}
    finally:
        await runner.cleanup()


def requests():
    """uploads a form to a server on loopback"""
    import requests as package

    with _answering({"stored": True}) as address, package.Session() as session:
        response = session.post(address, data={"a": "1"}, files={"f": ("f.txt", b"text")}, timeout=10)
        assert response.json() == {"stored": True}
        assert response.request.headers["Content-Type"].startswith("multipart/form-data; boundary=")


async def websockets():
    """serves an echo on loopback and talks to it"""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        async with connect("ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]) as client:
            await client.send("x" * 100_000)
            assert await client.recv() == "x" * 100_000


async def uvloop():
    """is the event loop that serves, and runs a timer, a thread and a child process"""
    import uvloop as package

    loop = asyncio.get_running_loop()
    assert isinstance(loop, package.Loop), loop
    await asyncio.sleep(0.001)
    assert await loop.run_in_executor(None, sum, range(10)) == 45
    child = await asyncio.create_subprocess_exec("/env/bin/python", "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0] == b"42\n" and child.returncode == 0


def httptools():
    """parses a request in pieces"""
    import httptools as package

    class Request:
        headers, body = {}, b""

        def on_header(self, name, value):
            self.headers[name] = value

        def on_body(self, body):
            self.body += body

    request = Request()
    parser = package.HttpRequestParser(request)
    for piece in (b"POST /a?b=1 HTTP/1.1\r\nContent-", b"Length: 4\r\n\r\nta", b"il"):
        parser.feed_data(piece)
    assert parser.get_method() == b"POST" and request.headers == {b"Content-Length": b"4"} and request.body == b"tail"


def python_multipart():
    """parses a form with a file"""
    import io

    from python_multipart import parse_form

    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\ntext\r\n--x--\r\n'
    files = []
    parse_form({"Content-Type": b"multipart/form-data; boundary=x"}, io.BytesIO(form), None, files.append)
    assert [file.file_name for file in files] == [b"a.txt"] and files[0].size == 4


def orjson():
    """writes and reads JSON with dates"""
    import datetime

    import orjson as package

    text = package.dumps({"when": datetime.datetime(2026, 1, 30), "n": [1, 2.5, None]}, option=package.OPT_SORT_KEYS)
    assert text == b'{"n":[1,2.5,null],"when":"2026-01-30T00:00:00"}' and package.loads(text)["n"] == [1, 2.5, None]


def pydantic():
    """validates nested data and says what is wrong with it"""
    from pydantic import BaseModel, Field, ValidationError, field_validator

    class Item(BaseModel):
        name: str
        price: float = Field(gt=0)

        @field_validator("name")
        @classmethod
        def short(cls, name):
            assert len(name) < 10, "too long"
            return name.strip()

    class Order(BaseModel):
        items: list[Item]

    assert Order.model_validate_json('{"items": [{"name": " tea ", "price": "3"}]}').items[0] == Item(name="tea", price=3)
    try:
        Order(items=[{"name": "a" * 20, "price": -1}])
        raise AssertionError("it was taken")
    except ValidationError as error:
        assert [e["loc"][-1] for e in error.errors()] == ["name", "price"]


def pydantic_settings():
    """reads settings from the environment"""
    import os

    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="SHOP_")
        limit: int = 1

    os.environ["SHOP_LIMIT"] = "7"
    assert Settings().limit == 7


def python_dotenv():
    """reads a .env file in /tmp with expansion"""
    from dotenv import dotenv_values

    with open("/tmp/.env", "w") as file:
        file.write('NAME=shop\nexport URL="http://${NAME}/"\n')
    assert dotenv_values("/tmp/.env") == {"NAME": "shop", "URL": "http://shop/"}


def email_validator():
    """normalises an address and refuses a wrong one"""
    from email_validator import EmailNotValidError, validate_email

    assert validate_email("Anna@BÜCHER.example.org", check_deliverability=False).ascii_domain == "xn--bcher-kva.example.org"
    try:
        validate_email("a@b@c", check_deliverability=False)
        raise AssertionError("it was taken")
    except EmailNotValidError:
        pass


def tenacity():
    """tries again until it succeeds"""
    from tenacity import retry, stop_after_attempt, wait_exponential

    tries = []

    @retry(stop=stop_after_attempt(5), wait=wait_exponential(multiplier=0.001))
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return "done"

    assert flaky() == "done" and len(tries) == 3


def openai():
    """asks for a completion at a server on loopback"""
    from openai import OpenAI

    answer = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    }  # fmt: skip
    with _answering(answer) as address, OpenAI(api_key="k", base_url=address, max_retries=0) as client:
        completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        assert completion.choices[0].message.content == "hello"


def anthropic():
    """asks for a message at a server on loopback"""
    from anthropic import Anthropic

    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
        "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    with _answering(answer) as address, Anthropic(api_key="k", base_url=address, max_retries=0) as client:
        message = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        assert message.content[0].text == "hello"


def pyjwt():
    """signs a token, checks it, and refuses a forged one"""
    import jwt

    key = "k" * 32
    token = jwt.encode({"sub": "anna", "aud": "shop"}, key, algorithm="HS256")
    assert jwt.decode(token, key, algorithms=["HS256"], audience="shop")["sub"] == "anna"
    try:
        jwt.decode(token, "x" * 32, algorithms=["HS256"], audience="shop")
        raise AssertionError("it was taken")
    except jwt.InvalidSignatureError:
        pass


def passlib():
    """hashes a password by PBKDF2 and checks it"""
    from passlib.hash import pbkdf2_sha256

    hashed = pbkdf2_sha256.using(rounds=1000).hash("secret")
    assert pbkdf2_sha256.verify("secret", hashed) and not pbkdf2_sha256.verify("Secret", hashed)


def argon2_cffi():
    """hashes a password in 64 MiB with four threads and checks it"""
    from argon2 import PasswordHasher
    from argon2.exceptions import VerifyMismatchError

    hasher = PasswordHasher(memory_cost=64 << 10, parallelism=4)
    hashed = hasher.hash("secret")
    assert hasher.verify(hashed, "secret")
    try:
        hasher.verify(hashed, "Secret")
        raise AssertionError("it was taken")
    except VerifyMismatchError:
        pass


def bcrypt():
    """hashes a password and checks it"""
    import bcrypt as package

    hashed = package.hashpw(b"secret", package.gensalt(6))
    assert package.checkpw(b"secret", hashed) and not package.checkpw(b"Secret", hashed)


def cryptography():
    """encrypts with Fernet, signs with an elliptic curve, and makes a certificate"""
    import datetime

    from cryptography import x509
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    box = Fernet(Fernet.generate_key())
    assert box.decrypt(box.encrypt(b"secret")) == b"secret"
    key = ec.generate_private_key(ec.SECP256R1())
    key.public_key().verify(key.sign(b"text", ec.ECDSA(hashes.SHA256())), b"text", ec.ECDSA(hashes.SHA256()))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    start = datetime.datetime(2026, 1, 30)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=9)).sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate.verify_directly_issued_by(certificate)


def psutil():
    """reads memory, threads and files of its own process, the processes it sees, and the machine's memory"""
    import psutil as package

    me = package.Process()
    assert me.memory_info().rss > 10 << 20 and me.num_threads() >= 1 and me.username() == "api"
    with open("/tmp/open", "w") as file:
        assert file.name in [opened.path for opened in me.open_files()]
    names = [process.name() for process in package.process_iter()]
    assert 2 <= len(names) < 10, names
    assert package.virtual_memory().total > 0 and package.cpu_count() >= 1
    assert set(package.net_io_counters(pernic=True)) == {"lo"}  # net_if_addrs is by netlink
