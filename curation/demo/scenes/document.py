"""Paper: letters, invoices, magazine pages, scientific papers."""

from random import Random

from PIL import Image

from curation.demo.drawing import words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import Typeface, typeface
from curation.demo.drawing.palettes import mix, palette, readable_on
from curation.demo.scenes.job import Job
from curation.demo.scenes.paperwork import (
    INK,
    Rect,
    blank_page,
    dot_code,
    on_desk,
    picture_in,
    signature,
    stamp,
)


def letter(job: Job) -> Image.Image:
    """A letter with a letterhead, paragraphs of many lengths, a signature, perhaps a stamp."""
    rng = job.layout
    sheet, unit, _ = blank_page(job)
    face, colours = typeface(rng), palette(rng)
    margin, size = unit * rng.uniform(7, 16), unit * rng.uniform(2, 3.2)
    right = sheet.width - unit * rng.uniform(7, 16)
    accent = rng.choice((*colours.accents, INK))
    y = unit * rng.uniform(5, 10)
    head = rng.randrange(4)
    if head == 0:
        sheet.box(0, 0, sheet.width, unit * rng.uniform(8, 18), accent)
        sheet.text(
            margin, unit * 3, words.phrase(job.content), face.bold, unit * 4.5, readable_on(accent)
        )
        y += unit * 12
    elif head == 1:
        edge = unit * rng.uniform(10, 26)
        sheet.box(0, 0, edge, sheet.height, accent)
        margin = edge + unit * 4
    elif head == 2:
        sheet.disc(rng.uniform(margin, right), y + unit * 6, unit * rng.uniform(4, 8), accent)
        y += unit * 16
    senders_right = rng.random() < 0.5
    for line in (
        words.person(job.content),
        words.day(job.content),
        job.content.choice(words.PLACES),
    ):
        if senders_right:
            sheet.text(right, y, line, face.plain, size, INK, "ra")
        else:
            sheet.text(margin, y, line, face.plain, size, INK)
        y += size * 1.5
    y += size * rng.uniform(1, 6)
    end = sheet.height * rng.uniform(0.6, 0.92)
    while y < end:
        sentences = job.content.choice((1, 2, 3, 5, 8))
        text = words.paragraph(job.content, sentences)
        inset = unit * job.content.choice((0, 0, 0, 10))
        y = sheet.paragraph(
            margin + inset, y, right - margin - inset, text, face.plain, size, INK, bottom=end
        )
        y += size * job.content.choice((0.5, 1, 1, 4))
        if job.content.random() < 0.15:
            high = unit * job.content.uniform(12, 26)
            picture_in(sheet, job, (margin, y, right, min(end, y + high)))
            y += high + size
        if end - y < size * 2:
            break
    signature(sheet, job.content, margin + unit * rng.uniform(0, 30), y + unit * 5, unit)
    if rng.random() < 0.6:
        x, low = rng.uniform(margin, right), rng.uniform(0.2, 0.9) * sheet.height
        stamp(sheet, job.content, (x, low), unit * rng.uniform(7, 15), accent)
    return on_desk(job, sheet)


def invoice(job: Job) -> Image.Image:
    """An invoice or a receipt: who, what, how much, and a total."""
    rng = job.layout
    sheet, unit, paper = blank_page(job)
    face, colours = typeface(rng), palette(rng)
    accent = rng.choice((*colours.accents, colours.ink))
    left, right = unit * rng.uniform(5, 14), sheet.width - unit * rng.uniform(5, 14)
    y = unit * 5
    if rng.random() < 0.6:
        high = unit * rng.uniform(10, 30)
        sheet.box(0, 0, sheet.width, high, accent)
        sheet.text(
            left,
            high / 2,
            "INVOICE",
            face.bold,
            min(9 * unit, high * 0.5),
            readable_on(accent),
            "lm",
        )
        y = high + unit * 4
    else:
        x = rng.choice((left, right - unit * 30))
        sheet.text(x, y, words.phrase(job.content), face.bold, unit * 5, accent)
        y += unit * 12
    for line in range(rng.randint(2, 5)):
        text = (
            words.person(job.content)
            if line == 0
            else f"{job.content.randint(1, 99)} {words.phrase(job.content)}"
        )
        sheet.text(left, y, text, face.plain, unit * 2.8, INK)
        sheet.text(right, y, words.day(job.content), face.plain, unit * 2.8, INK, "ra")
        y += unit * 4.2
    y += unit * rng.uniform(2, 12)
    row = unit * rng.uniform(4.5, 8)
    sheet.box(left, y, right, y + row, accent)
    y += row
    for index in range(rng.randint(2, 14)):
        if y > sheet.height * 0.85:
            break
        if index % 2:
            sheet.box(left, y, right, y + row, mix(paper, accent, 0.15))
        goods = job.content.choice(words.GOODS).title()
        sheet.text(left + unit, y + row / 2, goods, face.plain, unit * 3, INK, "lm")
        sheet.text(
            right - unit, y + row / 2, words.money(job.content), face.plain, unit * 3, INK, "rm"
        )
        y += row
    width = (right - left) * rng.uniform(0.25, 0.6)
    sheet.box(right - width, y, right, y + row * 1.6, mix(accent, (0, 0, 0), 0.3))
    total = words.money(job.content, 9000)
    sheet.text(right - unit, y + row * 0.8, total, face.bold, unit * 4, (255, 255, 255), "rm")
    if rng.random() < 0.5:
        side, x = unit * rng.uniform(12, 24), rng.uniform(left, right - unit * 24)
        dot_code(sheet, job.content, x, sheet.height - side - unit * 4, side)
    if rng.random() < 0.5:
        spot = (rng.uniform(left, right), rng.uniform(0.3, 0.95) * sheet.height)
        stamp(sheet, job.content, spot, unit * rng.uniform(8, 16), rng.choice(colours.accents))
    return on_desk(job, sheet)


def magazine(job: Job) -> Image.Image:
    """A magazine page: a headline, pictures across columns, coloured boxes, running text."""
    rng = job.layout
    sheet, unit, paper = blank_page(job)
    face, colours = typeface(rng), palette(rng)
    if rng.random() < 0.35:
        ground = rng.choice((*colours.accents, colours.ink))
        sheet.box(0, 0, sheet.width, sheet.height, ground)
        paper = ground
    ink = readable_on(paper)
    columns = rng.randint(2, 4) if sheet.width > sheet.height * 0.7 else rng.randint(1, 3)
    margin, gap = unit * rng.uniform(3, 7), unit * 2.5
    wide = (sheet.width - 2 * margin - gap * (columns - 1)) / columns
    top = margin
    if rng.random() < 0.6:
        high = sheet.height * rng.uniform(0.2, 0.55)
        picture_in(sheet, job, (0, 0, sheet.width, high))
        top = high + 2 * unit
    heading = words.title(job.content)
    size = unit * rng.uniform(6, 11)
    top = sheet.paragraph(
        margin, top, sheet.width - 2 * margin, heading, face.bold, size, ink, leading=1.15
    )
    top += 2 * unit
    letter_size = unit * rng.uniform(1.8, 2.6)
    for column in range(columns):
        x, y = margin + column * (wide + gap), top
        while y < sheet.height - margin - letter_size * 2:
            kind = job.content.choice(("text", "text", "photo", "quote"))
            if kind == "photo":
                high = min(wide * job.content.uniform(0.5, 1.3), sheet.height - margin - y)
                picture_in(sheet, job, (x, y, x + wide, y + high))
                y += high + unit * 2
            elif kind == "quote":
                box = job.content.choice(colours.accents)
                high = min(wide * job.content.uniform(0.35, 0.9), sheet.height - margin - y)
                sheet.box(x, y, x + wide, y + high, box)
                text, shade = words.sentence(job.content), readable_on(box)
                sheet.paragraph(
                    x + unit,
                    y + unit,
                    wide - 2 * unit,
                    text,
                    face.italic,
                    letter_size * 1.6,
                    shade,
                    bottom=y + high,
                )
                y += high + unit * 2
            else:
                text = words.paragraph(job.content, job.content.randint(4, 14))
                bottom = sheet.height - margin
                y = sheet.paragraph(x, y, wide, text, face.plain, letter_size, ink, bottom=bottom)
                y += letter_size
    return on_desk(job, sheet)


def paper(job: Job) -> Image.Image:
    """A page of a scientific paper: two columns, a figure, a table, formulas."""
    rng = job.layout
    sheet, unit, _ = blank_page(job)
    face = Typeface("roman", "roman_bold", "times_italic")
    margin, gap = unit * rng.uniform(6, 11), unit * 3
    columns = rng.choice((1, 2, 2, 2))
    size = unit * rng.uniform(1.5, 2.3)
    top = margin
    if rng.random() < 0.6:
        heading = words.title(job.content)
        x = sheet.width / 2
        big = sheet.fitted(heading, face.bold, sheet.width * 0.8, unit * rng.uniform(4, 6))
        sheet.text(x, top, heading, face.bold, big, INK, "ma")
        names = ", ".join(words.person(job.content) for _ in range(3))
        small = sheet.fitted(names, face.plain, sheet.width * 0.8, size * 1.2)
        sheet.text(x, top + big * 1.8, names, face.plain, small, INK, "ma")
        top += big * 4
    wide = (sheet.width - 2 * margin - gap * (columns - 1)) / columns
    bottom = sheet.height - margin
    for column in range(columns):
        x, y = margin + column * (wide + gap), top
        while y < bottom - size * 3:
            kind = rng.choice(("text", "text", "figure", "table", "formula"))
            high = min(bottom - y, wide * rng.uniform(0.3, 0.9))
            if kind == "text":
                text = words.paragraph(job.content, rng.randint(3, 12))
                y = sheet.paragraph(
                    x, y, wide, text, face.plain, size, INK, leading=1.25, bottom=bottom
                )
            elif kind == "figure":
                picture_in(sheet, job, (x, y, x + wide, y + high))
                y += high
            elif kind == "table":
                _table(sheet, job.content, (x, y, x + wide, y + high * 0.6), size)
                y += high * 0.6
            else:
                formula = f"f(x) = {job.content.randint(2, 9)}x + sin({job.content.randint(2, 9)}y)"
                sheet.text(
                    x + wide / 2, y + size * 1.5, formula, face.italic, size * 1.5, INK, "ma"
                )
                y += size * 4
            y += size * 1.2
    return on_desk(job, sheet)


def _table(sheet: Canvas, rng: Random, rect: Rect, size: float) -> None:
    left, top, right, bottom = rect
    sheet.box(left, top, right, top + 2, INK)
    sheet.box(left, bottom - 2, right, bottom, INK)
    y = top + size * 0.6
    while y < bottom - size * 1.5:
        for column in range(4):
            x = left + (right - left) * (column + 0.5) / 4
            sheet.text(x, y, f"{rng.uniform(0, 99):.1f}", "roman", size, INK, "ma")
        y += size * 1.4
