"""The page around a chart, which all charts share."""

from dataclasses import dataclass
from random import Random

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import Typeface, typeface
from curation.demo.drawing.palettes import RGB, Palette, contrast, mix, palette, readable_on
from curation.demo.drawing.photographs import VARIED, any_shot, expose
from curation.demo.scenes.job import Job


@dataclass(frozen=True)
class Plot:
    """A sheet with a title, and the free rectangle in which the figures go."""

    sheet: Canvas
    colours: Palette
    ink: RGB
    faint: RGB
    face: Typeface
    unit: float
    left: float
    top: float
    right: float
    bottom: float
    inks: list[RGB]

    @property
    def width(self) -> float:
        """Width of the free rectangle."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height of the free rectangle."""
        return self.bottom - self.top


def make_plot(job: Job) -> Plot:
    """Lay out a page for a chart: a heading, words, a panel at one side, and the room left."""
    rng = job.layout
    colours = palette(rng, light=rng.random() < 0.65)
    ground = colours.ground if rng.random() < 0.6 else mix(colours.ground, (255, 255, 255), 0.6)
    ink = readable_on(ground)
    sheet = Canvas(job.size, ground)
    unit = min(job.size) / 100
    face = typeface(rng)
    inks = sorted(colours.accents_shuffled(rng), key=lambda one: contrast(one, ground) < 45)
    left, right = unit * rng.uniform(5, 9), job.width - unit * rng.uniform(5, 9)
    top, bottom = unit * rng.uniform(5, 9), job.height - unit * rng.uniform(9, 14)
    if rng.random() < 0.8:
        share = rng.uniform(0.2, 0.45)
        panel = rng.choice((*inks, colours.ink))
        if job.width > job.height * 1.1:
            edge = job.width * share
            first = 0.0 if rng.random() < 0.5 else job.width - edge
            _aside(sheet, job, (first, 0, first + edge, job.height), panel, face)
            left, right = (left + edge, right) if first == 0 else (left, right - edge)
        else:
            edge = job.height * share
            first = 0.0 if rng.random() < 0.5 else job.height - edge
            _aside(sheet, job, (0, first, job.width, first + edge), panel, face)
            top, bottom = (top + edge, bottom) if first == 0 else (top, bottom - edge)
    if rng.random() < 0.6:
        heading = words.title(job.content)
        size = sheet.fitted(heading, face.bold, right - left, unit * rng.uniform(4.5, 8))
        sheet.text(left, top, heading, face.bold, size, ink)
        top += size * 1.3
        if rng.random() < 0.4:
            text = words.paragraph(job.content, rng.randint(1, 3))
            top = sheet.paragraph(left, top, right - left, text, face.plain, 3 * unit, ink)
        top += 3 * unit
    if rng.random() < 0.3:
        bottom -= (bottom - top) * rng.uniform(0.08, 0.3)
        text = words.paragraph(job.content, 6)
        sheet.paragraph(
            left,
            bottom + 8 * unit,
            right - left,
            text,
            face.italic,
            3 * unit,
            ink,
            bottom=job.height - 2 * unit,
        )
    left += 7 * unit
    top = min(top, bottom - 20 * unit)
    if rng.random() < 0.35:
        panel = mix(ground, ink, rng.choice((0.06, 0.12, 0.85)))
        sheet.box(left, top, right, bottom, panel)
        inks = sorted(inks, key=lambda one: contrast(one, panel) < 45)
    return Plot(
        sheet, colours, ink, mix(ground, ink, 0.22), face, unit, left, top, right, bottom, inks
    )


def _aside(
    sheet: Canvas, job: Job, rect: tuple[float, float, float, float], panel: RGB, face: Typeface
) -> None:
    """Fill a panel beside the plot: a photograph, or key figures and a few words."""
    left, top, right, bottom = rect
    if job.layout.random() < 0.5:
        size = sheet.drawn(right - left, bottom - top)
        picture = expose(any_shot(job.content, size[0] / size[1], VARIED), size)
        sheet.paste(tone.graded(picture, job.content), left, top)
        return
    sheet.box(left, top, right, bottom, panel)
    ink = readable_on(panel)
    unit = min(right - left, bottom - top) / 24
    upright = bottom - top > right - left
    spots = job.layout.randint(1, 4)
    for spot in range(spots):
        x = left + 2 * unit if upright else left + (right - left) * spot / spots + 2 * unit
        y = top + (bottom - top) * spot / spots + 2 * unit if upright else top + 3 * unit
        number = f"{job.content.randint(2, 98)}{job.content.choice(('%', 'k', '', 'M'))}"
        wide = 20 * unit if upright else (right - left) / spots - 4 * unit
        if job.layout.random() < 0.3:
            card = mix(panel, ink, job.layout.choice((0.15, 0.3)))
            foot = y + ((bottom - top) / spots - 3 * unit if upright else bottom - top - 5 * unit)
            sheet.box(x - unit, y - unit, x + wide + unit, foot, card)
        sheet.text(x, y, number, face.bold, sheet.fitted(number, face.bold, wide, 6.5 * unit), ink)
        end = top + (bottom - top) * (spot + 1) / spots if upright else bottom
        text = words.paragraph(job.content, job.layout.choice((1, 1, 3, 6)))
        sheet.paragraph(x, y + 8.5 * unit, wide, text, face.plain, 1.7 * unit, ink, bottom=end)


def draw_axes(plot: Plot, rng: Random, *, lines: int = 5) -> None:
    """Draw a base line, labels up the left side and perhaps grid lines."""
    grid = rng.random() < 0.7
    for line in range(lines + 1):
        y = plot.bottom - plot.height * line / lines
        if grid:
            plot.sheet.box(plot.left, y, plot.right, y + 0.8, plot.faint)
        label = f"{line * rng.choice((5, 20, 250))}"
        size = 2.8 * plot.unit
        plot.sheet.text(plot.left - plot.unit, y, label, plot.face.plain, size, plot.ink, "rm")
    plot.sheet.box(plot.left, plot.bottom, plot.right, plot.bottom + 0.35 * plot.unit, plot.ink)
