"""Serves a program with uvicorn on a Unix socket and on an address, one process for both: program.py FILE SOCKET PORT."""

import importlib.util
import socket
import sys

import uvicorn

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.argv[1:], places = [], sys.argv[2:]
spec.loader.exec_module(module)
sockets = []
if places[0] != "-":
    local = socket.socket(socket.AF_UNIX)
    local.bind(places[0])
    local.listen(4096)
    sockets.append(local)
door = socket.socket()
door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
door.bind(("127.0.0.1", int(places[1])))
door.listen(4096)
sockets.append(door)
config = uvicorn.Config(
    module.app, loop="uvloop", http="httptools", log_level="error", access_log=False, timeout_keep_alive=3600
)
uvicorn.Server(config).run(sockets=sockets)
