"""From bytes to a decoded image, with the decoder kept on a short lead."""

import contextlib
import fcntl
import io
import logging
import os
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, GifImagePlugin, Image, ImageCms, ImageFile

from curation.pixels.color import Channels, to_channels
from curation.pixels.formats import (
    OPENERS,
    bits_per_sample,
    declared_size,
    is_cut_short,
    recognise,
)
from schemas.error_codes import row_error

LARGE_PIXELS = 32_000_000
"""Above this, one image at a time is decoded on a machine."""

SCALED_MIN_EDGE_PX = 256
"""A JPEG decoded at 1/2, 1/4 or 1/8 keeps at least this many pixels on its shorter edge."""

_MAX_SCALE_POWER = 3  # libjpeg scales by 1/1, 1/2, 1/4 and 1/8
_UPRIGHT = 1
_TRUNCATION_WORDS = ("truncat", "end of file", "too early", "not enough", "not large enough")

# What decoders raise on bytes that they cannot read. Not MemoryError, which is no fact about the
# file: the process that runs us decides what it means.
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImageCms.PyCMSError,
    Image.DecompressionBombError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_core: Any = Image.core  # type: ignore[attr-defined]
_log = logging.getLogger(__name__)
_switches = threading.Lock()


class RefusedError(Exception):
    """The file gives no image; `args[0]` is the `code: text`. It never leaves this package."""


@dataclass(frozen=True)
class Facts:
    """What the header says.

    Attributes:
        size: (width, height) before the orientation that is due is applied.
        mode: Pillow's name of the channels as stored.
        num_frames: Frames or pages.
        bits_per_sample: Bits of one channel as stored.
    """

    size: tuple[int, int]
    mode: str
    num_frames: int
    bits_per_sample: int


@dataclass
class Source:
    """The bytes of a file that was recognised and is no bomb.

    Attributes:
        data: The file.
        format: A key of `OPENERS`.
        max_pixels: What it was checked against.
        facts: What its header says.
        opened: The reader that read the header, for the first decoding.
    """

    data: bytes
    format: str
    max_pixels: int
    facts: Facts
    opened: ImageFile.ImageFile | None

    @property
    def scale_power(self) -> int:
        """The power of two by which a small view may have this file scaled down in decoding."""
        power = 0
        if self.format == "JPEG":
            shorter = min(self.facts.size)
            while power < _MAX_SCALE_POWER and shorter >> (power + 1) >= SCALED_MIN_EDGE_PX:
                power += 1
        return power


@dataclass(frozen=True)
class Decoded:
    """The first frame of a file.

    Attributes:
        samples: (height, width) or (height, width, 3 or 4), uint8; see `to_channels`.
        channels: What the samples are.
        profile: The embedded ICC profile; null without.
        has_alpha: Whether the file has an alpha channel or a transparent colour.
        orientation: EXIF orientation as stated, 1 to 8.
        due: The orientation that is still to be undone; a TIFF is upright already.
    """

    samples: NDArray[np.uint8]
    channels: Channels
    profile: bytes | None
    has_alpha: bool
    orientation: int
    due: int


def open_source(data: bytes, max_pixels: int) -> Source:
    """Read the header and nothing else.

    Raises:
        RefusedError: `empty`, `unsupported`, `bomb`, `truncated` or `undecodable`.
    """
    if not data:
        raise RefusedError(row_error("empty"))
    format = recognise(data)
    if format is None:
        raise RefusedError(row_error("unsupported"))
    with _decoding(format, max_pixels):
        _check_size(declared_size(format, data), max_pixels)
        if is_cut_short(format, data):
            raise RefusedError(row_error("truncated", format=format))
        image = OPENERS[format](io.BytesIO(data), "")
        _check_size(image.size, max_pixels)
        num_frames = int(getattr(image, "n_frames", 1))
        facts = Facts(image.size, image.mode, num_frames, bits_per_sample(image, format, data))
    return Source(data, format, max_pixels, facts, image)


def decode(source: Source, scale_power: int) -> Decoded:
    """Decode the whole first frame, at 1 / 2**`scale_power` of its size.

    Raises:
        RefusedError: `truncated` or `undecodable`.
    """
    with _decoding(source.format, source.max_pixels):
        image = source.opened or OPENERS[source.format](io.BytesIO(source.data), "")
        source.opened = None
        if scale_power:
            width, height = image.size
            image.draft(image.mode, (width >> scale_power, height >> scale_power))
        # Pillow turns a TIFF upright as it loads it, and then forgets that it did; a PNG may state
        # its orientation after the pixels.
        stated = _orientation(image) if source.format == "TIFF" else 0
        image.load()
        stated = stated or _orientation(image)
        due = _UPRIGHT if source.format == "TIFF" else stated
        # L*a*b* says by itself which colours it means.
        profile = image.info.get("icc_profile") if image.mode != "LAB" else None
        has_alpha = image.has_transparency_data
        samples, channels = to_channels(image)
    return Decoded(samples, channels, profile or None, has_alpha, stated, due)


@contextlib.contextmanager
def alone_if_large(size: tuple[int, int]) -> Iterator[None]:
    """Hold a machine-wide lock while a large image is in memory.

    Workers are processes, so the lock is a file in the temporary folder, locked with `flock`: the
    system frees it when its holder dies. Waiting counts as the waiting image's own time.
    """
    if size[0] * size[1] <= LARGE_PIXELS:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"longtail-large-image-{os.getuid()}.lock"
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _decoding(format: str, max_pixels: int) -> Iterator[None]:
    """Set Pillow's process-wide switches for our rules, and word what it raises ourselves."""
    with _switches, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata, with words from the file
        before = (
            Image.MAX_IMAGE_PIXELS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            AvifImagePlugin.DEFAULT_MAX_THREADS,
            GifImagePlugin.LOADING_STRATEGY,
        )
        Image.MAX_IMAGE_PIXELS = max_pixels  # our check comes first; this one sees inner sizes
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_FIRST
        blocks = _core.get_use_block_allocator()
        _core.set_use_block_allocator(1)  # one block an image, which numpy can look into
        try:
            yield
        except _DECODER_ERRORS as error:
            _log.debug("%s: %s: %s", format, type(error).__name__, error)
            words = str(error).lower()
            short = isinstance(error, EOFError) or any(w in words for w in _TRUNCATION_WORDS)
            code = "truncated" if short else "undecodable"
            raise RefusedError(row_error(code, format=format)) from error
        finally:
            (
                Image.MAX_IMAGE_PIXELS,
                ImageFile.LOAD_TRUNCATED_IMAGES,
                AvifImagePlugin.DEFAULT_MAX_THREADS,
                GifImagePlugin.LOADING_STRATEGY,
            ) = before
            _core.set_use_block_allocator(blocks)


def _check_size(size: tuple[int, int] | None, max_pixels: int) -> None:
    if size is not None and size[0] * size[1] > max_pixels:
        width, height = size
        error = row_error("bomb", width=width, height=height, max_pixels=max_pixels)
        raise RefusedError(error)


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        stated = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except _DECODER_ERRORS:  # broken EXIF says nothing; the image is still whole
        return _UPRIGHT
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else _UPRIGHT
