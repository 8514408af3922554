"""The perceptual hashes, in two makes that read alike.

Both give a 64-bit DCT hash (`phash`) and a 64-bit gradient hash (`dhash`), rows from the top, bits
from the left, the first bit highest.
"""

import functools
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from curation import pixels as px
from curation.pixels import PixelSpec

VIEW_PX = 256
"""Longer edge of the view that everything but the imagehash hasher looks at."""

HASH_EDGE = 8
DCT_EDGE = 32
"""Edge of the square that phash transforms, of which it keeps the lowest 8 x 8 frequencies."""

_ONE = 1 << 14  # whole numbers stand for weights: sums of products stay exact in float64
_LANCZOS_LOBES = 3


def view_spec(max_pixels: int) -> PixelSpec:
    """Return the view that is measured."""
    return PixelSpec(size_px=VIEW_PX, fit="inside", filter="linear", max_pixels=max_pixels)


class Hasher(Protocol):
    """What the stage asks of a hasher.

    Attributes:
        version: Raised when the same pixels may give another hash.
    """

    version: ClassVar[str]

    def pixels(self, max_pixels: int) -> PixelSpec:
        """Return what `hash` wants to see."""
        ...

    def to_view(self, pixels: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
        """Return the small view for the measurements, from what `hash` sees."""
        ...

    def hash(self, pixels: NDArray[np.uint8], luma: NDArray[np.uint8]) -> tuple[int, int]:
        """Return phash and dhash.

        Args:
            pixels: (height, width, 3) as `pixels` asked for.
            luma: (height, width) of the small view.
        """
        ...


class MatrixHasher:
    """Both hashes by matrix products from the small view; exact, so the same on every machine.

    Grey, the Lanczos shrinking to 32 x 32 and to 9 x 8, and the rounding to whole levels are those
    of imagehash, but the shrinking starts at 256 px instead of the full size. Of 540 crops of real
    pictures, 75 % had the phash that imagehash gives, 98 % one within 2 bits, and all within 4; for
    dhash 66 %, 96 % and all within 5.

    Weights are multiples of 2**-14, so no sum is ever rounded, whatever the order of adding.

    A bit of phash is 1 where a coefficient is above the median of the 64, which is the mean of the
    middle two; equal is 0. A bit of dhash is 1 where the right neighbour is brighter; equal is 0. A
    flat picture has phash 0x8000000000000000 (0 if black) and dhash 0.

    Source: Zauner, Implementation and benchmarking of perceptual image hash functions (2010);
        Krawetz, Kind of like that (2013); laid out as in imagehash 4.3.
    """

    version: ClassVar[str] = "1"

    def pixels(self, max_pixels: int) -> PixelSpec:
        return view_spec(max_pixels)

    def to_view(self, pixels: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
        return pixels

    def hash(self, pixels: NDArray[np.uint8], luma: NDArray[np.uint8]) -> tuple[int, int]:
        height, width = luma.shape
        rows = _shrink_rows(height) @ luma.astype(np.float64)
        small = _to_levels(rows[:DCT_EDGE] @ _lanczos(width, DCT_EDGE).T)
        cells = _to_levels(rows[DCT_EDGE:] @ _lanczos(width, HASH_EDGE + 1).T)
        table = _cosines()
        frequencies = table @ small @ table.T
        return (
            _to_bits(frequencies > np.median(frequencies)),
            _to_bits(cells[:, 1:] > cells[:, :-1]),
        )


class ImagehashHasher:
    """imagehash itself on every pixel: the reference, some 7 ms a megapixel slower.

    The measurements are taken from a small view of the same pixels.
    """

    version: ClassVar[str] = "1"

    def pixels(self, max_pixels: int) -> PixelSpec:
        return PixelSpec(fit="full", max_pixels=max_pixels)

    def to_view(self, pixels: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
        return px.fit(pixels, view_spec(max_pixels))

    def hash(self, pixels: NDArray[np.uint8], luma: NDArray[np.uint8]) -> tuple[int, int]:
        import imagehash

        image = px.as_pillow(pixels)
        return int(str(imagehash.phash(image)), 16), int(str(imagehash.dhash(image)), 16)


HASHERS: dict[str, type[Hasher]] = {"imagehash": ImagehashHasher, "matrix": MatrixHasher}
"""Name in YAML -> class."""


@functools.cache
def _shrink_rows(size: int) -> NDArray[np.float64]:
    """Return both hashes' vertical shrinking, (32 + 8, size): one product serves both."""
    return np.vstack([_lanczos(size, DCT_EDGE), _lanczos(size, HASH_EDGE)])


@functools.cache
def _lanczos(size: int, target: int) -> NDArray[np.float64]:
    """Return the (target, size) weights that resample `size` samples, in 2**-14, each row 1.

    Source: Pillow's `Resample.c`: Lanczos with 3 lobes, stretched by size / target when shrinking.
    """
    scale = size / target
    stretch = max(scale, 1.0)
    centers = (np.arange(target) + 0.5) * scale
    first = np.maximum((centers - _LANCZOS_LOBES * stretch + 0.5).astype(int), 0)[:, np.newaxis]
    last = np.minimum((centers + _LANCZOS_LOBES * stretch + 0.5).astype(int), size)[:, np.newaxis]
    sample = np.arange(size)
    distance = (sample + 0.5 - centers[:, np.newaxis]) / stretch
    weights = np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES)
    weights[(sample < first) | (sample >= last) | (np.abs(distance) >= _LANCZOS_LOBES)] = 0.0
    whole: NDArray[np.float64] = np.rint(weights / weights.sum(axis=1, keepdims=True) * _ONE)
    whole[np.arange(target), whole.argmax(axis=1)] += _ONE - whole.sum(axis=1)
    return whole


@functools.cache
def _cosines() -> NDArray[np.float64]:
    """Return the (8, 32) lowest rows of the DCT-II, in 2**-14; all but the first add up to 0."""
    frequency = np.arange(HASH_EDGE)[:, np.newaxis]
    sample = np.arange(DCT_EDGE)
    angle = np.pi * frequency * (2 * sample + 1) / (2 * DCT_EDGE)
    whole: NDArray[np.float64] = np.rint(np.cos(angle) * _ONE)
    return whole


def _to_levels(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.floor(sums / (_ONE * _ONE) + 0.5), 0, 255)


def _to_bits(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
