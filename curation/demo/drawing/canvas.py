"""A canvas that draws at twice the size and gives smooth edges.

All coordinates and sizes are in pixels of the finished picture and may be fractions.
"""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from curation.demo.drawing.fonts import Font, font
from curation.demo.drawing.palettes import RGB

Point = tuple[float, float]
Ink = RGB | tuple[int, int, int, int]


class Canvas:
    """A picture in the making; `finish` gives it at the size asked for.

    Args:
        size: Width and height of the finished picture.
        ground: Colour of the empty canvas; four values make a transparent canvas.
        oversample: Drawn pixels per finished pixel; 1 keeps hard edges.
    """

    def __init__(self, size: tuple[int, int], ground: Ink, oversample: int = 2) -> None:
        self.width, self.height = size
        self._times = oversample
        mode = "RGBA" if len(ground) == 4 else "RGB"
        self.image = Image.new(mode, (size[0] * oversample, size[1] * oversample), ground)
        self._draw = ImageDraw.Draw(self.image, "RGBA" if mode == "RGB" else None)

    def finish(self) -> Image.Image:
        """Return the picture at its finished size."""
        return self.image.reduce(self._times) if self._times > 1 else self.image

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: Ink | None = None,
        *,
        radius: float = 0,
        outline: Ink | None = None,
        stroke: float = 1,
    ) -> None:
        """Draw a rectangle, with round corners if `radius` is given."""
        if right <= left or bottom <= top:
            return
        corners = self._scaled((left, top), (right, bottom))
        corners = [corners[0], (corners[1][0] - 1, corners[1][1] - 1)]
        if corners[1][0] < corners[0][0] or corners[1][1] < corners[0][1]:
            return
        line = self._stroke(stroke) if outline else 0
        if radius > 0:
            self._draw.rounded_rectangle(corners, radius * self._times, fill, outline, line)
        else:
            self._draw.rectangle(corners, fill, outline, line)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        fill: Ink | None = None,
        *,
        outline: Ink | None = None,
        stroke: float = 1,
    ) -> None:
        """Draw a circle around a centre."""
        self.oval(x - radius, y - radius, x + radius, y + radius, fill, outline, stroke)

    def oval(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: Ink | None = None,
        outline: Ink | None = None,
        stroke: float = 1,
    ) -> None:
        """Draw an ellipse that fills a rectangle; nothing where there is no room."""
        if right < left or bottom < top:
            return
        corners = self._scaled((left, top), (right, bottom))
        self._draw.ellipse(corners, fill, outline, self._stroke(stroke) if outline else 0)

    def wedge(self, x: float, y: float, radius: float, start: float, end: float, fill: Ink) -> None:
        """Draw a slice of a disc between two angles in degrees, clockwise from three o'clock."""
        radius = max(0.0, radius)
        corners = self._scaled((x - radius, y - radius), (x + radius, y + radius))
        self._draw.pieslice(corners, start, end, fill)

    def arc(
        self,
        x: float,
        y: float,
        radius: float,
        start: float,
        end: float,
        fill: Ink,
        stroke: float = 1,
    ) -> None:
        """Draw a piece of a circle between two angles in degrees."""
        radius = max(0.0, radius)
        corners = self._scaled((x - radius, y - radius), (x + radius, y + radius))
        self._draw.arc(corners, start, end, fill, self._stroke(stroke))

    def polygon(self, points: Sequence[Point], fill: Ink) -> None:
        """Fill a polygon."""
        if len(points) > 2:
            self._draw.polygon(self._scaled(*points), fill)

    def line(self, points: Sequence[Point], fill: Ink, stroke: float = 1) -> None:
        """Draw a line through points, with round joints."""
        if len(points) > 1:
            self._draw.line(self._scaled(*points), fill, self._stroke(stroke), joint="curve")

    def regular(
        self, x: float, y: float, radius: float, corners: int, turn: float, fill: Ink
    ) -> None:
        """Fill a regular polygon, turned by `turn` degrees."""
        steps = [math.radians(turn + 360 * step / corners) for step in range(corners)]
        self.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in steps], fill)

    def rays(
        self, x: float, y: float, count: int, turn: float, inks: Sequence[Ink], share: float
    ) -> None:
        """Draw rays from a point to beyond the edges; `share` is the part of the turn they fill."""
        reach = 2.0 * (self.width + self.height)
        for ray in range(count):
            start = math.radians(turn + 360 * ray / count)
            end = start + 2 * math.pi / count * share
            ends = [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in (start, end)]
            self.polygon([(x, y), *ends], inks[ray % len(inks)])

    def paste(self, picture: Image.Image, left: float, top: float) -> None:
        """Put a picture of drawn pixels (see `drawn`) at a place, through any alpha it has."""
        place = (round(left * self._times), round(top * self._times))
        self.image.paste(picture, place, picture if picture.mode == "RGBA" else None)

    def drawn(self, width: float, height: float) -> tuple[int, int]:
        """Return how many drawn pixels a picture of this finished size has, at least 1 by 1."""
        return max(1, round(width * self._times)), max(1, round(height * self._times))

    def face(self, name: str, size: float) -> Font:
        """Return a font in a finished size."""
        return font(name, max(4, round(size * self._times)))

    def text_width(self, text: str, face: str, size: float) -> float:
        """Return how wide a line of text gets."""
        return self.face(face, size).getlength(text) / self._times

    def text(
        self, x: float, y: float, text: str, face: str, size: float, fill: Ink, anchor: str = "la"
    ) -> None:
        """Write one line; `anchor` is Pillow's, 'la' for left and ascender."""
        self._draw.text(
            (x * self._times, y * self._times), text, fill, self.face(face, size), anchor
        )

    def fitted(self, text: str, face: str, width: float, largest: float) -> float:
        """Return the largest size up to `largest` at which a line fits in `width`."""
        full = self.text_width(text, face, largest)
        return largest if full <= width else largest * width / full

    def wrapped(self, text: str, face: str, size: float, width: float) -> list[str]:
        """Break text into lines that fit in `width`; longer words stand alone."""
        chosen = self.face(face, size)
        limit, space = width * self._times, chosen.getlength(" ")
        lines: list[str] = []
        used = math.inf
        for word in text.split():
            length = chosen.getlength(word)
            if used + space + length <= limit:
                lines[-1] += " " + word
                used += space + length
            else:
                lines.append(word)
                used = length
        return lines

    def paragraph(
        self,
        x: float,
        y: float,
        width: float,
        text: str,
        face: str,
        size: float,
        fill: Ink,
        *,
        leading: float = 1.4,
        align: str = "l",
        bottom: float = math.inf,
    ) -> float:
        """Write wrapped text and return where the next line would start.

        `align` is l, m or r; lines that would pass `bottom` are left out.
        """
        anchor_x = x + {"l": 0.0, "m": width / 2, "r": width}[align]
        for line in self.wrapped(text, face, size, width):
            if y + size * leading > bottom:
                break
            self.text(anchor_x, y, line, face, size, fill, align + "a")
            y += size * leading
        return y

    def _scaled(self, *points: Point) -> list[Point]:
        return [(x * self._times, y * self._times) for x, y in points]

    def _stroke(self, stroke: float) -> int:
        return max(1, round(stroke * self._times))
