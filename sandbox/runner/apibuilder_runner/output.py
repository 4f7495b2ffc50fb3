"""What is printed and logged, so that the host can tell which request it belongs to."""

import contextvars
import io
import logging
import os
import sys

request_of_line = contextvars.ContextVar("request_of_line", default="")  # id of the request that is being answered
level_of_line = contextvars.ContextVar("level_of_line", default="")  # letter of the level of the record that is being logged


class Marked(io.TextIOWrapper):
    """Standard output or error, in which every line that a request prints, or a logger, begins with a mark that says so.

    The host takes the marks out again. They are on the way to its pipe alone: a program that has put something else in
    the descriptor's place finds none in it. sandbox/mark.go says how they look.
    """

    def __init__(self, stream):
        self.descriptor = stream.fileno()
        self.pipe = os.fstat(self.descriptor).st_ino
        self.fresh = True  # at the beginning of a line
        self.mode = "w"
        encoding, errors = stream.encoding, "backslashreplace"
        super().__init__(stream.detach(), encoding=encoding, errors=errors, line_buffering=True)

    def write(self, text):
        request, level = request_of_line.get(), level_of_line.get()
        if not isinstance(text, str) or not text or not (request or level) or not self.leads_to_host():
            written = super().write(text)
            if written:
                self.fresh = text[-1] == "\n"
            return written
        mark = "\x1e%s;%s\x1f" % (request, level)
        marked = text.replace("\n", "\n" + mark)
        if self.fresh:
            marked = mark + marked
        self.fresh = text[-1] == "\n"
        if self.fresh:
            marked = marked[: -len(mark)]
        super().write(marked)
        return len(text)

    def leads_to_host(self):
        try:
            return os.fstat(self.descriptor).st_ino == self.pipe
        except OSError:
            return False


def mark_output():
    """Have what is printed say in which request, and what is logged at which level, whatever its format is."""
    sys.stdout = sys.__stdout__ = Marked(sys.stdout)
    sys.stderr = sys.__stderr__ = Marked(sys.stderr)
    handle = logging.Handler.handle

    def handle_marked(handler, record):
        token = level_of_line.set(level_letter(record.levelno))
        try:
            return handle(handler, record)
        finally:
            level_of_line.reset(token)

    logging.Handler.handle = handle_marked


def level_letter(number):
    for least, letter in ((50, "c"), (40, "e"), (30, "w"), (20, "i")):
        if number >= least:
            return letter
    return "d"


def note_request(headers):
    """Have lines that are printed from here on, in this task and what it starts, be those of the request."""
    for name, value in headers:
        if name == b"x-request-id" and len(value) == 36 and value.isascii():
            request_of_line.set(value.decode())
            return
