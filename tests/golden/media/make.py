#!/usr/bin/env python3
"""Makes the pictures of this folder and what Pillow shows for each. usage: make.py [FOLDER]

The picture is Image.open, ImageOps.exif_transpose, convert("RGB"): what the preprocessing of Janus
sees, after the orientation that we apply to uploads. expected.bin has the levels of all pictures,
one after the other, (height, width, RGB); expected.json says which are whose. PNG is written by
hand where Pillow cannot: 16 bit RGB, interlaced rows, transparency of one colour.
"""
import io
import json
import pathlib
import struct
import sys
import zlib

import PIL
from PIL import Image, ImageOps, features

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
WIDTH, HEIGHT = 37, 23  # no multiple of a block, taller or wider once it is turned
files = {}              # name: (bytes, levels that a decoder may differ by)


def level(x, y, c):
    """Smooth colours, and a step that chroma at half resolution smears."""
    smooth = (40 + 5 * x, 60 + 7 * y, 220 - 3 * x - 4 * y)[c]
    return smooth if x < 2 * WIDTH // 3 or y < HEIGHT // 2 else (230, 40, 90)[c]


def rgb(width=WIDTH, height=HEIGHT):
    data = bytes(max(0, min(255, level(x, y, c)))
                 for y in range(height) for x in range(width) for c in range(3))
    return Image.frombytes("RGB", (width, height), data)


def alpha():
    return Image.frombytes("L", (WIDTH, HEIGHT), bytes(
        (7 * x + 11 * y) % 256 for y in range(HEIGHT) for x in range(WIDTH)))


def save(name, image, within, **fields):
    out = io.BytesIO()
    image.save(out, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[-1]], **fields)
    files[name] = (out.getvalue(), within)


def exif(orientation):
    fields = Image.Exif()
    fields[0x0112] = orientation
    return fields.tobytes()


# ---- JPEG

for sampling, name in ((0, "444"), (1, "422"), (2, "420"), ("4:1:1", "411")):
    save(f"{name}.jpg", rgb(), 1, quality=90, subsampling=sampling)
save("progressive.jpg", rgb(), 1, quality=85, subsampling=2, progressive=True)
save("progressive-444.jpg", rgb(), 1, quality=85, subsampling=0, progressive=True)
save("restarts.jpg", rgb(), 1, quality=80, subsampling=2, restart_marker_blocks=2)
save("coarse.jpg", rgb(), 1, quality=10, subsampling=2)
save("grey.jpg", rgb().convert("L"), 1, quality=90)
save("rgb.jpg", rgb(), 1, quality=90, keep_rgb=True)
for width, height in ((1, 1), (17, 1), (1, 19), (16, 16), (33, 18), (2, 3)):
    save(f"{width}x{height}.jpg", rgb(width, height), 1, quality=90, subsampling=2)
for orientation in range(1, 9):
    save(f"turned-{orientation}.jpg", rgb(), 1, quality=88, subsampling=2, exif=exif(orientation))

# Pillow writes the inks inverted with Adobe's mark, as Photoshop does. With the mark's last byte 2
# the first three are Y, Cb, Cr; without the mark nothing says that they are inverted.
inks = Image.merge("CMYK", [*(band.point(lambda v: 255 - v) for band in rgb().split()),
                            Image.new("L", (WIDTH, HEIGHT), 30)])
save("cmyk.jpg", inks, 1, quality=92)
adobe = files["cmyk.jpg"][0].index(b"\xff\xee")
size = 2 + int.from_bytes(files["cmyk.jpg"][0][adobe + 2:adobe + 4], "big")
plain = files["cmyk.jpg"][0]
files["cmyk-unmarked.jpg"] = (plain[:adobe] + plain[adobe + size:], 1)
y, cb, cr = rgb().convert("YCbCr").split()
save("ycck.jpg", Image.merge("CMYK", (y, cb, cr, Image.new("L", (WIDTH, HEIGHT), 215))), 1,
     quality=92)
written = bytearray(files["ycck.jpg"][0])
mark = written.index(b"\xff\xee")
assert written[mark + 4:mark + 9] == b"Adobe" and written[mark + 15] == 0
written[mark + 15] = 2
files["ycck.jpg"] = (bytes(written), 1)

# ---- WebP

seen = rgb().convert("RGBA")
seen.putalpha(alpha())
save("lossy.webp", rgb(), 1, quality=80)
save("coarse.webp", rgb(), 1, quality=5)
save("lossless.webp", rgb(), 0, lossless=True)
save("alpha.webp", seen, 1, quality=80)
save("alpha-lossless.webp", seen, 0, lossless=True, exact=True)
save("1x1.webp", rgb(1, 1), 1)
save("3x2.webp", rgb(3, 2), 1, quality=90)
save("turned-6.webp", rgb(), 1, quality=80, exif=exif(6))

# ---- PNG


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data +
            struct.pack(">I", zlib.crc32(kind + data)))


def packed(row, depth):
    """Samples of less than a byte, the first in the high bits."""
    if depth == 16:
        return b"".join(struct.pack(">H", value) for value in row)
    if depth == 8:
        return bytes(row)
    each, out = 8 // depth, bytearray()
    for at in range(0, len(row), each):
        part = row[at:at + each]
        out.append(sum(value << (8 - depth * (i + 1)) for i, value in enumerate(part)))
    return bytes(out)


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))


def png(colour, depth, sample, channels, chunks=(), interlaced=False):
    """sample(x, y): the values of a pixel."""
    data = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        for y in range(y0, HEIGHT, dy):
            row = [value for x in range(x0, WIDTH, dx) for value in sample(x, y)]
            assert len(row) % channels == 0
            if row:
                data += b"\0" + packed(row, depth)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) +
            chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def clipped(x, y):
    return [max(0, min(255, level(x, y, c))) for c in range(3)]


def wide(x, y):
    """Lower bytes that rounding would carry over."""
    return [value << 8 | (0xF0 if (x + y) % 2 else 0x10) for value in clipped(x, y)]


def index(x, y):
    return [(x // 3 + 2 * (y // 4)) % 16]


palette = chunk(b"PLTE", bytes((37 * i + 50 * c) % 256 for i in range(16) for c in range(3)))
see_through = chunk(b"tRNS", bytes(17 * i for i in range(12)))
files["rgb16.png"] = (png(2, 16, wide, 3), 0)
files["rgba16.png"] = (png(6, 16, lambda x, y: wide(x, y) + [(x * 1500 + y) % 65536], 4), 0)
files["grey16.png"] = (png(0, 16, lambda x, y: wide(x, y)[:1], 1), 0)
files["grey-alpha16.png"] = (png(4, 16, lambda x, y: wide(x, y)[:2], 2), 0)
files["rgb-interlaced.png"] = (png(2, 8, clipped, 3, interlaced=True), 0)
files["grey-interlaced.png"] = (png(0, 8, lambda x, y: clipped(x, y)[:1], 1, interlaced=True), 0)
files["palette.png"] = (png(3, 4, index, 1, (palette,)), 0)
files["palette-alpha.png"] = (png(3, 8, index, 1, (palette, see_through)), 0)
files["palette-alpha-interlaced.png"] = (
    png(3, 4, index, 1, (palette, see_through), interlaced=True), 0)
files["two-colours.png"] = (
    png(3, 1, lambda x, y: [(x // 5 + y // 3) % 2], 1, (chunk(b"PLTE", bytes(range(60, 66))),)), 0)
files["grey1.png"] = (png(0, 1, lambda x, y: [(x // 4 + y // 2) % 2], 1), 0)
files["grey2.png"] = (png(0, 2, lambda x, y: [(x // 4 + y // 2) % 4], 1), 0)
files["grey4.png"] = (png(0, 4, index, 1), 0)
files["one-colour-is-clear.png"] = (
    png(2, 8, clipped, 3, (chunk(b"tRNS", struct.pack(">HHH", 230, 40, 90)),)), 0)
files["one-grey-is-clear.png"] = (
    png(0, 8, lambda x, y: [index(x, y)[0] * 17], 1, (chunk(b"tRNS", struct.pack(">H", 51)),)), 0)
files["gamma.png"] = (
    png(2, 8, clipped, 3, (chunk(b"gAMA", struct.pack(">I", 22222)),)), 0)
save("alpha.png", seen, 0)
save("grey-alpha.png", Image.merge("LA", (rgb().convert("L"), alpha())), 0)
save("turned-5.png", rgb(), 0, exif=exif(5))

# ---- what Pillow shows



def shown_by_pillow(data):
    """Grey of 16 bits alone is no colour to Pillow: convert() cuts its numbers off at 255, and the
    picture is all but white. There the upper bytes of Pillow's own numbers are what is shown."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    return image.convert("RGB")


lines, levels = [], b""
for name, (data, within) in files.items():
    (folder / name).write_bytes(data)
    shown = shown_by_pillow(data)
    lines.append({"file": name, "width": shown.width, "height": shown.height,
                  "offset": len(levels), "within": within})
    levels += shown.tobytes()
origin = {"oracle": "Image.open, ImageOps.exif_transpose, convert('RGB') of Pillow (PyPI pillow)",
          "versions": {"pillow": PIL.__version__,
                       "libjpeg-turbo": features.version("libjpeg_turbo"),
                       "libwebp": features.version("webp"), "zlib": features.version("zlib")},
          "script": "tests/golden/media/make.py", "shape": "(height, width, RGB) u8"}
text = ",\n".join("  " + json.dumps(line) for line in lines)
(folder / "expected.json").write_text(
    f'{{\n"meta": {json.dumps(origin)},\n"pictures": [\n{text}\n]\n}}\n')
(folder / "expected.bin").write_bytes(levels)
print(f"{len(lines)} pictures, {sum(len(data) for data, _ in files.values())} bytes of files, "
      f"{len(levels)} of levels")
