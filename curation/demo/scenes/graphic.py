"""Abstract graphics: shapes, tiles and cells in a few colours."""

import math
from random import Random

import numpy as np
from PIL import Image

from curation.demo import seeds
from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import RGB, mix, palette
from curation.demo.scenes.job import Job


def geometric(job: Job) -> Image.Image:
    """A composition of discs, bars, arcs and stripes on a plain ground, after the Bauhaus."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, rng.choice((colours.ground, colours.ground, colours.ink)))
    inks = [*colours.accents, colours.ink, colours.ground]
    if rng.random() < 0.4:
        _quilt(sheet, rng, inks)
    else:
        for _ in range(rng.randint(5, 13)):
            _shape(sheet, rng, rng.choice(inks))
    picture = sheet.finish()
    return tone.grained(picture, rng, rng.uniform(2, 7)) if rng.random() < 0.5 else picture


def _quilt(sheet: Canvas, rng: Random, inks: list[RGB]) -> None:
    cells = rng.randint(3, 6)
    pitch = max(sheet.width, sheet.height) / cells
    for row in range(math.ceil(sheet.height / pitch)):
        for column in range(math.ceil(sheet.width / pitch)):
            x, y = column * pitch, row * pitch
            back, front, third = rng.sample(inks, 3)
            sheet.box(x, y, x + pitch, y + pitch, back)
            kind = rng.randrange(7)
            turn = 90 * rng.randrange(4)
            if kind == 0:
                corner = [(x, y), (x + pitch, y), (x + pitch, y + pitch), (x, y + pitch)][
                    turn // 90
                ]
                for share, ink in ((1.0, front), (0.62, third), (0.28, back)):
                    sheet.wedge(*corner, pitch * share, turn, turn + 90, ink)
            elif kind == 1:
                sheet.disc(x + pitch / 2, y + pitch / 2, pitch * rng.uniform(0.25, 0.5), front)
                sheet.disc(x + pitch / 2, y + pitch / 2, pitch * rng.uniform(0.05, 0.22), third)
            elif kind == 2:
                sheet.wedge(x + pitch / 2, y + pitch / 2, pitch / 2, turn, turn + 180, front)
            elif kind == 3:
                corners = [(x, y), (x + pitch, y), (x + pitch, y + pitch), (x, y + pitch)]
                del corners[turn // 90]
                sheet.polygon(corners, front)
            elif kind == 4:
                for stripe in range(4):
                    at = y + pitch * (stripe + 0.25) / 4
                    sheet.box(x, at, x + pitch, at + pitch / 8, front)
            elif kind == 5:
                sheet.box(x, y, x + pitch / 2, y + pitch, front)


def _shape(sheet: Canvas, rng: Random, ink: RGB) -> None:
    unit = min(sheet.width, sheet.height)
    x, y = rng.uniform(0, sheet.width), rng.uniform(0, sheet.height)
    size = unit * rng.uniform(0.08, 0.42)
    kind = rng.randrange(8)
    if kind == 0:
        sheet.disc(x, y, size, ink)
    elif kind == 1:
        sheet.disc(x, y, size, outline=ink, stroke=size * rng.uniform(0.08, 0.4))
    elif kind == 2:
        sheet.wedge(x, y, size * 1.2, *_quarters(rng), ink)
    elif kind == 3:
        turn, thick = rng.uniform(0, math.pi), unit * rng.uniform(0.01, 0.07)
        far = (math.cos(turn) * size * 2, math.sin(turn) * size * 2)
        sheet.line([(x - far[0], y - far[1]), (x + far[0], y + far[1])], ink, thick)
    elif kind == 4:
        sheet.regular(x, y, size, 3, rng.choice((0, 30, 90, 45)), ink)
    elif kind == 5:
        sheet.box(x - size, y - size * 0.6, x + size, y + size * 0.6, ink)
    elif kind == 6:
        for row in range(5):
            for column in range(5):
                sheet.disc(x + column * size / 3, y + row * size / 3, size * 0.06, ink)
    else:
        for stripe in range(rng.randint(3, 7)):
            at = y + stripe * size * 0.22
            sheet.box(x - size, at, x + size * rng.uniform(0.5, 1.2), at + size * 0.1, ink)


def _quarters(rng: Random) -> tuple[float, float]:
    start = 90 * rng.randrange(4)
    return start, start + rng.choice((90, 180, 270))


def gradient(job: Job) -> Image.Image:
    """Soft colour fields that run into each other, as on a telephone's lock screen."""
    rng = job.layout
    colours = palette(rng)
    side = 72
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    bend, beat = rng.uniform(0, 0.25), rng.uniform(3, 9)
    x, y = x + bend * np.sin(y * beat + rng.uniform(0, 6)), y + bend * np.sin(x * beat)
    total = np.full((side, side, 1), 0.02, np.float32)
    field = np.array(colours.ground, np.float32) * total
    for _ in range(rng.randint(6, 11)):
        colour = np.array(rng.choice((*colours.accents, colours.ink, colours.ground)), np.float32)
        spread = rng.uniform(0.06, 0.3)
        away = (x - rng.uniform(-0.1, 1.1)) ** 2 + (y - rng.uniform(-0.1, 1.1)) ** 2
        pull = np.exp(-away / spread**2)[..., None] * rng.uniform(0.5, 2)
        total, field = total + pull, field + pull * colour
    small = Image.fromarray(np.clip(field / total, 0, 255).astype(np.uint8))
    picture = small.resize(job.size, Image.Resampling.BICUBIC)
    return tone.grained(picture, rng, rng.uniform(0.8, 8))


def truchet(job: Job) -> Image.Image:
    """A pattern of quarter circles in turned tiles: endless ribbons."""
    rng = job.layout
    colours = palette(rng)
    back, front, third = rng.sample((*colours.accents, colours.ground, colours.ink), 3)
    sheet = Canvas(job.size, back)
    cells = rng.randint(4, 13)
    pitch = max(job.size) / cells
    # Tiles turn more often one way in some corners, so that the whole has a shape of its own.
    lean_x, lean_y, lean = rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(0, 6)
    thick = pitch * rng.uniform(0.12, 0.4)
    for row in range(math.ceil(job.height / pitch)):
        for column in range(math.ceil(job.width / pitch)):
            x, y = column * pitch, row * pitch
            bias = 0.5 + 0.5 * math.sin(lean + lean_x * column / 3 + lean_y * row / 3)
            if rng.random() < 0.25 * bias:
                sheet.box(x, y, x + pitch, y + pitch, third)
            if rng.random() < bias:
                ends = ((x, y, 0), (x + pitch, y + pitch, 180))
            else:
                ends = ((x + pitch, y, 90), (x, y + pitch, 270))
            for centre_x, centre_y, start in ends:
                sheet.arc(
                    centre_x, centre_y, pitch / 2 + thick / 2, start, start + 90, front, thick
                )
    return sheet.finish()


def cells(job: Job) -> Image.Image:
    """Stained glass: cells around scattered points, leaded."""
    rng = job.layout
    colours = palette(rng)
    points = rng.randint(14, 70)
    noise = seeds.array_rolls(rng)
    spots = noise.random((points, 2)) * np.array(job.size)
    scale = max(1, round(max(job.size) / 420))
    x = np.arange(0, job.width, scale, dtype=np.float32)[None, :]
    y = np.arange(0, job.height, scale, dtype=np.float32)[:, None]
    nearest = np.full((y.size, x.size), np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros((y.size, x.size), np.int32)
    for index, (spot_x, spot_y) in enumerate(spots):
        away = np.hypot(x - spot_x, y - spot_y)
        closer = away < nearest
        second = np.where(closer, nearest, np.minimum(second, away))
        owner[closer] = index
        nearest = np.minimum(nearest, away)
    inks = (*colours.accents, colours.ground, colours.ink)
    drawn = [tone.shaded(rng.choice(inks), rng.uniform(-0.3, 0.3)) for _ in range(points)]
    painted = np.array(drawn, np.float32)[owner]
    glow = 1.12 - 0.35 * (nearest / np.maximum(second, 1))[..., None]
    lead = np.clip((second - nearest) / (min(job.size) * rng.uniform(0.008, 0.02)), 0, 1)[..., None]
    pixels = np.clip(painted * glow * lead + 18 * (1 - lead), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(job.size, Image.Resampling.BICUBIC)


def stripes(job: Job) -> Image.Image:
    """Woven or striped cloth: plaid, ikat, or plain bands."""
    rng = job.layout
    colours = palette(rng)
    inks = [*colours.accents, colours.ground, colours.ink]
    across = _bands(rng, job.width, inks)
    down = _bands(rng, job.height, inks)
    kind = rng.randrange(3)
    if kind == 0:
        pixels = np.broadcast_to(across[None], (job.height, job.width, 3))
        waves = np.sin(np.arange(job.height) / job.height * rng.uniform(3, 20)) * job.width
        shift = (waves * rng.uniform(0.02, 0.14)).astype(np.int64)
        columns = (np.arange(job.width)[None, :] + shift[:, None]) % job.width
        pixels = across[columns]
    else:
        share = rng.uniform(0.35, 0.65)
        pixels = across[None] * share + down[:, None] * (1 - share)
    weave = seeds.array_rolls(rng).normal(0, 5, (job.height, job.width, 1))
    thread = 6 * ((np.arange(job.height)[:, None] + np.arange(job.width)[None, :]) % 4 < 2)
    return Image.fromarray(np.clip(pixels + weave + thread[..., None], 0, 255).astype(np.uint8))


def _bands(
    rng: Random, length: int, inks: list[RGB]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    line = np.zeros((length, 3), np.float32)
    at = 0
    while at < length:
        wide = max(
            2, round(length * rng.choice((0.01, 0.03, 0.06, 0.12, 0.2)) * rng.uniform(0.6, 1))
        )
        line[at : at + wide] = mix(rng.choice(inks), (128, 128, 128), 0.1)
        at += wide
    return line
