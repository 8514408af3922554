"""Light, colour and grain: what makes one photograph look unlike another."""

from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from curation.demo.drawing.palettes import PALETTES, RGB, luma, mix

_GRAIN_SIDE = 256


def duotone(
    picture: Image.Image, shadow: RGB, light: RGB, middle: RGB | None = None
) -> Image.Image:
    """Return a picture with its brightness painted from `shadow` to `light`."""
    grey = ImageOps.autocontrast(picture.convert("L"), cutoff=1)
    if luma(shadow) > luma(light):
        shadow, light = light, shadow
    return ImageOps.colorize(grey, shadow, light, middle)


def graded(picture: Image.Image, rng: Random) -> Image.Image:
    """Return a picture developed in one of the ways that photographs are developed."""
    way = rng.randrange(9)
    if way == 0:
        colours = rng.choice(PALETTES)
        return duotone(picture, colours.ink, colours.ground)
    if way == 1:
        return ImageOps.autocontrast(picture.convert("L"), cutoff=2).convert("RGB")
    if way == 2:
        sepia = duotone(picture, (44, 28, 18), (250, 236, 208))
        return Image.blend(picture, sepia, rng.uniform(0.6, 1))
    if way == 3:
        return ImageEnhance.Color(picture).enhance(rng.uniform(0.25, 0.6))
    if way == 4:
        return ImageEnhance.Contrast(ImageEnhance.Color(picture).enhance(1.5)).enhance(1.15)
    if way == 5:
        return _channels(picture, rng.uniform(0.75, 0.95), 1.0, rng.uniform(1.05, 1.3))
    if way == 6:
        return _channels(picture, rng.uniform(1.05, 1.25), 1.0, rng.uniform(0.7, 0.9))
    if way == 7:
        return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.7, 1.25))
    return picture


def _channels(picture: Image.Image, red: float, green: float, blue: float) -> Image.Image:
    table = [
        min(255, round(255 * (level / 255) ** (1 / gain)))
        for gain in (red, green, blue)
        for level in range(256)
    ]
    return picture.point(table)


@lru_cache(maxsize=1)
def _grain_tile() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    noise = np.random.Generator(np.random.PCG64(20)).normal(0, 1, (_GRAIN_SIDE, _GRAIN_SIDE, 1))
    return noise.astype(np.float32)


def grained(picture: Image.Image, rng: Random, amount: float) -> Image.Image:
    """Return a picture with film grain; `amount` is its standard deviation in levels of 255."""
    shift = (rng.randrange(_GRAIN_SIDE), rng.randrange(_GRAIN_SIDE))
    tile = np.roll(_grain_tile(), shift, axis=(0, 1))
    across = -(-picture.width // _GRAIN_SIDE)
    down = -(-picture.height // _GRAIN_SIDE)
    noise = np.tile(tile, (down, across, 1))[: picture.height, : picture.width]
    pixels = np.asarray(picture, dtype=np.float32) + amount * noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def vignetted(picture: Image.Image, strength: float) -> Image.Image:
    """Return a picture darker towards its corners; `strength` from 0 to 1."""
    small = Image.radial_gradient("L").resize((64, 64))
    fall = small.point([round(255 - strength * max(0, level - 60) * 0.9) for level in range(256)])
    mask = fall.resize(picture.size, Image.Resampling.BICUBIC)
    return ImageChops.multiply(picture, Image.merge("RGB", (mask, mask, mask)))


def backdrop(picture: Image.Image, size: tuple[int, int], dim: float = 0.75) -> Image.Image:
    """Return a blurred, dimmed enlargement of a picture, to lie behind it."""
    small = ImageOps.fit(picture, (48, max(8, round(48 * size[1] / size[0]))))
    blurred = small.filter(ImageFilter.GaussianBlur(3)).resize(size, Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(blurred).enhance(dim)


def slope(size: tuple[int, int], first: RGB, second: RGB, *, turn: float = 0.0) -> Image.Image:
    """Return a straight gradient; `turn` 0 runs from top to bottom, 1 from left to right."""
    down = np.linspace(0, 1, 64)[:, None] * (1 - turn)
    share = (down + np.linspace(0, 1, 64)[None, :] * turn)[..., None]
    ramp = np.array(first) + (np.array(second) - np.array(first)) * share
    small = Image.fromarray(ramp.round().astype(np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def shaded(colour: RGB, share: float) -> RGB:
    """Return a colour towards black (`share` below 0) or towards white (above 0)."""
    return mix(colour, (255, 255, 255) if share > 0 else (0, 0, 0), abs(share))
