"""What is done to a picture before it turns up again elsewhere."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import ExifTags, Image, ImageDraw, ImageEnhance

from curation.demo.drawing import words
from curation.demo.drawing.fonts import font
from curation.demo.drawing.photographs import Box
from curation.demo.encode import encode, ordinary

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# The stored turn that undoes each EXIF orientation.
_UNDO = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Edited:
    """A near copy: its bytes, its format, its upright size, and what it shows of the original."""

    data: bytes
    format: str
    size: tuple[int, int]
    box: Box


Edit = Callable[[Image.Image, str, Random], Edited]


def _saved(picture: Image.Image, format: str, rng: Random, box: Box = WHOLE) -> Edited:
    return Edited(ordinary(picture, format, rng), format, picture.size, box)


def _other_format(picture: Image.Image, format: str, rng: Random) -> str:
    if picture.mode == "RGBA":
        return "WEBP" if format == "PNG" else "PNG"
    return rng.choice(("JPEG", "JPEG", "JPEG", "WEBP", "PNG"))


def reencoded(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Saved again: at a low quality, or in another format."""
    if picture.mode == "RGBA" or rng.random() < 0.35:
        return _saved(picture, _other_format(picture, format, rng), rng)
    if rng.random() < 0.8:
        data = encode(picture, "JPEG", quality=rng.randint(28, 70))
        return Edited(data, "JPEG", picture.size, WHOLE)
    data = encode(picture, "WEBP", quality=rng.randint(25, 65), method=1)
    return Edited(data, "WEBP", picture.size, WHOLE)


def _scaled(picture: Image.Image, rng: Random) -> Image.Image:
    factor = rng.choice((rng.uniform(0.4, 0.85), rng.uniform(0.4, 0.85), rng.uniform(1.1, 1.35)))
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    return picture.resize(size, rng.choice((Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)))


def resized(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Made smaller or, more rarely, larger."""
    return _saved(_scaled(picture, rng), format, rng)


def _cut(picture: Image.Image, keep: float, rng: Random) -> tuple[Image.Image, Box]:
    """Return a part with `keep` of the area, and where in the picture it lies."""
    wide = min(1.0, keep ** rng.uniform(0.2, 0.8))
    high = keep / wide
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    # Whole pixels: the box says exactly what is shown.
    edges = (
        round(left * picture.width),
        round(top * picture.height),
        max(round(left * picture.width) + 1, round((left + wide) * picture.width)),
        max(round(top * picture.height) + 1, round((top + high) * picture.height)),
    )
    box = (
        edges[0] / picture.width,
        edges[1] / picture.height,
        edges[2] / picture.width,
        edges[3] / picture.height,
    )
    return picture.crop(edges), box


def cropped(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Cut at the edges: most often a little (IoU 0.9 and more), sometimes a good deal."""
    keep = rng.uniform(0.905, 0.98) if rng.random() < 0.8 else rng.uniform(0.55, 0.88)
    part, box = _cut(picture, keep, rng)
    return _saved(part, format, rng, box)


def _toned(picture: Image.Image, rng: Random) -> Image.Image:
    way = rng.randrange(5)
    if way == 0:
        return picture.convert("L").convert("RGB")
    if way == 1:
        warm = rng.uniform(0.8, 1.25)
        red = [min(255, round(level * warm)) for level in range(256)]
        blue = [min(255, round(level / warm)) for level in range(256)]
        return picture.point([*red, *range(256), *blue])
    if way == 2:
        gamma = rng.choice((rng.uniform(0.65, 0.9), rng.uniform(1.1, 1.5)))
        return picture.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)
    if way == 3:
        return ImageEnhance.Color(picture).enhance(rng.choice((0.3, 0.5, 1.6, 2.0)))
    brighter = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(brighter).enhance(rng.uniform(0.75, 1.3))


def recoloured(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Made grey, warmer, darker, flatter or more vivid."""
    return _saved(_toned(picture, rng), format, rng)


def _marked(picture: Image.Image, rng: Random) -> Image.Image:
    text = rng.choice((words.site(rng), f"(c) {words.person(rng)}", "SAMPLE", "longtail stock"))
    size = max(8, round(min(picture.size) * rng.uniform(0.04, 0.09)))
    face = font(rng.choice(("sans_bold", "serif_bold")), size)
    ink = rng.choice(((255, 255, 255), (0, 0, 0)))
    layer = Image.new("RGBA", picture.size, (*ink, 0))
    draw = ImageDraw.Draw(layer)
    if rng.random() < 0.35:
        wide = face.getlength(text) * 1.4
        for row in range(math.ceil(picture.height / (size * 4))):
            for column in range(-1, math.ceil(picture.width / wide)):
                place = ((column + row % 2 / 2) * wide, row * size * 4)
                draw.text(place, text, (*ink, rng.randint(40, 70)), face)
    else:
        x = rng.choice((size, picture.width - size - face.getlength(text)))
        y = rng.choice((size // 2, picture.height - size * 2))
        draw.text((x, y), text, (*ink, rng.randint(120, 220)), face)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def watermarked(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Signed in a corner, or written over from edge to edge."""
    return _saved(_marked(picture, rng), format, rng)


def combo(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Cut a little, scaled, and recoloured or signed, as pictures are that travel."""
    part, box = _cut(picture, rng.uniform(0.905, 0.97), rng)
    part = _scaled(part, rng)
    part = _toned(part, rng) if rng.random() < 0.6 else _marked(part, rng)
    return _saved(part, _other_format(picture, format, rng), rng, box)


def exif_rotated(picture: Image.Image, format: str, rng: Random) -> Edited:
    """Stored lying down, with the EXIF tag that says how to turn it: upright it is the original."""
    orientation = rng.choice((3, 6, 8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = picture.transpose(_UNDO[orientation])
    data = encode(stored, "JPEG", quality=rng.randint(80, 94), exif=exif)
    return Edited(data, "JPEG", picture.size, WHOLE)


EDITS: dict[str, Edit] = {
    "reencoded": reencoded,
    "resized": resized,
    "cropped": cropped,
    "recoloured": recoloured,
    "watermarked": watermarked,
    "combo": combo,
    "exif_rotated": exif_rotated,
}

FREQUENCY = {
    "reencoded": 20,
    "resized": 20,
    "cropped": 20,
    "recoloured": 14,
    "watermarked": 14,
    "combo": 8,
    "exif_rotated": 4,
}
"""How often each edit is made, in percent."""

KEEPS_ALPHA = ("reencoded", "resized", "cropped")
"""Edits of pictures with transparent ground; the others would have to give them another ground."""
