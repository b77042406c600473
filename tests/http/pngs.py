"""Reads and makes small PNG pictures with nothing but zlib."""
import struct
import zlib

START = b"\x89PNG\r\n\x1a\n"


def chunks(png):
    assert png[:8] == START
    at = 8
    while at < len(png):
        length, = struct.unpack(">I", png[at:at + 4])
        name, data = png[at + 4:at + 8], png[at + 8:at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0] == zlib.crc32(
            name + data)
        yield name, data
        at += 12 + length


def _paeth(a, b, c):
    p = a + b - c
    distances = abs(p - a), abs(p - b), abs(p - c)
    return (a, b, c)[distances.index(min(distances))]


def read(png):
    """(width, height, rows of RGB bytes) of an 8 bit RGB picture."""
    data = b""
    for name, body in chunks(png):
        if name == b"IHDR":
            width, height, depth, kind, *rest = struct.unpack(">IIBBBBB", body)
            assert (depth, kind, *rest) == (8, 2, 0, 0, 0)
        if name == b"IDAT":
            data += body
    raw = zlib.decompress(data)
    line, above, rows = 3 * width, bytes(3 * width), []
    for y in range(height):
        kind, row = raw[y * (line + 1)], bytearray(raw[y * (line + 1) + 1:(y + 1) * (line + 1)])
        for i in range(line):
            left = row[i - 3] if i >= 3 else 0
            corner = above[i - 3] if i >= 3 else 0
            row[i] = row[i] + (0, left, above[i], (left + above[i]) // 2,
                               _paeth(left, above[i], corner))[kind] & 255
        above = bytes(row)
        rows.append(above)
    return width, height, rows


def make(width, height, colour):
    """`colour(x, y)` gives three bytes."""
    def chunk(name, data):
        return (struct.pack(">I", len(data)) + name + data +
                struct.pack(">I", zlib.crc32(name + data)))
    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width))
                    for y in range(height))
    return (START + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
