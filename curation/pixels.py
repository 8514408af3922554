"""The only module that opens an image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation.config import Config

VERSION = 1


class PixelSpec(Config):
    """What a stage wants to see."""

    size_px: int = 256
    fit: Literal["inside", "cover", "squash"] = "inside"
    filter: Literal["box", "bilinear", "bicubic", "lanczos"] = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 64_000_000


@dataclass(frozen=True)
class View:
    """One image as a stage asked to see it."""

    pixels: np.ndarray
