"""What a file of the corpus is, as planned."""

from dataclasses import dataclass, field
from typing import Literal

from curation.demo.drawing.photographs import Shot

Kind = Literal["unique", "exact_copy", "near_copy", "hard_negative", "broken", "odd"]
Format = Literal["JPEG", "PNG", "WEBP"]


@dataclass(frozen=True)
class PlannedCopy:
    """A copy of an original.

    Attributes:
        index: Number of the file in the corpus; seeds every draw that the copy needs.
        path: Below `images/`; bytes that are no UTF-8 as surrogates, as Python spells file names.
        edit: Name in `edits.EDITS`; null for an exact copy.
        of: Position of the file that is copied: 0 is the original, n its n-th planned copy.
    """

    index: int
    path: str
    edit: str | None
    of: int


@dataclass(frozen=True)
class PlannedImage:
    """An original and everything that is made from it, by one process in one go.

    Attributes:
        index: Number of the file in the corpus; seeds every draw that the image needs.
        kind: What the original is; its copies are `exact_copy` or `near_copy`.
        path: Below `images/`, like `PlannedCopy.path`.
        leaf: Position of its category in the catalogue.
        size: Width and height in pixels.
        format: File format, unless a way of being odd or broken states another.
        shot: The window reserved in a photograph, for scenes that show one.
        template: Index that seeds the layout; equal for the members of a family of hard negatives.
        detail: Name in `odd.ODD` or `broken.BROKEN`.
        copies: In the order in which they are made.
    """

    index: int
    kind: Kind
    path: str
    leaf: int
    size: tuple[int, int]
    format: Format
    shot: Shot | None
    template: int
    detail: str | None = None
    copies: tuple[PlannedCopy, ...] = field(default=())
