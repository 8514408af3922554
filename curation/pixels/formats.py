"""Which formats are opened, how each is recognised, and its size where opening would allocate."""

import struct

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,  # of an MPO it sees the first picture
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
"""Format -> the class that reads it. Opened directly: nothing else can be tried by accident."""

_PREFIXES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_TAIL_BYTES = 64
_AVIF_BRANDS = (b"avif", b"avis")


def recognise(data: bytes) -> str | None:
    """Return the format that the first bytes announce; null for none that is allowed."""
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and _is_avif(data):
        return "AVIF"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PPM"
    return None


def _is_avif(data: bytes) -> bool:
    end = min(struct.unpack(">I", data[:4])[0], 256)
    brands = [data[8:12], *(data[i : i + 4] for i in range(16, end, 4))]
    return any(brand in brands for brand in _AVIF_BRANDS)


def declared_size(format: str, data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) of a GIF or WEBP, whose readers allocate when they open.

    Null for the other formats, which are asked once open, and for a header too short to say.

    Source: GIF89a specification, section 18; RFC 9649, sections 2.5 to 2.7.
    """
    if format == "GIF" and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return width, height
    if format != "WEBP" or len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return width, height
    return None


def is_cut_short(format: str, data: bytes) -> bool:
    """Say whether the container lacks its end, for formats whose decoders do not look."""
    if format == "WEBP" and len(data) >= 8:
        return bool(struct.unpack_from("<I", data, 4)[0] + 8 > len(data))
    return format == "PNG" and b"IEND" not in data[-_TAIL_BYTES:] and b"IEND" not in data


def bits_per_sample(image: ImageFile.ImageFile, format: str, data: bytes) -> int:
    """Return the bits of one channel as stored, of an open image."""
    if format == "PNG" and len(data) > 24:
        return data[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        stated = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE)
        if isinstance(stated, tuple) and stated and isinstance(stated[0], int):
            return stated[0]
    return {"1": 1, "I": 16, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)
