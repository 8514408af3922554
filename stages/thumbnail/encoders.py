"""The formats that `thumbnail` can write, by name."""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.pixels.encode import encode_jpeg, encode_webp


class Encoder(Protocol):
    """Turns a view into the bytes of a file.

    Attributes:
        version: Raised when the same pixels may give other bytes.
    """

    version: ClassVar[str]

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Return the file for (height, width, 3) sRGB; the same bytes for the same pixels."""
        ...


class WebpEncoder:
    """WebP, lossy: a third smaller than JPEG of the same quality number, known to every browser."""

    version: ClassVar[str] = "1"

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        return encode_webp(pixels, quality)


class JpegEncoder:
    """JPEG, for readers that know no WebP; several times faster to write."""

    version: ClassVar[str] = "1"

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        return encode_jpeg(pixels, quality)


ENCODERS: dict[str, type[Encoder]] = {"jpeg": JpegEncoder, "webp": WebpEncoder}
"""Name in YAML -> class."""
