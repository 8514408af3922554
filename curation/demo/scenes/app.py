"""Screens of offices and telephones: a spreadsheet, a dashboard, a conversation, a phone."""

import math
from random import Random

from PIL import Image

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import typeface
from curation.demo.drawing.palettes import RGB, Palette, mix, palette, readable_on
from curation.demo.scenes.job import Job
from curation.demo.scenes.screen import photo_in

_Rect = tuple[float, float, float, float]


def spreadsheet(job: Job) -> Image.Image:
    """A sheet of figures with coloured headings, marked cells and sums."""
    rng = job.layout
    colours = palette(rng, light=True)
    paper = mix(colours.ground, (255, 255, 255), rng.choice((0.0, 0.7)))
    sheet = Canvas(job.size, paper)
    unit = min(job.size) / 100 * rng.uniform(2, 3.2)
    top = unit * rng.choice((0, 2, 4, 7))
    if top:
        ribbon = rng.choice((*colours.accents, colours.ink))
        sheet.box(0, 0, job.width, top, ribbon)
        label = words.title(job.content)
        sheet.text(unit, top / 2, label, "sans_bold", unit * 1.2, readable_on(ribbon), "lm")
    widths = [unit * rng.choice((3, 5, 7, 11)) for _ in range(24)]
    row_high = unit * rng.uniform(1.5, 2.4)
    head = colours.accent(rng)
    line = mix(paper, colours.ink, 0.25)
    zebra = rng.random() < 0.5
    rows = math.ceil((job.height - top) / row_high)
    for row in range(rows):
        y, x = top + row * row_high, 0.0
        if row == 0 or (zebra and row % 2):
            sheet.box(0, y, job.width, y + row_high, head if row == 0 else mix(paper, head, 0.18))
        sheet.box(0, y, job.width, y + 1, line)
        for column, wide in enumerate(widths):
            if x > job.width:
                break
            _cell(sheet, job.content, (x, y, x + wide, y + row_high), (row, column), unit)
            x += wide
    x = 0.0
    for wide in widths:
        x += wide
        sheet.box(x, top, x + 1, job.height, line)
    # What somebody marked, and a chart or a picture laid over the cells.
    for _ in range(job.content.randint(3, 8)):
        column, row = job.content.randrange(6), job.content.randrange(max(2, rows))
        left, y = sum(widths[:column]), top + row * row_high
        wide = sum(widths[column : column + job.content.randint(1, 4)])
        high = row_high * job.content.randint(1, 7)
        mark = (*colours.accent(job.content), job.content.choice((90, 150, 220)))
        sheet.box(left, y, left + wide, y + high, mark)
    if rng.random() < 0.7:
        wide, high = job.width * rng.uniform(0.25, 0.5), job.height * rng.uniform(0.2, 0.45)
        left, y = (job.width - wide) * rng.random(), top + (job.height - top - high) * rng.random()
        if rng.random() < 0.4:
            photo_in(sheet, job, (left, y, left + wide, y + high))
        else:
            _small_chart(sheet, job, (left, y, left + wide, y + high), colours)
    return sheet.finish()


def _cell(sheet: Canvas, rng: Random, rect: _Rect, place: tuple[int, int], unit: float) -> None:
    if rng.random() < 0.15:
        return
    left, top, right, bottom = rect
    middle = (top + bottom) / 2
    if place[0] == 0 or place[1] == 0:
        text = rng.choice(words.GOODS).title()
        size = sheet.fitted(text, "sans_bold", right - left - unit * 0.4, unit)
        sheet.text(left + unit * 0.3, middle, text, "sans_bold", size, (30, 30, 36), "lm")
    else:
        text = words.money(rng, 10 ** rng.uniform(1, 4))
        size = sheet.fitted(text, "sans", right - left - unit * 0.4, unit)
        sheet.text(right - unit * 0.3, middle, text, "sans", size, (40, 40, 46), "rm")


def _small_chart(sheet: Canvas, job: Job, rect: _Rect, colours: Palette) -> None:
    left, top, right, bottom = rect
    ground = job.layout.choice(((255, 255, 255), colours.ink, colours.ground))
    sheet.box(*rect, ground, outline=(150, 150, 150))
    wide, high = (right - left) * 0.88, (bottom - top) * 0.8
    x, y = left + (right - left) * 0.06, bottom - (bottom - top) * 0.1
    kind, count = job.layout.randrange(3), job.layout.randint(4, 12)
    values = [job.content.uniform(0.08, 1) for _ in range(count)]
    if kind == 0:
        for index, value in enumerate(values):
            spot = x + wide * index / count
            ink = colours.accents[index % 2]
            sheet.box(spot, y - high * value, spot + wide / count * 0.7, y, ink)
    elif kind == 1:
        points = [(x + wide * i / (count - 1), y - high * v) for i, v in enumerate(values)]
        if job.layout.random() < 0.6:
            sheet.polygon([*points, (x + wide, y), (x, y)], (*colours.accents[1], 160))
        sheet.line(points, colours.accents[0], max(2, high * 0.02))
    else:
        start, radius = 0.0, min(wide, high) / 2
        for index, value in enumerate(values[:5]):
            end = start + 360 * value / sum(values[:5])
            ink = colours.accents[index % 4]
            sheet.wedge(x + wide / 2, y - high / 2, radius, start, end, ink)
            start = end


def dashboard(job: Job) -> Image.Image:
    """Tiles with key figures, small charts and a picture, in an uneven grid."""
    rng = job.layout
    colours = palette(rng)
    ground = mix(colours.ground, colours.ink, rng.choice((0.05, 0.1, 0.9)))
    sheet = Canvas(job.size, ground)
    unit = min(job.size) / 100
    left, top = 0.0, 0.0
    if rng.random() < 0.6:
        left = job.width * rng.uniform(0.06, 0.2)
        bar = rng.choice((colours.ink, *colours.accents))
        sheet.box(0, 0, left, job.height, bar)
        for item in range(rng.randint(4, 9)):
            y = (8 + item * 8) * unit
            sheet.disc(left * 0.2, y, 1.6 * unit, mix(bar, readable_on(bar), 0.5))
            label = job.content.choice(words.TEAMS)
            size = sheet.fitted(label, "sans", left * 0.6, 2.6 * unit)
            sheet.text(left * 0.36, y, label, "sans", size, readable_on(bar), "lm")
    if rng.random() < 0.6:
        top = job.height * rng.uniform(0.06, 0.14)
        label = words.title(job.content)
        sheet.text(
            left + 3 * unit, top / 2, label, "sans_bold", top * 0.4, readable_on(ground), "lm"
        )
    rows = rng.randint(2, 4)
    cuts = [rng.uniform(0.6, 1.6) for _ in range(rows)]
    y, gap = top, unit * rng.uniform(0.6, 1.6)
    for cut in cuts:
        high = (job.height - top) * cut / sum(cuts)
        parts = [rng.uniform(0.6, 1.8) for _ in range(rng.randint(1, 4))]
        x = left
        for part in parts:
            wide = (job.width - left) * part / sum(parts)
            tile = (x + gap, y + gap, x + wide - gap, y + high - gap)
            _tile(sheet, job, tile, colours, unit)
            x += wide
        y += high
    return sheet.finish()


def _tile(sheet: Canvas, job: Job, rect: _Rect, colours: Palette, unit: float) -> None:
    kind = job.content.randrange(5)
    if kind == 0:
        photo_in(sheet, job, rect, radius=unit)
    elif kind == 1:
        ground = job.content.choice((*colours.accents, (255, 255, 255)))
        sheet.box(*rect, ground, radius=unit)
        figure = f"{job.content.randint(2, 999)}{job.content.choice(('k', '%', ' ms', ''))}"
        wide, high = rect[2] - rect[0], rect[3] - rect[1]
        size = sheet.fitted(figure, "sans_bold", wide * 0.8, high * 0.5)
        x, y = rect[0] + wide * 0.08, rect[1] + high * 0.12
        sheet.text(x, y, figure, "sans_bold", size, readable_on(ground))
        label = words.phrase(job.content)
        small = sheet.fitted(label, "sans", wide * 0.8, high * 0.14)
        sheet.text(x, rect[3] - high * 0.28, label, "sans", small, readable_on(ground))
    else:
        _small_chart(sheet, job, rect, colours)


def conversation(job: Job) -> Image.Image:
    """People writing to each other: bubbles left and right, names, pictures sent."""
    rng = job.layout
    colours = palette(rng)
    mine, theirs = rng.sample(colours.accents, 2)
    sheet = Canvas(job.size, colours.ground)
    unit = min(job.size) / 100 * rng.uniform(2.4, 3.6)
    left, top, right = 0.0, unit * rng.choice((0, 3.5)), float(job.width)
    if job.width > job.height and rng.random() < 0.7:
        left = job.width * rng.uniform(0.18, 0.34)
        side = rng.choice((colours.ink, colours.accents[2], colours.accents[3]))
        sheet.box(0, 0, left, job.height, side)
        for row in range(int(job.height / unit / 3.4) + 1):
            y = unit * (1.8 + row * 3.4)
            sheet.disc(unit * 1.8, y, unit * 1.1, job.content.choice(colours.accents))
            name = words.person(job.content)
            size = sheet.fitted(name, "sans", left - 4 * unit, unit)
            sheet.text(unit * 3.5, y, name, "sans", size, readable_on(side), "lm")
    if top:
        sheet.box(left, 0, right, top, mine)
        name = words.person(job.content)
        sheet.text(left + unit, top / 2, name, "sans_bold", unit * 1.2, readable_on(mine), "lm")
    y = top + unit
    while y < job.height:
        own = job.content.random() < 0.45
        wide = (right - left) * job.content.uniform(0.25, 0.72)
        text = words.paragraph(job.content, job.content.choice((1, 1, 2, 4)))
        text = text if job.content.random() < 0.7 else job.content.choice(words.GOODS).title() + "?"
        lines = sheet.wrapped(text, "sans", unit, wide - unit * 2)
        wide = max(sheet.text_width(line, "sans", unit) for line in lines) + unit * 2.2
        high = len(lines) * unit * 1.4 + unit * 1.2
        x = right - unit - wide if own else left + unit
        ink = mine if own else theirs
        if job.content.random() < 0.25:
            wide, high = (
                (right - left) * job.content.uniform(0.3, 0.6),
                unit * job.content.uniform(8, 16),
            )
            x = right - unit - wide if own else left + unit
            photo_in(sheet, job, (x, y, x + wide, y + high), radius=unit)
        else:
            sheet.box(x, y, x + wide, y + high, ink, radius=unit)
            shade = readable_on(ink)
            sheet.paragraph(x + unit, y + unit * 0.5, wide - unit * 2, text, "sans", unit, shade)
        y += high + unit * job.content.uniform(0.4, 2)
    return sheet.finish()


def telephone(job: Job) -> Image.Image:
    """A telephone lying on a colour, its screen a feed, a lock screen, or a grid of programs."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, colours.ground)
    sheet.image.paste(
        tone.slope(sheet.image.size, colours.accents[0], colours.accents[1], turn=rng.random())
    )
    for _ in range(rng.randint(0, 3)):
        radius = rng.uniform(0.1, 0.4) * job.width
        x, y = rng.uniform(0, job.width), rng.uniform(0, job.height)
        sheet.disc(x, y, radius, (*colours.accents[2], 120))
    phones = 1 if job.width < job.height else rng.randint(1, 3)
    for phone in range(phones):
        high = min(job.height * rng.uniform(0.7, 0.95), job.width / phones * 1.9)
        wide = high * rng.uniform(0.46, 0.54)
        x = job.width * (phone + 0.5) / phones - wide / 2 + rng.uniform(-0.1, 0.1) * wide
        y = (job.height - high) * rng.uniform(0, 1)
        edge = wide * 0.035
        sheet.box(x, y, x + wide, y + high, (18, 18, 22), radius=wide * 0.12)
        screen = (x + edge, y + edge, x + wide - edge, y + high - edge)
        _phone_screen(sheet, job, screen, colours)
        sheet.box(x + wide * 0.35, y + edge, x + wide * 0.65, y + edge * 2.6, (18, 18, 22))
    return sheet.finish()


def _phone_screen(sheet: Canvas, job: Job, rect: _Rect, colours: Palette) -> None:
    left, top, right, bottom = rect
    unit = (right - left) / 20
    kind = job.layout.randrange(3)
    ground: RGB = job.layout.choice(((250, 250, 250), (26, 27, 32), colours.ground))
    if kind == 0:
        photo_in(sheet, job, rect, radius=unit * 2)
        clock = f"{job.content.randint(0, 23)}:{job.content.randint(0, 59):02}"
        x = (left + right) / 2
        sheet.text(x, top + 3 * unit, clock, "sans_bold", 5 * unit, (255, 255, 255), "ma")
        return
    sheet.box(*rect, ground, radius=unit * 2)
    if kind == 1:
        y = top + 3 * unit
        while y < bottom - 4 * unit:
            high = min(bottom - y - unit * 2.5, unit * job.content.uniform(5, 14))
            photo_in(sheet, job, (left, y, right, y + high))
            text, ink = words.sentence(job.content), readable_on(ground)
            y = (
                sheet.paragraph(
                    left + unit,
                    y + high + unit * 0.4,
                    right - left - 2 * unit,
                    text,
                    typeface(job.layout).plain,
                    unit * 1.1,
                    ink,
                    bottom=bottom - unit,
                )
                + unit
            )
        return
    for row in range(6):
        for column in range(4):
            x, y = left + unit * (1.4 + column * 4.6), top + unit * (4 + row * 5.4)
            if y + 3.4 * unit > bottom:
                return
            ink = job.content.choice((*colours.accents, colours.ink))
            sheet.box(x, y, x + 3.4 * unit, y + 3.4 * unit, ink, radius=unit * 0.8)
            letter = job.content.choice(words.NOUNS)[0].upper()
            spot = (x + 1.7 * unit, y + 1.7 * unit)
            sheet.text(*spot, letter, "sans_bold", 2.2 * unit, readable_on(ink), "mm")
