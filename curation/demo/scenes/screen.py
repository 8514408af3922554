"""Screens of desktop programs: a browser, an editor, a terminal, a spreadsheet."""

from itertools import pairwise
from random import Random

from PIL import Image

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import MONOSPACE, typeface
from curation.demo.drawing.palettes import RGB, mix, palette, readable_on
from curation.demo.drawing.photographs import VARIED, any_shot, expose
from curation.demo.scenes.job import Job

_Rect = tuple[float, float, float, float]


def photo_in(sheet: Canvas, job: Job, rect: _Rect, radius: float = 0) -> None:
    """Fill a rectangle with a cut of some photograph, with round corners if asked."""
    size = sheet.drawn(rect[2] - rect[0], rect[3] - rect[1])
    picture = expose(any_shot(job.content, size[0] / size[1], VARIED, (0.4, 1)), size)
    if radius:
        mask = Canvas(size, (0, 0, 0), 1)
        mask.box(0, 0, *size, (255, 255, 255), radius=radius * size[0] / (rect[2] - rect[0]))
        picture.putalpha(mask.image.convert("L"))
    sheet.paste(picture, rect[0], rect[1])


def _desktop(job: Job, body: RGB, caption: str) -> tuple[Canvas, _Rect, float]:
    """Return a canvas with a window on it, the window's inside, and the size of a letter."""
    rng = job.layout
    colours = palette(rng)
    unit = min(job.size) / 100
    sheet = Canvas(job.size, colours.accents[0])
    full = rng.random() < 0.12
    if full:
        rect = (0.0, 0.0, float(job.width), float(job.height))
    else:
        first, second = rng.sample((*colours.accents, colours.ink, colours.ground), 2)
        if rng.random() < 0.6:
            shot = any_shot(rng, job.width / job.height, VARIED, (0.5, 1))
            sheet.image.paste(tone.graded(expose(shot, sheet.image.size), rng))
        else:
            sheet.image.paste(tone.slope(sheet.image.size, first, second, turn=rng.random()))
        for _ in range(rng.choice((0, 1, 1, 2))):
            wide, high = rng.uniform(0.3, 0.6) * job.width, rng.uniform(0.3, 0.6) * job.height
            x, y = rng.uniform(0, job.width - wide), rng.uniform(0, job.height - high)
            sheet.box(x, y, x + wide, y + high, rng.choice((first, second)), radius=unit)
            sheet.box(x, y, x + wide, y + 4 * unit, mix(first, second, 0.5), radius=unit)
        across, down = rng.uniform(0.5, 0.94), rng.uniform(0.5, 0.94)
        left = job.width * (1 - across) * rng.random()
        top = job.height * (1 - down) * rng.random()
        rect = (left, top, left + job.width * across, top + job.height * down)
        for step in range(5, 0, -1):
            spread = step * unit * 0.5
            shade = (rect[0] - spread, rect[1] - spread * 0.4, rect[2] + spread, rect[3] + spread)
            sheet.box(*shade, (0, 0, 0, 20), radius=unit * 2)
    left, top, right, bottom = rect
    bar = unit * rng.uniform(4, 7)
    chrome = rng.choice((mix(body, (128, 128, 128), 0.25), colours.accents[1], (38, 40, 46)))
    sheet.box(*rect, body, radius=0 if full else unit)
    sheet.box(left, top, right, top + bar, chrome, radius=0 if full else unit)
    dots = ((255, 95, 86), (255, 189, 46), (39, 201, 63))
    side = rng.random() < 0.6
    for index, dot in enumerate(dots):
        x = left + bar * (0.5 + index * 0.6) if side else right - bar * (0.5 + index * 0.6)
        sheet.disc(x, top + bar / 2, bar * 0.18, dot)
    x, y = (left + right) / 2, top + bar / 2
    sheet.text(x, y, caption, "sans", bar * 0.42, readable_on(chrome), "mm")
    return sheet, (left, top + bar, right, bottom), unit * rng.uniform(2.2, 3.2)


def web_page(job: Job) -> Image.Image:
    """A browser window with a page: a banner, pictures, cards or columns of text."""
    rng = job.layout
    colours = palette(rng, light=rng.random() < 0.7)
    sheet, rect, unit = _desktop(job, colours.ground, words.site(job.content))
    left, top, right, bottom = rect
    face, ink = typeface(rng), readable_on(colours.ground)
    if rng.random() < 0.7:
        menu = rng.choice((*colours.accents, colours.ink))
        sheet.box(left, top, right, top + unit * 2.4, menu)
        spot = left + unit
        for label in job.content.sample(words.GOODS, 4):
            sheet.text(
                spot, top + unit * 1.2, label.title(), face.bold, unit, readable_on(menu), "lm"
            )
            spot += sheet.text_width(label.title(), face.bold, unit) + unit * 1.5
        top += unit * 2.4
    if rng.random() < 0.45:
        split = left + (right - left) * rng.uniform(0.18, 0.32)
        if rng.random() < 0.5:
            split = left + right - split
            _side_bar(sheet, job, (split, top, right, bottom), unit, colours.accent(rng))
            right = split
        else:
            _side_bar(sheet, job, (left, top, split, bottom), unit, colours.accent(rng))
            left = split
    while top < bottom - unit * 2:
        block = job.content.choice(("hero", "cards", "text", "photo", "split", "band"))
        high = min(bottom - top, (rect[3] - rect[1]) * job.content.uniform(0.14, 0.5))
        if block == "hero":
            photo_in(sheet, job, (left, top, right, top + high))
            size = unit * job.content.uniform(2, 3.6)
            place = (left + unit * 2, top + high - size * 1.6)
            sheet.box(left, place[1] - size * 0.3, right, top + high, (0, 0, 0, 120))
            heading = words.title(job.content)
            size = sheet.fitted(heading, face.bold, right - left - unit * 4, size)
            sheet.text(*place, heading, face.bold, size, (255, 255, 255))
        elif block == "photo":
            inset = (right - left) * job.content.uniform(0.02, 0.25)
            photo_in(sheet, job, (left + inset, top + unit, right - inset, top + high))
        elif block == "cards":
            count = job.content.randint(2, 5)
            wide = (right - left) / count
            for card in range(count):
                x = left + wide * card
                cell = (x + unit, top + unit, x + wide - unit, top + high * 0.7)
                photo_in(sheet, job, cell, radius=unit * 0.6)
                label = words.phrase(job.content)
                size = sheet.fitted(label, face.bold, cell[2] - cell[0], unit * 1.1)
                sheet.text(cell[0], cell[3] + unit * 0.4, label, face.bold, size, ink)
        elif block == "band":
            band = colours.accent(job.content)
            sheet.box(left, top, right, top + high * 0.6, band)
            quote = words.sentence(job.content)
            x, y, wide = left + unit * 3, top + high * 0.12, right - left - unit * 6
            size = unit * job.content.uniform(1.6, 2.6)
            edge = top + high * 0.6
            shade = readable_on(band)
            sheet.paragraph(x, y, wide, quote, face.italic, size, shade, align="m", bottom=edge)
            high *= 0.6
        else:
            middle = left + (right - left) * job.content.uniform(0.35, 0.65)
            pictured = block == "split"
            if pictured:
                photo_in(sheet, job, (middle, top + unit, right - unit, top + high))
            edge = middle - unit if pictured else right - unit * job.content.uniform(1, 9)
            y = top + unit
            heading = words.title(job.content)
            size = sheet.fitted(heading, face.bold, edge - left - unit, unit * 1.8)
            sheet.text(left + unit, y, heading, face.bold, size, ink)
            text = words.paragraph(job.content, 14)
            x, y = left + unit, y + unit * 3
            sheet.paragraph(x, y, edge - x, text, face.plain, unit, ink, bottom=top + high)
        top += high + unit * job.content.uniform(0, 1.5)
    return sheet.finish()


def _side_bar(sheet: Canvas, job: Job, rect: _Rect, unit: float, ground: RGB) -> None:
    left, top, right, bottom = rect
    sheet.box(*rect, mix(ground, (128, 128, 128), 0.15))
    y = top + unit
    while y < bottom - unit * 2:
        label = words.phrase(job.content)
        size = sheet.fitted(label, "sans", right - left - 2 * unit, unit * 1.1)
        sheet.text(left + unit, y, label, "sans", size, readable_on(ground))
        y += unit * 2
        if job.content.random() < 0.12:
            photo_in(sheet, job, (left + unit, y, right - unit, min(bottom, y + unit * 8)))
            y += unit * 9


def code_editor(job: Job) -> Image.Image:
    """A program in an editor, with a list of files, highlighting, perhaps a terminal below."""
    rng = job.layout
    colours = palette(rng, light=rng.random() < 0.35)
    body = mix(colours.ground, readable_on(readable_on(colours.ground)), 0.3)
    name = f"{job.content.choice(words.NOUNS)}.py"
    sheet, (left, top, right, bottom), unit = _desktop(job, body, name)
    ink = readable_on(body)
    if rng.random() < 0.75:
        split = left + (right - left) * rng.uniform(0.12, 0.28)
        if rng.random() < 0.3:
            split = left + right - split
            _side_bar(sheet, job, (split, top, right, bottom), unit, colours.accent(rng))
            right = split
        else:
            _side_bar(sheet, job, (left, top, split, bottom), unit, colours.accent(rng))
            left = split
    if rng.random() < 0.5:
        foot = bottom - (bottom - top) * rng.uniform(0.15, 0.4)
        _log(sheet, job, (left, foot, right, bottom), unit * 0.9, colours.ink, colours.accents)
        bottom = foot
    panes = rng.choice((1, 1, 2))
    for pane in range(panes):
        first = left + (right - left) * pane / panes
        edge = left + (right - left) * (pane + 1) / panes
        sheet.box(edge - 1, top, edge, bottom, mix(body, ink, 0.3))
        _program(sheet, job.content, (first, top, edge, bottom), unit, (ink, *colours.accents))
        if rng.random() < 0.4:
            photo_in(sheet, job, (edge - unit * 9, bottom - unit * 8, edge - unit, bottom - unit))
    return sheet.finish()


def _program(sheet: Canvas, rng: Random, rect: _Rect, unit: float, inks: tuple[RGB, ...]) -> None:
    left, top, right, bottom = rect
    number, y, indent = rng.randint(1, 400), top + unit * 0.5, 0
    columns = int((right - left - unit * 5) / (unit * 0.61))
    marked = rng.randrange(30)
    while y < bottom - unit * 1.4:
        deeper, text = words.code_line(rng)
        indent = max(0, min(8, rng.choice((deeper, indent, indent + 1, indent - 2))))
        line = "  " * indent + text
        if number % 30 == marked:
            sheet.box(left, y, right, y + unit * 1.35, (*inks[1], 110))
        sheet.text(
            left + unit * 3.4, y, str(number), "mono", unit, mix(inks[0], (128,) * 3, 0.6), "ra"
        )
        ink = (
            inks[2] if text.startswith(("#", '"', "@")) else rng.choice((inks[0], inks[0], inks[3]))
        )
        sheet.text(left + unit * 4.2, y, line[: max(0, columns)], MONOSPACE.plain, unit, ink)
        y, number = y + unit * 1.35, number + 1
        if rng.random() < 0.1:
            y += unit * 1.35 * rng.randint(1, 5)


def _log(
    sheet: Canvas, job: Job, rect: _Rect, unit: float, ground: RGB, inks: tuple[RGB, ...]
) -> None:
    left, top, right, bottom = rect
    sheet.box(*rect, ground)
    ink = readable_on(ground)
    columns = max(1, int((right - left - unit * 2) / (unit * 0.61)))
    y = top + unit * 0.6
    rng = job.content
    while y < bottom - unit * 1.4:
        kind = rng.randrange(5)
        if kind == 0:
            text = f"$ {rng.choice(words.VERBS)} --{rng.choice(words.NOUNS)} {rng.randint(1, 99)}"
        elif kind == 1:
            text = f"[{rng.randint(0, 23):02}:{rng.randint(0, 59):02}] {words.sentence(rng)}"
        elif kind == 2:
            text = (
                f"  {rng.choice(words.NOUNS)}/{rng.choice(words.GOODS)}.log  {rng.randint(1, 9999)}"
            )
        elif kind == 3:
            text = "#" * rng.randint(3, 40) + f" {rng.randint(1, 100)}%"
        else:
            text = words.paragraph(rng, 2)
        sheet.text(left + unit, y, text[:columns], "mono", unit, rng.choice((ink, ink, *inks[1:3])))
        y += unit * 1.35
        if rng.random() < 0.08:
            y += unit * rng.uniform(2, 9)


def terminal(job: Job) -> Image.Image:
    """A terminal, whole or in panes, full of messages and meters."""
    rng = job.layout
    colours = palette(rng, light=rng.random() < 0.25)
    sheet, (left, top, right, bottom), unit = _desktop(job, colours.ground, "bash")
    across, down = rng.choice(((1, 1), (2, 1), (1, 2), (2, 2), (3, 1)))
    cut_x = [0.0, *sorted(rng.uniform(0.25, 0.75) for _ in range(across - 1)), 1.0]
    cut_y = [0.0, *sorted(rng.uniform(0.25, 0.75) for _ in range(down - 1)), 1.0]
    for x0, x1 in pairwise(cut_x):
        for y0, y1 in pairwise(cut_y):
            pane = (
                left + (right - left) * x0,
                top + (bottom - top) * y0,
                left + (right - left) * x1 - 2,
                top + (bottom - top) * y1 - 2,
            )
            ground = mix(
                colours.ground,
                rng.choice((colours.ink, *colours.accents)),
                rng.choice((0, 0.2, 0.5)),
            )
            if rng.random() < 0.35:
                _meters(sheet, job.content, pane, unit, ground, colours.accents)
            else:
                _log(sheet, job, pane, unit * rng.uniform(0.8, 1.3), ground, colours.accents)
    return sheet.finish()


def _meters(
    sheet: Canvas, rng: Random, rect: _Rect, unit: float, ground: RGB, inks: tuple[RGB, ...]
) -> None:
    left, top, right, bottom = rect
    sheet.box(*rect, ground)
    y = top + unit
    while y < bottom - unit * 2:
        level = rng.random()
        wide = (right - left) * 0.7
        label = f"{rng.choice(words.TEAMS).lower()[:6]:6}"
        sheet.text(left + unit, y, label, "mono", unit, readable_on(ground))
        sheet.box(
            left + unit * 5.5, y, left + unit * 5.5 + wide * level, y + unit, rng.choice(inks)
        )
        y += unit * 1.6
