"""Lines of text as an engine found them, and the order in which people read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Line:
    """One line of text.

    Attributes:
        text: Its words.
        score: Confidence, 0 to 1.
        quad: (4, 2) corners in pixels of the view, x first, clockwise from where reading begins.
    """

    text: str
    score: float
    quad: NDArray[np.float64]

    @property
    def top(self) -> float:
        """The upper edge of the upright box around the line."""
        return float(self.quad[:, 1].min())

    @property
    def bottom(self) -> float:
        """The lower edge of it."""
        return float(self.quad[:, 1].max())

    @property
    def left(self) -> float:
        """The left edge of it."""
        return float(self.quad[:, 0].min())


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Sort lines into rows from the top, and each row from the left.

    A line belongs to a row when its middle lies between top and bottom of the row's first line.
    Columns are not told apart: their lines come row by row across the page.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.top, line.left, line.text)):
        middle = (line.top + line.bottom) / 2
        row = next((row for row in rows if row[0].top <= middle <= row[0].bottom), None)
        if row is None:
            rows.append([line])
        else:
            row.append(line)
    return [line for row in rows for line in sorted(row, key=lambda line: (line.left, line.top))]


def covered_share(lines: Sequence[Line], width: int, height: int) -> float:
    """Return the share of a picture that the lines' boxes cover, overlaps counted once."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    for line in lines:
        cv2.fillConvexPoly(mask, np.rint(line.quad).astype(np.int32), 1)
    return int(np.count_nonzero(mask)) / (width * height)
