"""Writes a photo of 640 by 400 points, a PNG, to the file that is named."""

import struct
import sys
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


rows = b"".join(b"\0" + bytes(x * y % 256 for x in range(640 * 3)) for y in range(400))
with open(sys.argv[1], "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 640, 400, 8, 2, 0, 0, 0)))
    f.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
