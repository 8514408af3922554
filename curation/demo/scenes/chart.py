"""Charts of figures that somebody might have measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import Typeface, typeface
from curation.demo.drawing.palettes import RGB, Palette, contrast, mix, palette, readable_on
from curation.demo.drawing.photographs import VARIED, any_shot, expose
from curation.demo.scenes.job import Job


@dataclass(frozen=True)
class _Plot:
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
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def _plot(job: Job) -> _Plot:
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
    if rng.random() < 0.35:
        panel = mix(ground, ink, rng.choice((0.06, 0.12, 0.85)))
        sheet.box(left, top, right, bottom, panel)
        inks = sorted(inks, key=lambda one: contrast(one, panel) < 45)
    return _Plot(
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


def _axes(plot: _Plot, rng: Random, *, lines: int = 5) -> None:
    grid = rng.random() < 0.7
    for line in range(lines + 1):
        y = plot.bottom - plot.height * line / lines
        if grid:
            plot.sheet.box(plot.left, y, plot.right, y + 0.8, plot.faint)
        label = f"{line * rng.choice((5, 20, 250))}"
        size = 2.8 * plot.unit
        plot.sheet.text(plot.left - plot.unit, y, label, plot.face.plain, size, plot.ink, "rm")
    plot.sheet.box(plot.left, plot.bottom, plot.right, plot.bottom + 0.35 * plot.unit, plot.ink)


def _series(rng: Random, count: int) -> list[float]:
    """Return values between 0.04 and 1 with the habits of real figures."""
    kind = rng.randrange(6)
    if kind == 0:
        values = [rng.random() for _ in range(count)]
    elif kind == 1:
        peak, wide = rng.random(), rng.uniform(0.08, 0.4)
        hill = [math.exp(-(((i / count - peak) / wide) ** 2)) for i in range(count)]
        values = [value + rng.uniform(0, 0.3) for value in hill]
    elif kind == 2:
        values = [1 / (i + 1) ** rng.uniform(0.5, 1.2) for i in range(count)]
    elif kind == 3:
        turns, start = rng.uniform(0.5, 3), rng.uniform(0, 6)
        values = [1.2 + math.sin(start + turns * 6.3 * i / count) for i in range(count)]
    elif kind == 4:
        values = [0.1 + i / count + rng.uniform(0, 0.5) for i in range(count)]
    else:
        values, level = [], 0.5
        for _ in range(count):
            level = min(1.0, max(0.05, level + rng.gauss(0, 0.22)))
            values.append(level)
    if kind in (2, 4) and rng.random() < 0.5:
        values.reverse()
    top = max(values) * rng.uniform(1.0, 1.25)
    return [max(0.04, value / top) for value in values]


def bars(job: Job) -> Image.Image:
    """A bar chart: upright or lying, single, grouped or stacked."""
    rng, plot = job.layout, _plot(job)
    groups = rng.randint(3, 14)
    way = rng.choice(("single", "single", "grouped", "stacked"))
    parts = 1 if way == "single" else rng.randint(2, 4)
    lying = rng.random() < 0.4
    gap = rng.uniform(0.1, 0.5)
    one_ink = rng.random() < 0.6
    if not lying:
        _axes(plot, rng)
    data = [_series(job.content, groups) for _ in range(parts)]
    for group in range(groups):
        start, length = group / groups, (1 - gap) / groups
        base = 0.0
        for part in range(parts):
            value = data[part][group] * (1 / parts if way == "stacked" else 1)
            ink = plot.inks[part % 4] if parts > 1 or one_ink else plot.inks[group % 4]
            first, last = start + gap / 2 / groups, length
            if way == "grouped":
                last = length / parts
                first += part * last
            _bar(plot, lying, (first, first + last), (base, base + value), ink)
            base = base + value if way == "stacked" else 0.0
        label = job.content.choice(words.MONTHS if groups > 8 else words.TEAMS)
        size = min(3.0 * plot.unit, plot.width / groups * 0.3)
        middle = start + 0.5 / groups
        if lying:
            y = plot.top + plot.height * middle
            plot.sheet.text(
                plot.left - 1, y, label, plot.face.plain, 2.6 * plot.unit, plot.ink, "rm"
            )
        else:
            x, y = plot.left + plot.width * middle, plot.bottom + plot.unit
            plot.sheet.text(x, y, label, plot.face.plain, size, plot.ink, "ma")
    return plot.sheet.finish()


def _bar(
    plot: _Plot, lying: bool, across: tuple[float, float], along: tuple[float, float], ink: RGB
) -> None:
    if lying:
        plot.sheet.box(
            plot.left + plot.width * along[0],
            plot.top + plot.height * across[0],
            plot.left + plot.width * along[1],
            plot.top + plot.height * across[1],
            ink,
        )
    else:
        plot.sheet.box(
            plot.left + plot.width * across[0],
            plot.bottom - plot.height * along[1],
            plot.left + plot.width * across[1],
            plot.bottom - plot.height * along[0],
            ink,
        )


def lines(job: Job) -> Image.Image:
    """A line chart, or areas stacked on each other."""
    rng, plot = job.layout, _plot(job)
    _axes(plot, rng)
    areas = rng.random() < 0.6
    count = rng.randint(9, 40)
    series = [_series(job.content, count) for _ in range(rng.randint(1, 4))]
    if areas and len(series) > 1:
        series = [[v / len(series) for v in one] for one in series]
        for upper in range(1, len(series)):
            series[upper] = [a + b for a, b in zip(series[upper], series[upper - 1], strict=True)]
        series.reverse()
    for index, values in enumerate(series):
        ink = plot.inks[index % 4]
        points = [
            (plot.left + plot.width * i / (count - 1), plot.bottom - plot.height * value)
            for i, value in enumerate(values)
        ]
        if areas:
            plot.sheet.polygon(
                [*points, (plot.right, plot.bottom), (plot.left, plot.bottom)], (*ink, 225)
            )
        plot.sheet.line(points, ink, plot.unit * rng.uniform(0.8, 1.8))
        if count < 16 and rng.random() < 0.6:
            for x, y in points:
                plot.sheet.disc(x, y, plot.unit * 1.3, ink)
    for tick in range(0, count, max(1, count // 8)):
        x = plot.left + plot.width * tick / (count - 1)
        label = words.MONTHS[tick % 12]
        y = plot.bottom + plot.unit
        plot.sheet.text(x, y, label, plot.face.plain, 2.6 * plot.unit, plot.ink, "ma")
    return plot.sheet.finish()


def shares(job: Job) -> Image.Image:
    """One or several pies or rings with a legend."""
    rng, plot = job.layout, _plot(job)
    pies = rng.choice((1, 1, 2, 3))
    hole = rng.choice((0.0, 0.0, 0.45, 0.65))
    inks = [*plot.inks, plot.colours.ink, mix(plot.inks[0], (255, 255, 255), 0.4)]
    wide = plot.width >= plot.height
    legend = rng.random() < 0.6
    along = (plot.width if wide else plot.height) * (0.72 if legend else 1.0)
    radius = min(along / pies, plot.height if wide else plot.width) * rng.uniform(0.38, 0.49)
    for pie in range(pies):
        at = along * (pie + 0.5) / pies
        swing = ((plot.height if wide else plot.width) - 2 * radius) * rng.uniform(
            0.2, 0.8
        ) + radius
        x, y = (plot.left + at, plot.top + swing) if wide else (plot.left + swing, plot.top + at)
        start = job.content.uniform(0, 360)
        parts = [job.content.random() ** 1.5 + 0.08 for _ in range(rng.randint(3, 6))]
        for index, part in enumerate(parts):
            end = start + 360 * part / sum(parts)
            plot.sheet.wedge(x, y, radius, start, end, inks[index % len(inks)])
            start = end
        if hole:
            plot.sheet.disc(x, y, radius * hole, plot.colours.ground)
            label = f"{job.content.randint(3, 98)}%"
            size = radius * hole * 0.6
            plot.sheet.text(
                x, y, label, plot.face.bold, size, readable_on(plot.colours.ground), "mm"
            )
    if legend:
        for index in range(5):
            y = plot.bottom - (5 - index) * 5 * plot.unit
            x = plot.right - 20 * plot.unit if wide else plot.left
            plot.sheet.box(x, y, x + 3 * plot.unit, y + 3 * plot.unit, inks[index])
            label = job.content.choice(words.TEAMS)
            plot.sheet.text(x + 4 * plot.unit, y, label, plot.face.plain, 3 * plot.unit, plot.ink)
    return plot.sheet.finish()


def scatter(job: Job) -> Image.Image:
    """Clouds of points or bubbles."""
    rng, plot = job.layout, _plot(job)
    _axes(plot, rng)
    bubbles = rng.random() < 0.5
    for cloud in range(rng.randint(2, 5)):
        centre = (job.content.uniform(0.1, 0.9), job.content.uniform(0.1, 0.9))
        spread = (job.content.uniform(0.03, 0.2), job.content.uniform(0.03, 0.2))
        lean = job.content.uniform(-1, 1)
        for _ in range(rng.randint(6, 18) if bubbles else rng.randint(60, 160)):
            a, b = job.content.gauss(0, 1), job.content.gauss(0, 1)
            x = min(0.98, max(0.02, centre[0] + spread[0] * a))
            y = min(0.98, max(0.02, centre[1] + spread[1] * (b + lean * a)))
            size = plot.unit * (job.content.uniform(1, 7) if bubbles else 1.1)
            spot = (plot.left + plot.width * x, plot.bottom - plot.height * y)
            plot.sheet.disc(*spot, size, (*plot.inks[cloud % 4], 185))
    return plot.sheet.finish()


def heat_map(job: Job) -> Image.Image:
    """A table of coloured cells, with or without figures in them."""
    rng, plot = job.layout, _plot(job)
    columns, rows = rng.randint(5, 24), rng.randint(4, 14)
    draw = job.content
    bumps = [
        (draw.random(), draw.random(), draw.uniform(0.06, 0.3), draw.choice((1.5, -1.5)))
        for _ in range(9)
    ]
    low = rng.choice((plot.colours.ink, *plot.inks, plot.colours.ground))
    others = (plot.colours.ink, plot.colours.ground, *plot.inks)
    high = max(others, key=lambda ink: contrast(ink, low))
    figures = columns < 12 and rng.random() < 0.6
    wide, tall = plot.width / columns, plot.height / rows
    field: Callable[[float, float], float] = lambda x, y: sum(  # noqa: E731
        sign * math.exp(-((x - a) ** 2 + (y - b) ** 2) / reach**2) for a, b, reach, sign in bumps
    )
    for row in range(rows):
        for column in range(columns):
            level = field(column / columns, row / rows) + job.content.uniform(-0.25, 0.25)
            ink = mix(low, high, min(1, max(0, 0.5 + level / 2)))
            x, y = plot.left + column * wide, plot.top + row * tall
            plot.sheet.box(x, y, x + wide - 0.5, y + tall - 0.5, ink)
            if figures:
                label = f"{level:.1f}"
                spot = (x + wide / 2, y + tall / 2)
                plot.sheet.text(*spot, label, plot.face.plain, tall * 0.35, readable_on(ink), "mm")
    return plot.sheet.finish()
