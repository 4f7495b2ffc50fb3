"""Databases, queues and object stores. Servers of a few lines, on loopback, speak as much of a protocol as is asked."""

import contextlib
import socket
import socketserver
import struct
import threading


@contextlib.contextmanager
def _server(talk):
    """Runs talk(file) for each connection on a port of its own, which it gives."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            with contextlib.suppress(ConnectionError, EOFError):
                talk(self.rfile, self.wfile)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _postgres(read, write):
    """Is a PostgreSQL server that answers every simple query with one row, 42, of type int4."""

    def message(kind, body=b""):
        return kind + struct.pack(">I", len(body) + 4) + body

    while True:
        (length,) = struct.unpack(">I", read.read(4))
        if struct.unpack(">I", read.read(length - 4)[:4])[0] == 196608:  # version 3.0
            break
        write.write(b"N")  # no encryption
    settings = {"server_version": "17.0", "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "TimeZone": "UTC",
                "standard_conforming_strings": "on", "integer_datetimes": "on"}
    write.write(message(b"R", struct.pack(">I", 0)))
    for name, value in settings.items():
        write.write(message(b"S", b"%s\0%s\0" % (name.encode(), value.encode())))
    write.write(message(b"K", struct.pack(">II", 1, 2)) + message(b"Z", b"I"))
    while True:
        kind = read.read(1)
        if kind in (b"", b"X"):
            return
        query = read.read(struct.unpack(">I", read.read(4))[0] - 4)
        if query.upper().startswith(b"SELECT"):
            column = b"n\0" + struct.pack(">IHIHIH", 0, 0, 23, 4, 0xFFFFFFFF, 0)
            write.write(message(b"T", b"\0\1" + column) + message(b"D", struct.pack(">HI", 1, 2) + b"42"))
            write.write(message(b"C", b"SELECT 1\0"))
        else:
            write.write(message(b"C", query.split()[0].upper().rstrip(b";\0") + b"\0"))
        write.write(message(b"Z", b"I"))


def psycopg():
    """composes a query and sends it by its own libpq to a server on loopback"""
    import psycopg as package
    from psycopg import pq, sql

    assert pq.__impl__ == "binary"
    query = sql.SQL("SELECT {} FROM {}").format(sql.Literal("it's"), sql.Identifier('a"b'))
    assert query.as_string(None) == """SELECT 'it''s' FROM "a""b\""""
    with _server(_postgres) as port:
        with package.connect(host="127.0.0.1", port=port, user="api", dbname="api", autocommit=True) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)
    return "libpq %d" % pq.version()


def psycopg2_binary():
    """sends a query by its own libpq to a server on loopback"""
    import psycopg2

    with _server(_postgres) as port:
        connection = psycopg2.connect(host="127.0.0.1", port=port, user="api", dbname="api")
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT %s", (42,))
        assert cursor.fetchone() == (42,)
        connection.close()


async def asyncpg():
    """connects to a server on loopback and runs a command"""
    import asyncpg as package

    with _server(_postgres) as port:
        connection = await package.connect(host="127.0.0.1", port=port, user="api", database="api")
        assert await connection.execute("BEGIN") == "BEGIN"
        assert connection.get_server_version().major == 17
        await connection.close()


def sqlalchemy():
    """maps classes to a SQLite database in memory and joins them"""
    from sqlalchemy import ForeignKey, create_engine, func, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

    class Base(DeclarativeBase):
        pass

    class Shop(Base):
        __tablename__ = "shop"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        sales: Mapped[list["Sale"]] = relationship()

    class Sale(Base):
        __tablename__ = "sale"
        id: Mapped[int] = mapped_column(primary_key=True)
        shop_id: Mapped[int] = mapped_column(ForeignKey("shop.id"))
        price: Mapped[int]

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Shop(name="tea", sales=[Sale(price=3), Sale(price=4)]))
        session.commit()
        query = select(Shop.name, func.sum(Sale.price)).join(Shop.sales).group_by(Shop.name)
        assert session.execute(query).all() == [("tea", 7)]


async def aiosqlite():
    """writes and reads a SQLite database in /tmp, with a write-ahead log"""
    import aiosqlite as package

    async with package.connect("/tmp/items.db") as db:
        async with db.execute("PRAGMA journal_mode = wal") as cursor:
            assert await cursor.fetchone() == ("wal",)
        await db.execute("CREATE TABLE item (name)")
        await db.executemany("INSERT INTO item VALUES (?)", [("tea",), ("cup",)])
        await db.commit()
        async with db.execute("SELECT name FROM item ORDER BY name") as cursor:
            assert await cursor.fetchall() == [("cup",), ("tea",)]


def _redis(read, write):
    """Is a Redis server that knows SET and GET, and answers OK to the rest."""
    values = {}
    while line := read.readline():
        words = []
        for _ in range(int(line[1:])):
            length = int(read.readline()[1:])
            words.append(read.read(length + 2)[:-2])
        name = words[0].upper()
        if name == b"HELLO":
            write.write(b"-ERR unknown command 'HELLO'\r\n")
        elif name == b"GET":
            write.write(b"$%d\r\n%s\r\n" % (len(values[words[1]]), values[words[1]]))
        else:
            if name == b"SET":
                values[words[1]] = words[2]
            write.write(b"+OK\r\n")


def redis():
    """sets and gets a value in a pipeline, at a server on loopback"""
    import redis as package

    with _server(_redis) as port:
        client = package.Redis(host="127.0.0.1", port=port, protocol=2, decode_responses=True)
        with client.pipeline(transaction=False) as pipeline:
            assert pipeline.set("greeting", "grüße").get("greeting").execute() == [True, "grüße"]
        client.close()


def pymongo():
    """encodes a document as BSON and is refused by a closed port"""
    import datetime

    import bson
    from pymongo import MongoClient
    from pymongo.errors import ServerSelectionTimeoutError

    document = {"_id": bson.ObjectId(), "when": datetime.datetime(2026, 1, 30), "n": [1, 2.5, {"x": None}]}
    assert bson.decode(bson.encode(document)) == document and bson.has_c()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = MongoClient("127.0.0.1", closed.getsockname()[1], serverSelectionTimeoutMS=200)
        try:
            client.admin.command("ping")
            raise AssertionError("something answered")
        except ServerSelectionTimeoutError as error:
            assert "refused" in str(error), error
        finally:
            client.close()


def celery():
    """runs a chain of tasks, and one by a worker thread over a queue in memory"""
    from celery import Celery, chain
    from celery.contrib.testing.worker import start_worker

    queue = Celery("queue", broker="memory://", backend="cache+memory://")
    queue.conf.broker_transport_options = {"polling_interval": 0.01}

    @queue.task(name="add")
    def add(a, b):
        return a + b

    assert chain(add.s(1, 2), add.s(3)).apply().get() == 6
    with start_worker(queue, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        assert add.delay(2, 2).get(timeout=20, disable_sync_subtasks=False) == 4


def boto3():
    """signs the address of an object, and stores one at a server on loopback"""
    import http.server

    import boto3 as package
    from botocore.config import Config

    class Bucket(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("ETag", '"e"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def client(**more):
        return package.client("s3", region_name="eu-west-1", aws_access_key_id="AK", aws_secret_access_key="s", **more)

    address = client().generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
    assert "amazonaws.com/" in address and "Signature=" in address, address
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        local = client(endpoint_url="http://127.0.0.1:%d" % server.server_port, config=Config(retries={"total_max_attempts": 1}))
        assert local.put_object(Bucket="b", Key="k", Body=b"data")["ETag"] == '"e"'
        server.shutdown()
