"""Sheet music."""

from random import Random

from PIL import Image

from curation.demo.drawing import words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import RGB
from curation.demo.scenes.job import Job
from curation.demo.scenes.paperwork import blank_page, on_desk


def sheet_music(job: Job) -> Image.Image:
    """Staves with notes, bar lines and a title."""
    rng = job.layout
    sheet, unit, _ = blank_page(job)
    ink = (24, 22, 26)
    y = unit * rng.uniform(5, 10)
    if rng.random() < 0.7:
        heading = words.title(job.content)
        size = sheet.fitted(heading, "times_bold", sheet.width * 0.8, unit * rng.uniform(5, 9))
        sheet.text(sheet.width / 2, y, heading, "times_bold", size, ink, "ma")
        y += size * 2
    space = unit * rng.uniform(0.9, 2.2)
    left, right = unit * rng.uniform(4, 12), sheet.width - unit * rng.uniform(4, 12)
    while y < sheet.height - space * 8:
        end = (
            right
            if job.content.random() < 0.8
            else left + (right - left) * job.content.uniform(0.3, 0.9)
        )
        for line in range(5):
            at = y + line * space
            sheet.box(left, at, end, at + max(0.5, space * 0.09), ink)
        x, level = left + space * 4, job.content.uniform(0, 8)
        sheet.text(left + space, y - space, "\u2669", "sans", space * 5, ink)
        while x < end - space * 2:
            level = min(9, max(-1, level + job.content.gauss(0, 2.2)))
            _note(sheet, job.content, x, y + space * 4 - round(level) * space / 2, space, ink)
            x += space * job.content.choice((1.6, 2, 2, 3, 4.5))
            if job.content.random() < 0.18:
                sheet.box(x - space, y, x - space * 0.85, y + space * 4, ink)
        y += space * rng.choice((9, 9, 12))
        if job.content.random() < 0.1:
            y += space * 8
    return on_desk(job, sheet)


def _note(sheet: Canvas, rng: Random, x: float, y: float, space: float, ink: RGB) -> None:
    head = (x - space * 0.6, y - space * 0.45, x + space * 0.6, y + space * 0.45)
    if rng.random() < 0.2:
        sheet.oval(*head, outline=ink, stroke=space * 0.18)
    else:
        sheet.oval(*head, fill=ink)
    sheet.box(x + space * 0.5, y - space * 3.4, x + space * 0.62, y, ink)
    if rng.random() < 0.35:
        beam = [(x + space * 0.55, y - space * 3.4), (x + space * 2.4, y - space * 3.2)]
        sheet.line(beam, ink, space * 0.45)
