"""The photographs that come inside scikit-image, scikit-learn and matplotlib, and cuts of them."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image, ImageOps

from curation.demo.drawing.wheels import package_file

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares (0 to 1) of a picture's width and height."""


@dataclass(frozen=True)
class Photograph:
    """A photograph in a wheel.

    Attributes:
        package: Import name of the package that brings it.
        path: Below the package's folder.
        size: Width and height in pixels.
        subject: Where that lies after which its category is called.
    """

    package: str
    path: str
    size: tuple[int, int]
    subject: Box = (0.0, 0.0, 1.0, 1.0)


PHOTOGRAPHS: dict[str, Photograph] = {
    "astronaut": Photograph("skimage", "data/astronaut.png", (512, 512), (0.24, 0.0, 0.66, 0.55)),
    "brick": Photograph("skimage", "data/brick.png", (512, 512)),
    "cameraman": Photograph("skimage", "data/camera.png", (512, 512), (0.05, 0.1, 0.75, 0.95)),
    "cat": Photograph("skimage", "data/chelsea.png", (451, 300), (0.1, 0.0, 0.85, 1.0)),
    "coffee": Photograph("skimage", "data/coffee.png", (600, 400), (0.12, 0.0, 0.8, 0.95)),
    "coins": Photograph("skimage", "data/coins.png", (384, 303)),
    "dahlia": Photograph(
        "sklearn", "datasets/images/flower.jpg", (640, 427), (0.26, 0.08, 0.74, 0.8)
    ),
    "galaxies": Photograph("skimage", "data/hubble_deep_field.jpg", (1000, 872)),
    "grass": Photograph("skimage", "data/grass.png", (512, 512)),
    "gravel": Photograph("skimage", "data/gravel.png", (512, 512)),
    "hopper": Photograph(
        "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (512, 600), (0.2, 0.0, 0.8, 0.65)
    ),
    "moon": Photograph("skimage", "data/moon.png", (512, 512)),
    "motorcycle": Photograph(
        "skimage", "data/motorcycle_left.png", (741, 500), (0.1, 0.2, 0.97, 1.0)
    ),
    "pagoda": Photograph(
        "sklearn", "datasets/images/china.jpg", (640, 427), (0.18, 0.0, 0.62, 0.85)
    ),
    "print": Photograph("skimage", "data/page.png", (384, 191)),
    "retina": Photograph("skimage", "data/retina.jpg", (1411, 1411)),
    "rocket": Photograph("skimage", "data/rocket.jpg", (640, 427), (0.4, 0.25, 0.65, 0.95)),
    "script": Photograph("skimage", "data/text.png", (448, 172)),
    "tissue": Photograph("skimage", "data/ihc.png", (512, 512)),
}

# In colour and with something to see in every corner.
SCENIC: tuple[str, ...] = (
    "astronaut",
    "hopper",
    "cat",
    "coffee",
    "dahlia",
    "motorcycle",
    "pagoda",
    "rocket",
)
VARIED: tuple[str, ...] = (*SCENIC, "cameraman", "galaxies", "tissue", "coins", "moon", "retina")


@dataclass(frozen=True)
class Shot:
    """A window in a photograph, perhaps mirrored left to right."""

    base: str
    box: Box
    mirrored: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in the photograph's own pixels."""
        width, height = PHOTOGRAPHS[self.base].size
        left, top, right, bottom = self.box
        return (right - left) * width, (bottom - top) * height


@lru_cache(maxsize=len(PHOTOGRAPHS))
def photograph(base: str) -> Image.Image:
    """Return a whole photograph in RGB; do not change it."""
    entry = PHOTOGRAPHS[base]
    with Image.open(package_file(entry.package, entry.path)) as file:
        return file.convert("RGB")


def expose(shot: Shot, size: tuple[int, int]) -> Image.Image:
    """Return a window of a photograph at `size`, the longer direction cut to fit the aspect."""
    whole = photograph(shot.base)
    left, right = shot.box[0] * whole.width, shot.box[2] * whole.width
    top, bottom = shot.box[1] * whole.height, shot.box[3] * whole.height
    width, height = right - left, bottom - top
    if width * size[1] > height * size[0]:
        spare = width - height * size[0] / size[1]
        left, right = left + spare / 2, right - spare / 2
    else:
        spare = height - width * size[1] / size[0]
        top, bottom = top + spare / 2, bottom - spare / 2
    picture = whole.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom), 2.0)
    return ImageOps.mirror(picture) if shot.mirrored else picture


def any_shot(
    rng: Random,
    aspect: float,
    bases: tuple[str, ...] = VARIED,
    scales: tuple[float, float] = (0.3, 1.0),
) -> Shot:
    """Draw a window with an aspect (width over height) in one of some photographs.

    `scales` bounds the window's size as a share of the largest one with that aspect.
    """
    base = rng.choice(bases)
    return Shot(base, place_box(rng, base, aspect, rng.uniform(*scales)), rng.random() < 0.5)


def place_box(rng: Random, base: str, aspect: float, scale: float) -> Box:
    """Draw a place for a window of an aspect and a share of the largest window possible."""
    width, height = PHOTOGRAPHS[base].size
    wide = min(1.0, aspect * height / width) * scale
    high = min(1.0, width / height / aspect) * scale
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    return left, top, left + wide, top + high
