"""Rendered pictures of which everything is known: one coloured shape on a plain grey ground.

Shape suffixes: N pictures, Y X rows and columns of pixels, K templates.

A picture is drawn from a finite set of outlines (`OUTLINES`: form, size, place), a palette of six
colours and a grey, so that an oracle can try them all; see `benchmarks.evidence.oracle`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE_PX = 32

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "yellow": (230, 210, 40),
    "magenta": (210, 50, 200),
    "green": (40, 170, 60),
    "cyan": (40, 200, 210),
    "blue": (50, 70, 220),
}
"""Name -> sRGB."""

DOMAINS: Mapping[str, tuple[str, ...]] = {
    "warm": ("red", "yellow", "magenta"),
    "cold": ("green", "cyan", "blue"),
}
"""Domain -> its colours; together they are all colours."""

FORMS = ("circle", "square", "triangle", "cross")
SIZES_PX = (13, 17, 21)
SHIFTS_PX = (-4, -2, 0, 2, 4)
GREYS = (30, 130)
"""Of the ground, both ends included: darker than the palette, so that each colour stands out."""

_FINER = 8  # samples of an edge pixel's side: edges are smooth, as in a picture made smaller


@dataclass(frozen=True)
class Outline:
    """What is drawn, but for its colour.

    Attributes:
        form: One of `FORMS`.
        size_px: Edge of the square around it.
        right_px: Of the middle of the picture.
        down_px: Of the middle of the picture.
    """

    form: str
    size_px: int
    right_px: int
    down_px: int


OUTLINES: tuple[Outline, ...] = tuple(
    Outline(form, size, right, down)
    for form in FORMS
    for size in SIZES_PX
    for right in SHIFTS_PX
    for down in SHIFTS_PX
)


@dataclass(frozen=True)
class Prompt:
    """What a picture shows, or is asked to show.

    Attributes:
        color: One of `COLORS`.
        form: One of `FORMS`.
    """

    color: str
    form: str

    @property
    def text(self) -> str:
        """Such as `a red circle`."""
        return f"a {self.color} {self.form}"

    @property
    def domain(self) -> str:
        """The domain of the colour."""
        return next(name for name, colors in DOMAINS.items() if self.color in colors)


@dataclass(frozen=True)
class Pictures:
    """Some pictures, and what is on them.

    Attributes:
        pixels_NYX3: uint8 sRGB.
        prompts: What is on each.
    """

    pixels_NYX3: NDArray[np.uint8]
    prompts: tuple[Prompt, ...]

    def __len__(self) -> int:
        return len(self.prompts)


def prompts(count: int, domain: str | None = None) -> list[Prompt]:
    """Return `count` prompts in a fixed order, each pair of colour and form as often as the others.

    Args:
        count: How many.
        domain: Whose colours; null for all.
    """
    pairs = [Prompt(color, form) for color in colors_of(domain) for form in FORMS]
    return [pairs[number % len(pairs)] for number in range(count)]


def colors_of(domain: str | None) -> tuple[str, ...]:
    """Return the names of a domain's colours, of all where it is null."""
    return tuple(COLORS) if domain is None else DOMAINS[domain]


@functools.cache
def coverages_KYX() -> NDArray[np.float32]:
    """Return the share of each pixel that each of `OUTLINES` covers, 0 to 1."""
    return np.stack([_coverage(outline) for outline in OUTLINES])


def draw(count: int, seed: int, domain: str | None = None) -> Pictures:
    """Draw pictures of random outlines, colours and grounds.

    Args:
        count: How many.
        seed: Other pictures for another seed.
        domain: Whose colours; null for all.
    """
    rng = np.random.default_rng(seed)
    names = colors_of(domain)
    outlines = rng.integers(0, len(OUTLINES), count)
    colors = [names[number] for number in rng.integers(0, len(names), count)]
    greys = rng.integers(GREYS[0], GREYS[1] + 1, count)
    pixels = render(outlines.tolist(), colors, greys.tolist())
    forms = [OUTLINES[number].form for number in outlines]
    return Pictures(pixels, tuple(map(Prompt, colors, forms)))


def render(
    outlines: Sequence[int], colors: Sequence[str], greys: Sequence[int]
) -> NDArray[np.uint8]:
    """Return pictures (N, Y, X, 3).

    Args:
        outlines: N places in `OUTLINES`.
        colors: N names.
        greys: N levels of the ground.
    """
    coverage = coverages_KYX()[np.array(outlines, np.int64)][..., None]
    paint = np.array([COLORS[color] for color in colors], np.float32)[:, None, None, :]
    ground = np.array(greys, np.float32)[:, None, None, None]
    return np.rint(ground + coverage * (paint - ground)).astype(np.uint8)


def _coverage(outline: Outline) -> NDArray[np.float32]:
    places = (np.arange(EDGE_PX * _FINER) + 0.5) / _FINER - EDGE_PX / 2
    # From -1 to 1 across the square around the form.
    x = ((places - outline.right_px) / (outline.size_px / 2))[None, :]
    y = ((places - outline.down_px) / (outline.size_px / 2))[:, None]
    inside = _INSIDE[outline.form](x, y)
    cells = inside.reshape(EDGE_PX, _FINER, EDGE_PX, _FINER).astype(np.float32)
    covered: NDArray[np.float32] = cells.mean(axis=(1, 3))
    return covered


_INSIDE = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.85,
    "triangle": lambda x, y: (abs(x) <= (y + 1) / 2) & (y <= 1),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1),
}
"""Form -> what says of places in a square from -1 to 1, y downwards, whether they are inside."""
