"""Signs: icons on transparent ground, badges, handwritten digits."""

import gzip
import math
from functools import lru_cache

import numpy as np
from PIL import Image

from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas, Ink
from curation.demo.drawing.palettes import contrast, palette, readable_on
from curation.demo.drawing.wheels import package_file
from curation.demo.scenes.job import Job

# Symbols that DejaVu Sans has; drawn large, they are icons.
_SYMBOLS = (
    "\u2600\u2601\u2602\u2603\u2605\u260e\u2615\u2618\u2620\u2622\u2623\u262e\u262f"
    "\u2638\u263a\u263d\u2640\u2642\u2654\u2655\u2656\u2657\u2658\u265a\u265b\u265c\u265d"
    "\u265e\u265f\u2660\u2663\u2665\u2666\u2668\u266a\u266b\u267b\u2691\u2692\u2693\u2694"
    "\u2696\u2697\u2699\u269b\u269c\u26a0\u26a1\u2702\u2706\u2708\u2709\u270c\u270d\u270e"
    "\u2714\u2716\u271a\u2721\u272a\u2730\u2739\u2744\u2764\u2794"
)
_BLACK = (0, 0, 0, 255)


def icon(job: Job) -> Image.Image:
    """A black drawing on fully transparent ground.

    The trap in it: the transparent pixels are black as well, so whoever drops the alpha channel
    sees nothing at all, and every icon equals every other.
    """
    rng = job.layout
    sheet = Canvas(job.size, (0, 0, 0, 0))
    side = min(job.size)
    middle = (job.width / 2, job.height / 2)
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(6)
        turn, reach = rng.uniform(0, 360), side * rng.uniform(0.14, 0.42)
        x = middle[0] + rng.uniform(-0.3, 0.3) * side
        y = middle[1] + rng.uniform(-0.3, 0.3) * side
        if kind == 0:
            sheet.disc(x, y, reach, outline=_BLACK, stroke=reach * rng.uniform(0.1, 0.4))
        elif kind == 1:
            sheet.regular(x, y, reach, rng.randint(3, 8), turn, _BLACK)
            sheet.regular(
                x, y, reach * rng.uniform(0.3, 0.7), rng.randint(3, 8), turn, (0, 0, 0, 0)
            )
        elif kind == 2:
            sheet.wedge(x, y, reach, turn, turn + rng.uniform(60, 280), _BLACK)
        elif kind == 3:
            _gear(sheet, (x, y), reach, rng.randint(6, 14))
        elif kind == 4:
            sheet.box(
                x - reach, y - reach * 0.35, x + reach, y + reach * 0.35, _BLACK, radius=reach / 6
            )
        else:
            sheet.disc(x, y, reach * 0.6, _BLACK)
    for _ in range(rng.randint(1, 2)):
        glyph = rng.choice(_SYMBOLS)
        size = side * rng.uniform(0.35, 0.85)
        spot = tuple(centre + rng.uniform(-0.25, 0.25) * side for centre in middle)
        sheet.text(spot[0], spot[1], glyph, "sans", size, _BLACK, "mm")
    return sheet.finish()


def _gear(sheet: Canvas, centre: tuple[float, float], radius: float, teeth: int) -> None:
    points = []
    for step in range(teeth * 4):
        reach = radius * (1.0 if step % 4 < 2 else 0.76)
        angle = 2 * math.pi * step / (teeth * 4)
        points.append((centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle)))
    sheet.polygon(points, _BLACK)
    sheet.disc(*centre, radius * 0.3, (0, 0, 0, 0))


def badge(job: Job) -> Image.Image:
    """A coloured emblem on transparent ground: a shield or a disc, ribbons, stripes, a symbol."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, (0, 0, 0, 0))
    side = min(job.size) / 2
    x, y = job.width / 2, job.height / 2
    inks: list[Ink] = [(*ink, 255) for ink in (*colours.accents, colours.ink, colours.ground)]
    rng.shuffle(inks)
    for _ in range(rng.randint(1, 3)):
        turn, long = rng.uniform(0, math.pi), side * rng.uniform(0.8, 1.3)
        far = (long * math.cos(turn), long * math.sin(turn))
        ribbon = [(x, y), (x + far[0], y + far[1])]
        sheet.line(ribbon, rng.choice(inks), side * rng.uniform(0.15, 0.5))
    corners = rng.choice((3, 4, 5, 6, 8, 0, 0))
    turn, reach = rng.uniform(0, 90), side * rng.uniform(0.6, 0.98)
    x, y = x + rng.uniform(-0.2, 0.2) * side, y + rng.uniform(-0.2, 0.2) * side
    for ring in range(rng.randint(2, 4)):
        if corners:
            sheet.regular(x, y, reach, corners, turn, inks[ring])
        else:
            sheet.disc(x, y, reach, inks[ring])
        reach *= rng.uniform(0.75, 0.95)
    for _ in range(rng.randint(2, 5)):
        start, shift = rng.uniform(0, 360), rng.uniform(-0.3, 0.3) * reach
        wedge = (x + shift, y - shift, reach * rng.uniform(0.5, 0.9))
        sheet.wedge(*wedge, start, start + rng.uniform(60, 200), rng.choice(inks))
    stripe = side * rng.uniform(0.08, 0.25)
    at = y + rng.uniform(-0.6, 0.6) * side
    sheet.box(x - reach, at - stripe, x + reach * rng.uniform(0.2, 1), at + stripe, inks[-1])
    red, green, blue = inks[-1][:3]
    ink = (*readable_on((red, green, blue)), 255)
    spot = (x + rng.uniform(-0.4, 0.4) * side, y + rng.uniform(-0.4, 0.4) * side)
    sheet.text(*spot, rng.choice(_SYMBOLS), "sans", side * rng.uniform(0.6, 1.4), ink, "mm")
    return sheet.finish()


@lru_cache(maxsize=1)
def _digits() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    path = package_file("sklearn", "datasets/data/digits.csv.gz")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pieces: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = table[:, :64] / np.float32(16)
    return pieces.reshape(-1, 8, 8)


def digits(job: Job) -> Image.Image:
    """Digits that people wrote by hand, enlarged: one, a few, or a sheet of them."""
    rng = job.layout
    colours = palette(rng)
    pieces = _digits()
    rows = rng.randint(3, 8)
    columns = max(1, round(rows * job.width / job.height))
    low = rng.choice((colours.ground, colours.ink, *colours.accents))
    others = (colours.ground, colours.ink, *colours.accents)
    inks = sorted(others, key=lambda ink: -contrast(ink, low))
    wide, tall = -(-job.width // columns), -(-job.height // rows)
    sheet = Image.new("RGB", job.size, low)
    blocky = rng.random() < 0.5
    for row in range(rows):
        for column in range(columns):
            piece = pieces[job.content.randrange(len(pieces))]
            cell = Image.fromarray((piece * 255).astype(np.uint8))
            smooth = Image.Resampling.NEAREST if blocky else Image.Resampling.BICUBIC
            cell = cell.resize((round(wide * 0.86), round(tall * 0.86)), smooth)
            ink = inks[0] if job.content.random() < 0.7 else inks[1]
            ground = tone.shaded(low, job.content.uniform(-0.15, 0.15))
            sheet.paste(ground, (column * wide, row * tall, (column + 1) * wide, (row + 1) * tall))
            place = (column * wide + wide // 14, row * tall + tall // 14)
            sheet.paste(ink, place, cell)
    return sheet
