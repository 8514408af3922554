"""Which windows of which photographs are shown, so that two images share few pixels."""

from random import Random

from PIL import ImageStat

from curation.demo.drawing.photographs import (
    PHOTOGRAPHS,
    Box,
    Shot,
    photograph,
    place_box,
)

_CANDIDATES = 40
_SMALLEST_PX = 100  # the shorter side of a window, in the photograph's own pixels
_ENOUGH_OVERLAP = 0.2
_SHOWN = 0.6  # of the subject, or of the window if that is smaller
_DULL = 14.0  # standard deviation of brightness below which a window shows nothing


def iou(one: Box, two: Box) -> float:
    """Return the intersection of two boxes over their union."""
    both = overlap(one, two)
    return both / (area(one) + area(two) - both)


def overlap(one: Box, two: Box) -> float:
    """Return the area that two boxes share."""
    wide = min(one[2], two[2]) - max(one[0], two[0])
    high = min(one[3], two[3]) - max(one[1], two[1])
    return max(0.0, wide) * max(0.0, high)


def area(box: Box) -> float:
    """Return the area of a box, as a share of the whole picture."""
    return (box[2] - box[0]) * (box[3] - box[1])


def inside(outer: Box, inner: Box) -> Box:
    """Return a box given in the frame of `outer`, in the frame in which `outer` is given."""
    wide, high = outer[2] - outer[0], outer[3] - outer[1]
    return (
        outer[0] + inner[0] * wide,
        outer[1] + inner[1] * high,
        outer[0] + inner[2] * wide,
        outer[1] + inner[3] * high,
    )


class Windows:
    """Hands out windows; each new one keeps away from those handed out before."""

    def __init__(self) -> None:
        self._taken: dict[str, list[Box]] = {}

    def reserve(
        self, rng: Random, base: str, aspect: float, *, flipped: bool, subject: bool
    ) -> Shot:
        """Return a window of an aspect in a photograph, and keep it.

        Of many windows drawn by chance it takes the largest of those that overlap earlier ones
        little; where none does, the one that overlaps least. So the first images of a photograph
        show most of it, and later ones its details. Windows that show next to nothing come last.

        Args:
            rng: Draws the candidates.
            base: Name of the photograph.
            aspect: Width over height, in pixels.
            flipped: Whether the window may be mirrored.
            subject: Whether the window has to show the photograph's subject, or a part of it and
                little else.
        """
        taken = self._taken.setdefault(base, [])
        width, height = PHOTOGRAPHS[base].size
        largest = min(width, height * aspect) if aspect >= 1 else min(height, width / aspect)
        shorter = largest / aspect if aspect >= 1 else largest * aspect
        smallest = min(0.9, max(0.22, _SMALLEST_PX / shorter))
        best: tuple[float, float, Box] | None = None
        for _ in range(_CANDIDATES):
            scale = smallest + (1 - smallest) * rng.random() ** 1.5
            box = place_box(rng, base, aspect, scale)
            shared = max((iou(box, other) for other in taken), default=0.0)
            if _is_dull(base, box) or (subject and not _shows_subject(base, box)):
                shared += 1
            rank = (max(shared, _ENOUGH_OVERLAP), -scale, box)
            best = rank if best is None else min(best, rank)
        assert best is not None
        taken.append(best[2])
        return Shot(base, best[2], flipped and rng.random() < 0.5)


def _is_dull(base: str, box: Box) -> bool:
    picture = photograph(base)
    wide, high = picture.size
    edges = (box[0] * wide, box[1] * high, box[2] * wide, box[3] * high)
    small = picture.resize((24, 24), box=edges, reducing_gap=1.0).convert("L")
    return ImageStat.Stat(small).stddev[0] < _DULL


def _shows_subject(base: str, box: Box) -> bool:
    subject = PHOTOGRAPHS[base].subject
    return overlap(box, subject) >= _SHOWN * min(area(box), area(subject))
