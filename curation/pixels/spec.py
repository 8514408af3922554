"""What a stage asks to see, and what it gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curation.config import Config

VERSION = 1
"""Raised whenever the same bytes and spec may give another view; enters every fingerprint."""

Channel = Annotated[int, Field(ge=0, le=255)]

Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
"""Width and height in pixels, or in proportion."""

Fit = Literal["inside", "cover", "crop", "squash", "full"]
Filter = Literal["linear", "box", "bilinear", "bicubic", "lanczos"]


class PixelSpec(Config):
    """What a stage wants to see.

    Attributes:
        size_px: The edge that `fit` speaks of.
        height_px: Height of a view that is no square, `size_px` being its width; for `cover` and
            `squash` only, null for a square.
        boxes: For images of many proportions: (proportions, size of the view), of which the one
            nearest in proportions to the upright image counts; `size_px` is then the longest edge
            among them. Where every box has one that is its lying counterpart, the view is exactly
            that of a specification that states its size alone.
        fit: `inside`: the longer edge becomes `size_px`, nothing is enlarged. `cover`: the image
            is brought to the smallest size that covers the view, whose middle is cut out. `crop`:
            a square `cover` in whole pixels of the scaled image, from at least twice the size, as
            the images were cut that most CLIP models were trained on; slower.
            `squash`: exactly the view's size, the aspect ratio is lost. `full`: every pixel; size
            and filter do not matter.
        filter: `box` to `lanczos` as Pillow has them, widened when shrinking, so nothing aliases.
            `linear` weighs the four nearest pixels: five times faster, for measuring rather than
            for models.
        background: RGB on which transparency is composited.
        max_pixels: Width times height above which the file is refused as a bomb.
    """

    size_px: int = Field(default=256, ge=1, le=8192)
    # Left out where it is null, so that squares keep the fingerprints that they had before it came.
    height_px: int | None = Field(default=None, ge=1, le=8192, exclude_if=lambda v: v is None)
    boxes: tuple[tuple[Size, Size], ...] | None = Field(
        default=None, exclude_if=lambda v: v is None
    )
    fit: Fit = "inside"
    filter: Filter = "bicubic"
    background: tuple[Channel, Channel, Channel] = (255, 255, 255)
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)

    @model_validator(mode="after")
    def _is_box(self) -> Self:
        if self.height_px is not None and self.fit not in {"cover", "squash"}:
            message = f"height_px: {self.fit} has one edge; only cover and squash have a height"
            raise ValueError(message)
        if self.boxes is not None:
            longest = max((edge for _, size in self.boxes for edge in size), default=0)
            if self.fit not in {"cover", "squash"} or self.height_px or longest != self.size_px:
                message = "boxes: for cover and squash, with size_px the longest edge among them"
                raise ValueError(message)
        return self

    @property
    def box(self) -> tuple[int, int]:
        """Width and height of a `cover` or `squash` view."""
        return self.size_px, self.size_px if self.height_px is None else self.height_px

    def boxed(self, width: int, height: int) -> "PixelSpec":
        """Return the specification for an upright image of this size, which has no `boxes`."""
        if self.boxes is None:
            return self
        across, down = self.boxes[nearest_box([wanted for wanted, _ in self.boxes], width, height)][
            1
        ]
        return self.model_copy(update={"size_px": across, "height_px": down, "boxes": None})

    def lying(self) -> "PixelSpec":
        """Return what must be cut from an image that is turned by a quarter afterwards."""
        if self.height_px is None:
            return self
        return self.model_copy(update={"size_px": self.height_px, "height_px": self.size_px})


def nearest_box(proportions: Sequence[Size], width: int, height: int) -> int:
    """Return the position of the proportions that are nearest to those of an image.

    Near is the ratio of the two ratios, the larger over the smaller; of equals the earlier wins.
    Divisions of whole numbers are correctly rounded, so every machine agrees.
    """
    distances = []
    for across, down in proportions:
        wide, tall = width * down, height * across
        distances.append(max(wide, tall) / min(wide, tall))
    return distances.index(min(distances))


@dataclass(frozen=True)
class Header:
    """What a file says about itself, and what was done about it.

    Attributes:
        width: Pixels across, once upright.
        height: Pixels down, once upright.
        format: `AVIF`, `BMP`, `GIF`, `JPEG`, `PNG`, `PPM`, `TIFF` or `WEBP`.
        mode: Channels as stored, in Pillow's words: `L`, `RGB`, `RGBA`, `P`, `CMYK`, `I;16`, `1`...
        orientation: EXIF orientation, 1 to 8; 1 where none or none readable is stated.
        num_frames: Frames or pages; a view shows the first.
        has_alpha: Whether there is an alpha channel or a transparent colour.
        bits_per_sample: Bits of one channel as stored; views have 8.
        color_profile: `none`, `srgb` (embedded, says what sRGB says), `applied` (converted to sRGB)
            or `broken` (embedded but unusable, taken for sRGB).
    """

    width: int
    height: int
    format: str
    mode: str
    orientation: int
    num_frames: int
    has_alpha: bool
    bits_per_sample: int
    color_profile: Literal["none", "srgb", "applied", "broken"]


@dataclass(frozen=True, eq=False)
class View:
    """One image as a stage asked to see it.

    Attributes:
        pixels: (height, width, 3) sRGB, uint8, read-only: stages with the same spec share it.
        header: The file's facts; the same for every view of it.
    """

    pixels: NDArray[np.uint8]
    header: Header
