"""Files that are no images, or no longer: every kind that folders of images hold."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from curation.demo.drawing import words
from curation.demo.encode import encode


@dataclass(frozen=True)
class Broken:
    """One way of being broken.

    Attributes:
        make: Returns the bytes, from a picture that the file might have held.
        extension: What the file calls itself.
        expect_error: The code of `schemas.error_codes` that a reader must arrive at.
        painted: Whether `make` looks at the picture at all; it is a single pixel otherwise.
    """

    make: Callable[[Image.Image, Random], bytes]
    extension: str
    expect_error: str
    painted: bool = False


def _empty(picture: Image.Image, rng: Random) -> bytes:
    return b""


def _garbage(picture: Image.Image, rng: Random) -> bytes:
    return b"\x13\x37" + rng.randbytes(rng.randint(2_000, 60_000))


def _html(picture: Image.Image, rng: Random) -> bytes:
    text = words.paragraph(rng, 6)
    page = f"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>{text}</body>"
    return f"{page}</html>\n".encode()


def _text(picture: Image.Image, rng: Random) -> bytes:
    return (words.paragraph(rng, 20) + "\n").encode()


def _archive(picture: Image.Image, rng: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("notes.txt", (2020, 1, 1, 0, 0, 0))
        archive.writestr(entry, words.paragraph(rng, 5))
    return buffer.getvalue()


def _svg(picture: Image.Image, rng: Random) -> bytes:
    circles = "".join(
        f'<circle cx="{rng.randint(0, 400)}" cy="{rng.randint(0, 300)}" r="{rng.randint(5, 60)}"/>'
        for _ in range(8)
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300">'
    return f'<?xml version="1.0"?>\n{head}{circles}</svg>\n'.encode()


def _eps(picture: Image.Image, rng: Random) -> bytes:
    lines = "".join(f"{rng.randint(0, 400)} {rng.randint(0, 300)} lineto\n" for _ in range(30))
    head = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 400 300\nnewpath 0 0 moveto\n"
    return f"{head}{lines}stroke\nshowpage\n%%EOF\n".encode()


def _pdf(picture: Image.Image, rng: Random) -> bytes:
    body = f"BT /F1 12 Tf 72 720 Td ({words.sentence(rng)}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
        f"<< /Length {len(body)} >>\nstream\n{body}\nendstream",
    ]
    parts = [f"{number} 0 obj\n{text}\nendobj\n" for number, text in enumerate(objects, 1)]
    return ("%PDF-1.4\n" + "".join(parts) + "trailer << /Root 1 0 R >>\n%%EOF\n").encode()


def _before_scan(data: bytes) -> int:
    """Return where the start-of-scan marker of a JPEG lies."""
    at = 2
    while data[at + 1] != 0xDA:
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return at


def _jpeg_header_only(picture: Image.Image, rng: Random) -> bytes:
    data = encode(picture, "JPEG", quality=85)
    return data[: _before_scan(data)]


def _jpeg_no_scan(picture: Image.Image, rng: Random) -> bytes:
    return _jpeg_header_only(picture, rng) + b"\xff\xd9"


def _gif_header_only(picture: Image.Image, rng: Random) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", rng.randint(50, 900), rng.randint(50, 900), 0xF7, 0, 0)


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: int(len(data) * rng.uniform(0.3, 0.9))]


def _jpeg_truncated(picture: Image.Image, rng: Random) -> bytes:
    return _cut(encode(picture, "JPEG", quality=88), rng)


def _png_truncated(picture: Image.Image, rng: Random) -> bytes:
    return _cut(encode(picture, "PNG", compress_level=3), rng)


def _webp_truncated(picture: Image.Image, rng: Random) -> bytes:
    return _cut(encode(picture, "WEBP", quality=85, method=1), rng)


def _png_corrupt(picture: Image.Image, rng: Random) -> bytes:
    data = bytearray(encode(picture, "PNG", compress_level=3))
    first = data.index(b"IDAT") + 40
    for _ in range(60):
        data[rng.randrange(first, len(data) - 20)] ^= rng.randint(1, 255)
    return bytes(data)


def _bomb(picture: Image.Image, rng: Random) -> bytes:
    """A PNG of some 400 million pixels in 50 KB, made row by row."""
    width, height = rng.randint(19_500, 20_500), rng.randint(19_500, 20_500)
    rows, packer = bytes((1 + (width + 7) // 8) * 100), zlib.compressobj(9)
    packed = b"".join(packer.compress(rows) for _ in range(height // 100))
    packed += packer.compress(rows[: (1 + (width + 7) // 8) * (height % 100)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


BROKEN: dict[str, Broken] = {
    "jpeg_truncated": Broken(_jpeg_truncated, "jpg", "truncated", painted=True),
    "empty": Broken(_empty, "jpg", "empty"),
    "html": Broken(_html, "jpg", "unsupported"),
    "png_corrupt": Broken(_png_corrupt, "png", "undecodable", painted=True),
    "bomb": Broken(_bomb, "png", "bomb"),
    "garbage": Broken(_garbage, "jpg", "unsupported"),
    "png_truncated": Broken(_png_truncated, "png", "truncated", painted=True),
    "webp_truncated": Broken(_webp_truncated, "webp", "truncated", painted=True),
    "jpeg_header_only": Broken(_jpeg_header_only, "jpg", "undecodable", painted=True),
    "jpeg_no_scan": Broken(_jpeg_no_scan, "jpg", "undecodable", painted=True),
    "gif_header_only": Broken(_gif_header_only, "gif", "undecodable"),
    "svg": Broken(_svg, "svg", "unsupported"),
    "eps": Broken(_eps, "eps", "unsupported"),
    "pdf": Broken(_pdf, "pdf", "unsupported"),
    "text": Broken(_text, "txt", "unsupported"),
    "zip": Broken(_archive, "zip", "unsupported"),
}
"""In the order in which a small corpus takes them."""
