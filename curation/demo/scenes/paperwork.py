"""The desk under a paper document, and the pieces that documents share."""

import math
from random import Random

from PIL import Image

from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import RGB, palette
from curation.demo.drawing.photographs import VARIED, any_shot, expose
from curation.demo.scenes.job import Job

Rect = tuple[float, float, float, float]
INK = (38, 36, 40)
_PAPERS = ((255, 255, 255), (252, 248, 238), (244, 236, 218), (236, 240, 243), (250, 240, 226))
_DESKS = (
    (98, 70, 48),
    (48, 50, 54),
    (186, 160, 128),
    (120, 130, 132),
    (60, 84, 78),
    (200, 196, 188),
)


def blank_page(job: Job) -> tuple[Canvas, float, RGB]:
    """Return an upright page for a job, the unit (a hundredth of its width), its colour."""
    paper = job.layout.choice(_PAPERS)
    aspect = job.layout.uniform(1.2, 1.5)
    if job.height > job.width:
        width, height = job.width, round(min(job.height, job.width * aspect))
    else:
        width, height = round(job.height / aspect), job.height
    page = Canvas((width, height), paper)
    return page, min(width, height) / 100, paper


def on_desk(job: Job, page: Canvas) -> Image.Image:
    """Return a page as somebody photographed it: turned, among things on a desk, under a lamp."""
    rng = job.layout
    desk = rng.choice((*_DESKS, *palette(rng).accents))
    sheet = tone.slope(
        job.size,
        tone.shaded(desk, rng.uniform(-0.4, 0.1)),
        tone.shaded(desk, 0.2),
        turn=rng.random(),
    )
    if rng.random() < 0.4:
        shot = any_shot(rng, job.width / job.height, ("brick", "gravel", "grass", "tissue"))
        sheet = Image.blend(sheet, expose(shot, job.size), rng.uniform(0.3, 0.8))
    spread = max(job.size)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _lay(sheet, _thing(rng, min(job.size)), rng, (rng.random(), rng.random()), 40)
    picture = page.finish()
    scale = rng.uniform(0.8, 1.12) * min(1.0, spread * 0.75 / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    spot = (rng.uniform(0.3, 0.7), rng.uniform(0.38, 0.62))
    _lay(sheet, picture, rng, spot, rng.choice((0, 4, 12)))
    if rng.random() < 0.3:
        _lay(sheet, _thing(rng, min(job.size)), rng, (rng.random(), rng.random()), 40)
    if rng.random() < 0.5:
        lamp = tone.slope(job.size, (255, 255, 255), (110, 106, 100), turn=rng.random())
        if rng.random() < 0.5:
            lamp = lamp.transpose(Image.Transpose.ROTATE_180)
        sheet = Image.composite(sheet, Image.new("RGB", job.size), lamp.convert("L"))
    return sheet


def _lay(
    sheet: Image.Image,
    picture: Image.Image,
    rng: Random,
    spot: tuple[float, float],
    turn: float,
) -> None:
    """Put a picture down around a spot (shares of the sheet), turned by about `turn` degrees."""
    if turn:
        picture = picture.convert("RGBA")
        picture = picture.rotate(rng.gauss(0, turn), Image.Resampling.BICUBIC, expand=True)
    left = round(spot[0] * sheet.width - picture.width / 2)
    top = round(spot[1] * sheet.height - picture.height / 2)
    drop = max(2, min(sheet.size) // 80)
    if picture.mode == "RGBA":
        shade = picture.getchannel("A").point([level // 2 for level in range(256)])
        sheet.paste((0, 0, 0), (left + drop, top + drop), shade)
        sheet.paste(picture, (left, top), picture)
    else:
        sheet.paste(picture, (left, top))


def _thing(rng: Random, unit: int) -> Image.Image:
    """Return something else that lies on the desk: a folder, a print, a pencil, a saucer."""
    colours = palette(rng)
    kind = rng.randrange(4)
    wide, high = round(unit * rng.uniform(0.3, 0.8)), round(unit * rng.uniform(0.3, 0.8))
    if kind == 0:
        return Image.new("RGB", (wide, high), rng.choice((*colours.accents, colours.ground)))
    if kind == 1:
        picture = expose(any_shot(rng, wide / high, VARIED, (0.5, 1)), (wide, high))
        return tone.graded(picture, rng)
    if kind == 2:
        pencil = Canvas((wide, max(6, unit // 30)), (*colours.accents[0], 255), 1)
        pencil.box(wide * 0.9, 0, wide, pencil.height, (240, 214, 170, 255))
        return pencil.finish()
    saucer = Canvas((wide, wide), (0, 0, 0, 0), 1)
    saucer.disc(wide / 2, wide / 2, wide / 2 - 1, (240, 238, 232, 255))
    saucer.disc(wide / 2, wide / 2, wide * 0.3, (*colours.accents[1], 255))
    saucer.disc(wide / 2, wide / 2, wide * 0.24, (60, 36, 22, 255))
    return saucer.finish()


def picture_in(sheet: Canvas, job: Job, rect: Rect) -> None:
    """Print a cut of some photograph into a rectangle, unless hardly anything would show."""
    if rect[3] - rect[1] < 4 or rect[2] - rect[0] < 4:
        return
    size = sheet.drawn(rect[2] - rect[0], rect[3] - rect[1])
    picture = expose(any_shot(job.content, size[0] / size[1], VARIED, (0.4, 1)), size)
    sheet.paste(tone.graded(picture, job.content), rect[0], rect[1])


def signature(sheet: Canvas, rng: Random, x: float, y: float, unit: float) -> None:
    """Write a signature in blue ink."""
    points, turn = [], rng.uniform(0, 6)
    for step in range(60):
        wave = math.sin(step * 0.9 + turn) * unit * 3 * math.exp(-step / 40)
        points.append(
            (x + step * unit * 0.45 + wave * 0.6, y + wave + rng.uniform(-0.4, 0.4) * unit)
        )
    sheet.line(points, (30, 40, 110), unit * 0.5)


def stamp(sheet: Canvas, rng: Random, spot: tuple[float, float], size: float, ink: RGB) -> None:
    """Press a round rubber stamp."""
    faded = (*ink, 180)
    sheet.disc(*spot, size, outline=faded, stroke=size * 0.1)
    sheet.disc(*spot, size * 0.75, outline=faded, stroke=size * 0.04)
    text = rng.choice(("PAID", "COPY", "FILED", "URGENT", "DRAFT"))
    sheet.text(*spot, text, "sans_bold", size * 0.42, faded, "mm")


def dot_code(sheet: Canvas, rng: Random, left: float, top: float, side: float) -> None:
    """Print a square of dots that looks like a machine-readable code, and says nothing."""
    cell = side / 21
    sheet.box(left - cell, top - cell, left + side + cell, top + side + cell, (255, 255, 255))
    for row in range(21):
        for column in range(21):
            if rng.random() < 0.48:
                x, y = left + column * cell, top + row * cell
                sheet.box(x, y, x + cell, y + cell, (10, 10, 10))
    for x, y in ((0, 0), (14, 0), (0, 14)):
        for inset, ink in ((0, (10, 10, 10)), (1, (255, 255, 255)), (2, (10, 10, 10))):
            first, last = inset * cell, (7 - inset) * cell
            box = (left + x * cell + first, top + y * cell + first)
            sheet.box(*box, left + x * cell + last, top + y * cell + last, ink)
