"""Comic pages and pictures of few large pixels."""

from random import Random

import numpy as np
from PIL import Image, ImageOps

from curation.demo import seeds
from curation.demo.drawing import words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import Palette, palette
from curation.demo.scenes.illustration import city, landscape, planets
from curation.demo.scenes.job import Job

_Rect = tuple[float, float, float, float]


def comic(job: Job) -> Image.Image:
    """A comic page: panels with backgrounds, people who talk, bubbles."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, (252, 250, 244))
    unit = min(job.size) / 100
    gap = unit * 1.2
    rows = rng.randint(1, 3) if job.width > job.height else rng.randint(2, 4)
    heights = [rng.uniform(0.7, 1.5) for _ in range(rows)]
    y = gap
    for part in heights:
        high = (job.height - gap) * part / sum(heights)
        widths = [rng.uniform(0.6, 1.6) for _ in range(rng.randint(1, 3))]
        x = gap
        for share in widths:
            wide = (job.width - gap) * share / sum(widths)
            _panel(sheet, job, (x, y, x + wide - gap, y + high - gap), colours)
            x += wide
        y += high
    return sheet.finish()


def _panel(sheet: Canvas, job: Job, rect: _Rect, colours: Palette) -> None:
    rng = job.content
    wide, high = round(rect[2] - rect[0]), round(rect[3] - rect[1])
    if wide < 8 or high < 8:
        return
    scenery = rng.randrange(6)
    panel = Canvas((wide, high), rng.choice((*colours.accents, colours.ground)))
    if scenery < 3:
        place = (landscape, city, planets)[scenery](Job((wide, high), rng, rng))
        panel.image.paste(place.resize(panel.image.size))
    elif scenery == 3:
        x, y, ink = rng.uniform(0, wide), rng.uniform(0, high), rng.choice(colours.accents)
        panel.rays(x, y, 9, rng.uniform(0, 40), [ink], 0.5)
    else:
        faint = (*rng.choice(colours.accents), 140)
        pitch = min(wide, high) / 14
        for row in range(int(high / pitch) + 1):
            for column in range(int(wide / pitch) + 1):
                panel.disc(column * pitch, row * pitch, pitch * 0.45 * row * pitch / high, faint)
    people = rng.randint(1, 2)
    for index in range(people):
        x = wide * (index + rng.uniform(0.3, 0.7)) / people
        size = min(wide / people, high) * rng.uniform(0.14, 0.3)
        _person(panel, rng, (x, high * rng.uniform(0.55, 0.75)), size, colours)
    if rng.random() < 0.8:
        _bubble(panel, rng, wide, high)
    panel.box(0, 0, wide, high, outline=(20, 20, 24), stroke=max(1.0, min(wide, high) * 0.012))
    sheet.paste(panel.image, rect[0], rect[1])


def _person(
    panel: Canvas, rng: Random, place: tuple[float, float], size: float, colours: Palette
) -> None:
    x, y = place
    line = (24, 22, 26)
    skin = rng.choice(((246, 214, 180), (198, 144, 104), (122, 82, 58), (240, 196, 150)))
    coat, hair = (
        rng.choice(colours.accents),
        rng.choice(((40, 30, 26), (150, 90, 40), (210, 180, 90))),
    )
    panel.box(x - size * 1.3, y + size * 1.1, x + size * 1.3, panel.height, coat, radius=size * 0.5)
    panel.disc(x, y - size * 0.15, size * 1.12, hair)
    panel.disc(x, y, size, skin, outline=line, stroke=size * 0.05)
    look = rng.uniform(-0.2, 0.2) * size
    for side in (-1, 1):
        eye = x + side * size * 0.35 + look
        panel.oval(
            eye - size * 0.14, y - size * 0.25, eye + size * 0.14, y + size * 0.1, (255, 255, 255)
        )
        panel.disc(eye + look * 0.3, y - size * 0.05, size * 0.08, line)
    mouth = rng.randrange(3)
    if mouth == 0:
        panel.arc(x + look, y + size * 0.3, size * 0.3, 10, 170, line, size * 0.07)
    elif mouth == 1:
        panel.disc(x + look, y + size * 0.5, size * 0.18, (140, 30, 40))
    else:
        panel.box(
            x + look - size * 0.25, y + size * 0.5, x + look + size * 0.25, y + size * 0.56, line
        )


def _bubble(panel: Canvas, rng: Random, wide: int, high: int) -> None:
    text = words.sentence(rng) if rng.random() < 0.6 else rng.choice(words.NOUNS).upper() + "!"
    size = max(5.0, min(wide, high) * 0.06)
    across = wide * rng.uniform(0.45, 0.85)
    lines = panel.wrapped(text, "sans_oblique", size, across - 2 * size)
    tall = len(lines) * size * 1.3 + size * 1.2
    x, y = (wide - across) * rng.random(), high * 0.04
    tail = [(x + across * 0.4, y + tall - 2), (x + across * 0.55, y + tall - 2)]
    panel.polygon(
        [*tail, (x + across * rng.uniform(0.3, 0.7), y + tall + size * 2)], (255, 255, 255)
    )
    panel.box(x, y, x + across, y + tall, (255, 255, 255), radius=size)
    left, inside = x + size, across - 2 * size
    panel.paragraph(
        left, y + size * 0.6, inside, text, "sans_oblique", size, (20, 20, 24), leading=1.3
    )


def sprites(job: Job) -> Image.Image:
    """Small creatures of square pixels, alike left and right, in rows."""
    rng = job.layout
    colours = palette(rng)
    rows = rng.randint(2, 4)
    columns = max(2, round(rows * job.width / job.height))
    side = rng.choice((7, 8, 9, 11))
    grid = np.zeros((rows * (side + 2), columns * (side + 2), 3), np.uint8)
    grounds = (colours.ground, colours.ink, *colours.accents)
    grid[:] = rng.choice(grounds)
    noise = seeds.array_rolls(job.content)
    for row in range(rows):
        for column in range(columns):
            half = noise.random((side, -(-side // 2))) < noise.uniform(0.35, 0.65)
            tint = noise.integers(0, 4, half.shape)
            body = np.concatenate([half, half[:, : side // 2][:, ::-1]], 1)
            tint = np.concatenate([tint, tint[:, : side // 2][:, ::-1]], 1)
            inks = np.array(colours.accents, np.uint8)
            if noise.random() < 0.5:
                tint[:] = int(noise.integers(0, 4))
            cell = grid[row * (side + 2) :, column * (side + 2) :][: side + 2, : side + 2]
            if noise.random() < 0.5:
                cell[:] = grounds[int(noise.integers(0, len(grounds)))]
            cell[1 : side + 1, 1 : side + 1][body] = inks[tint[body]]
    return Image.fromarray(grid).resize(job.size, Image.Resampling.NEAREST)


def pixel_scene(job: Job) -> Image.Image:
    """Scenery in a dozen colours and a hundred pixels across."""
    pixels = job.layout.choice((64, 96, 128, 160))
    scale = pixels / max(job.size)
    small = (max(8, round(job.width * scale)), max(8, round(job.height * scale)))
    scene = job.layout.choice((landscape, city, planets))
    picture = scene(Job((small[0] * 2, small[1] * 2), job.layout, job.content)).resize(small)
    dither = Image.Dither.FLOYDSTEINBERG if job.layout.random() < 0.5 else Image.Dither.NONE
    chosen = picture.quantize(job.layout.randint(6, 16), Image.Quantize.MEDIANCUT)
    picture = picture.quantize(palette=chosen, dither=dither).convert("RGB")
    return ImageOps.autocontrast(picture).resize(job.size, Image.Resampling.NEAREST)
