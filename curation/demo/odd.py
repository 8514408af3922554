"""Images that are valid and yet trip programs that expect a JPEG called `.jpg`."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import ExifTags, Image, ImageEnhance, ImageOps

from curation.demo.encode import encode, ordinary


@dataclass(frozen=True)
class Odd:
    """One way of being odd.

    Attributes:
        make: Returns the bytes for a picture; null where only the name is odd, or the size.
        format: As Pillow calls it; null where the planned format stays.
        extension: What the file calls itself; null for the usual one.
        size: The size of the picture; null for the planned one.
        stripes: Whether the picture is of bands, the only scene that fills any shape.
    """

    make: Callable[[Image.Image, Random], bytes] | None = None
    format: str | None = None
    extension: str | None = None
    size: tuple[int, int] | None = None
    stripes: bool = False


def _small(picture: Image.Image, side: int) -> Image.Image:
    copy = picture.copy()
    copy.thumbnail((side, side))
    return copy


def _frames(picture: Image.Image) -> list[Image.Image]:
    small = _small(picture, 320)
    return [small, *(ImageEnhance.Brightness(small).enhance(level) for level in (0.7, 0.4, 0.7))]


def _gif_animated(picture: Image.Image, rng: Random) -> bytes:
    first, *others = (frame.quantize(96) for frame in _frames(picture))
    return encode(first, "GIF", save_all=True, append_images=others, duration=120, loop=0)


def _webp_animated(picture: Image.Image, rng: Random) -> bytes:
    first, *others = _frames(picture)
    return encode(first, "WEBP", save_all=True, append_images=others, duration=120, quality=70)


def _bmp(picture: Image.Image, rng: Random) -> bytes:
    return encode(_small(picture, 480), "BMP")


def _tiff(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture, "TIFF", compression="tiff_adobe_deflate")


def _png_16_bit(picture: Image.Image, rng: Random) -> bytes:
    wide = np.asarray(picture.convert("L"), np.uint16) * 257
    return encode(Image.fromarray(wide), "PNG", compress_level=3)


def _png_palette(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture.quantize(64), "PNG")


def _png_1_bit(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture.convert("1"), "PNG")


def _png_grey_alpha(picture: Image.Image, rng: Random) -> bytes:
    fade = ImageOps.invert(Image.radial_gradient("L")).resize(picture.size)
    return encode(Image.merge("LA", (picture.convert("L"), fade)), "PNG", compress_level=3)


def _jpeg_cmyk(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture.convert("CMYK"), "JPEG", quality=88)


def _jpeg_grey(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture.convert("L"), "JPEG", quality=88)


def _jpeg_exif(picture: Image.Image, rng: Random) -> bytes:
    """Return a JPEG that stands upright only after a turn or a mirror that its EXIF tag states."""
    orientation, turn = rng.choice(
        (
            (2, Image.Transpose.FLIP_LEFT_RIGHT),
            (3, Image.Transpose.ROTATE_180),
            (4, Image.Transpose.FLIP_TOP_BOTTOM),
            (5, Image.Transpose.TRANSPOSE),
            (6, Image.Transpose.ROTATE_90),
            (7, Image.Transpose.TRANSVERSE),
            (8, Image.Transpose.ROTATE_270),
        )
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encode(picture.transpose(turn), "JPEG", quality=90, exif=exif)


def _jpeg_trailing(picture: Image.Image, rng: Random) -> bytes:
    return encode(picture, "JPEG", quality=88) + b"\0" * 16 + rng.randbytes(400)


def _png(picture: Image.Image, rng: Random) -> bytes:
    return ordinary(picture, "PNG", rng)


def _jpeg(picture: Image.Image, rng: Random) -> bytes:
    return ordinary(picture, "JPEG", rng)


def _one_pixel(picture: Image.Image, rng: Random) -> bytes:
    colour = (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255))
    return encode(Image.new("RGB", (1, 1), colour), "PNG")


ODD: dict[str, Odd] = {
    "jpeg_exif": Odd(_jpeg_exif, "JPEG", "jpg"),
    "gif_animated": Odd(_gif_animated, "GIF", "gif"),
    "png_16_bit": Odd(_png_16_bit, "PNG", "png"),
    "name_unicode": Odd(),
    "jpeg_cmyk": Odd(_jpeg_cmyk, "JPEG", "jpg"),
    "png_named_jpg": Odd(_png, "PNG", "jpg"),
    "name_spaces": Odd(),
    "one_pixel": Odd(_one_pixel, "PNG", "png", (1, 1), stripes=True),
    "very_wide": Odd(_png, "PNG", "png", (4000, 40), stripes=True),
    "very_tall": Odd(_jpeg, "JPEG", "jpg", (40, 4000), stripes=True),
    "tiff": Odd(_tiff, "TIFF", "tif"),
    "bmp": Odd(_bmp, "BMP", "bmp"),
    "png_palette": Odd(_png_palette, "PNG", "png"),
    "png_1_bit": Odd(_png_1_bit, "PNG", "png"),
    "png_grey_alpha": Odd(_png_grey_alpha, "PNG", "png"),
    "name_not_utf8": Odd(),
    "name_glob": Odd(),
    "name_percent": Odd(),
    "name_deep": Odd(),
    "name_upper_case": Odd(),
    "name_no_extension": Odd(),
    "webp_animated": Odd(_webp_animated, "WEBP", "webp"),
    "jpeg_grey": Odd(_jpeg_grey, "JPEG", "jpg"),
    "jpeg_named_png": Odd(_jpeg, "JPEG", "png"),
    "jpeg_trailing_bytes": Odd(_jpeg_trailing, "JPEG", "jpg"),
}
"""In the order in which a small corpus takes them."""
