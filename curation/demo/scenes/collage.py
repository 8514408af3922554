"""Several photographs in one picture."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random

from PIL import Image, ImageFilter

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import mix, palette
from curation.demo.drawing.photographs import SCENIC, VARIED, any_shot, expose
from curation.demo.scenes.job import Job

_Rect = tuple[float, float, float, float]


def _picture(job: Job, size: tuple[int, int], bases: tuple[str, ...] = VARIED) -> Image.Image:
    shot = any_shot(job.content, size[0] / size[1], bases)
    return tone.graded(expose(shot, size), job.content)


def _split(rect: _Rect, pieces: int, rng: Random) -> Iterator[_Rect]:
    left, top, right, bottom = rect
    if pieces == 1:
        yield rect
        return
    first = rng.randint(1, pieces - 1) if pieces < 4 else rng.randint(pieces // 3, 2 * pieces // 3)
    share = min(0.75, max(0.25, first / pieces + rng.uniform(-0.16, 0.16)))
    if (right - left) * rng.uniform(0.75, 1.33) > bottom - top:
        middle = left + (right - left) * share
        yield from _split((left, top, middle, bottom), first, rng)
        yield from _split((middle, top, right, bottom), pieces - first, rng)
    else:
        middle = top + (bottom - top) * share
        yield from _split((left, top, right, middle), first, rng)
        yield from _split((left, middle, right, bottom), pieces - first, rng)


def panels(job: Job) -> Image.Image:
    """Photographs side by side in panels of many sizes, with a plain or a lettered panel."""
    colours = palette(job.layout)
    sheet = Canvas(job.size, job.layout.choice((colours.ground, (255, 255, 255), (16, 16, 18))), 1)
    gutter = min(job.size) * job.layout.choice((0.0, 0.006, 0.012, 0.025))
    radius = min(job.size) * job.layout.choice((0, 0, 0, 0.02, 0.05))
    edge = gutter if job.layout.random() < 0.7 else min(job.size) * 0.04
    whole = (edge, edge, job.width - edge, job.height - edge)
    plain = job.layout.choice((0.0, 0.12, 0.3))
    for left, top, right, bottom in _split(whole, job.layout.randint(3, 9), job.layout):
        left, top, right, bottom = left + gutter, top + gutter, right - gutter, bottom - gutter
        size = sheet.drawn(right - left, bottom - top)
        if job.content.random() < plain:
            colour = colours.accent(job.content)
            sheet.box(left, top, right, bottom, colour, radius=radius)
            if job.content.random() < 0.5:
                _lettering(sheet, job, (left, top, right, bottom))
        elif radius:
            mask = Canvas(size, (0, 0, 0))
            mask.box(0, 0, *size, (255, 255, 255), radius=radius)
            sheet.image.paste(
                _picture(job, size), (round(left), round(top)), mask.finish().convert("L")
            )
        else:
            sheet.paste(_picture(job, size), left, top)
    return sheet.finish()


def _lettering(sheet: Canvas, job: Job, rect: _Rect) -> None:
    text = job.content.choice(words.NOUNS).upper()
    size = sheet.fitted(text, "sans_bold", (rect[2] - rect[0]) * 0.8, (rect[3] - rect[1]) * 0.4)
    x, y = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2
    sheet.text(x, y, text, "sans_bold", size, (250, 250, 250), "mm")


def prints(job: Job) -> Image.Image:
    """Paper prints scattered over a table."""
    colours = palette(job.layout)
    table = job.layout.choice((*colours.accents, colours.ground, (96, 64, 40)))
    sheet = tone.slope(
        job.size,
        tone.shaded(table, job.layout.uniform(-0.4, 0.1)),
        tone.shaded(table, job.layout.uniform(-0.1, 0.3)),
        turn=job.layout.random(),
    )
    sheet = tone.grained(sheet, job.layout, 6)
    # Places jittered around a grid: prints lie everywhere, and no two tables look alike.
    columns, rows = job.layout.choice(((2, 2), (3, 2), (2, 3), (3, 3), (1, 2), (2, 1), (4, 2)))
    spots = [(column, row) for column in range(columns) for row in range(rows)]
    job.content.shuffle(spots)
    side = (job.width * job.height / len(spots)) ** 0.5
    for column, row in spots:
        x = job.width * (column + job.content.uniform(0.2, 0.8)) / columns
        y = job.height * (row + job.content.uniform(0.2, 0.8)) / rows
        _lay_print(sheet, job, (x, y), side * job.content.uniform(0.6, 1.05))
    return sheet


def _lay_print(sheet: Image.Image, job: Job, centre: tuple[float, float], side: float) -> None:
    aspect = job.content.choice((0.75, 0.8, 1.0, 1.33, 1.5))
    size = (max(8, round(side * aspect**0.5)), max(8, round(side / aspect**0.5)))
    edge = max(1, round(side * 0.035))
    card = Image.new("RGBA", (size[0] + 2 * edge, size[1] + 2 * edge), (248, 247, 243, 255))
    card.paste(_picture(job, size), (edge, edge))
    turned = card.rotate(job.content.gauss(0, 11), Image.Resampling.BICUBIC, expand=True)
    place = (round(centre[0] - turned.width / 2), round(centre[1] - turned.height / 2))
    shade = turned.getchannel("A").point([level // 2 for level in range(256)])
    if edge > 3:
        shade = shade.filter(ImageFilter.BoxBlur(edge / 3))
    sheet.paste((0, 0, 0), (place[0] + edge // 2, place[1] + edge // 2 + 1), shade)
    sheet.paste(turned, place, turned)


def film_strip(job: Job) -> Image.Image:
    """Strips of film, frame beside frame, with perforations and frame numbers."""
    light = job.layout.random() < 0.35
    sheet = Canvas(job.size, (236, 234, 226) if light else (52, 50, 50), 1)
    upright = job.layout.random() < 0.4
    strips = job.layout.randint(1, 3)
    length, across = (job.height, job.width) if upright else (job.width, job.height)
    pitch = across / strips
    film = (24, 21, 20)
    for strip in range(strips):
        start = strip * pitch + pitch * 0.03
        width = pitch * 0.94
        _rect(sheet, upright, 0, start, length, start + width, film)
        frame = width * job.layout.uniform(0.85, 1.25)
        along = -frame * job.layout.random()
        hole = width * 0.045
        position = -hole * job.layout.random() * 2
        while position < length:
            for side in (0.035, 0.92):
                top = start + width * side
                _rect(sheet, upright, position, top, position + hole, top + hole, (230, 226, 214))
            position += hole * 2
        number = job.content.randint(1, 30)
        while along < length:
            size = (frame * 0.95, width * 0.76)
            shape = sheet.drawn(*(reversed(size) if upright else size))
            picture = _picture(job, shape, SCENIC)
            spot = (start + width * 0.12, along) if upright else (along, start + width * 0.12)
            sheet.paste(picture, *spot)
            if not upright:
                label = f"{number}  LT {number}A"
                sheet.text(
                    along, start + width * 0.885, label, "mono", width * 0.03, (240, 180, 60)
                )
            along, number = along + frame, number + 1
    return sheet.finish()


def _rect(
    sheet: Canvas,
    upright: bool,
    x: float,
    y: float,
    right: float,
    bottom: float,
    fill: tuple[int, int, int],
) -> None:
    if upright:
        sheet.box(y, x, bottom, right, fill)
    else:
        sheet.box(x, y, right, bottom, fill)


def gallery_wall(job: Job) -> Image.Image:
    """A room's wall with framed pictures, a floor, and lamps above."""
    colours = palette(job.layout)
    wall = mix(colours.accent(job.layout), (235, 232, 226), job.layout.uniform(0.1, 0.8))
    sheet = Canvas(job.size, wall, 1)
    unit = min(job.size) / 100
    floor = job.height * job.layout.uniform(0.76, 0.92)
    sheet.box(0, floor, job.width, job.height, job.layout.choice(((92, 66, 46), (60, 60, 66))))
    sheet.box(0, floor, job.width, floor + unit * 2, (244, 242, 238))
    frames = job.layout.randint(2, 5)
    edges = [0.0]
    for _ in range(frames):
        edges.append(edges[-1] + job.layout.uniform(0.6, 1.6))
    for start, end in pairwise(edges):
        left = job.width * (start / edges[-1]) + 3 * unit
        right = job.width * (end / edges[-1]) - 3 * unit
        high = min(floor * job.layout.uniform(0.35, 0.8), (right - left) * 1.7)
        top = (floor - high) * job.layout.uniform(0.25, 0.75)
        lamp = (left + right) / 2
        glow = [(lamp, 0), (right + 4 * unit, floor), (left - 4 * unit, floor)]
        sheet.polygon(glow, (255, 246, 214, 46))
        frame = job.layout.choice(((26, 24, 24), (140, 104, 60), (240, 238, 232)))
        sheet.box(left + unit, top + unit, right + unit, top + high + unit, (0, 0, 0, 70))
        sheet.box(left, top, right, top + high, frame)
        mat = unit * job.layout.choice((1.2, 2.2, 4))
        sheet.box(left + unit, top + unit, right - unit, top + high - unit, (247, 245, 240))
        size = sheet.drawn(max(4, right - left - 2 * mat), max(4, high - 2 * mat))
        sheet.paste(_picture(job, size), left + mat, top + mat)
    for _ in range(job.layout.randint(0, 2)):
        _visitor(sheet, job.layout, floor, unit)
    return sheet.finish()


def _visitor(sheet: Canvas, rng: Random, floor: float, unit: float) -> None:
    x, tall = rng.uniform(0.1, 0.9) * sheet.width, rng.uniform(30, 48) * unit
    feet = floor + 8 * unit
    dark = rng.choice(((22, 22, 30), (50, 24, 30), (24, 40, 52)))
    head = tall * 0.075
    sheet.disc(x, feet - tall + head, head, dark)
    sheet.box(
        x - head * 1.5, feet - tall * 0.84, x + head * 1.5, feet - tall * 0.42, dark, radius=head
    )
    sheet.box(x - head * 1.1, feet - tall * 0.5, x - head * 0.1, feet, dark)
    sheet.box(x + head * 0.1, feet - tall * 0.5, x + head * 1.1, feet, dark)
