"""Charts of figures that somebody might have measured."""

import math
from random import Random

from PIL import Image

from curation.demo.drawing import words
from curation.demo.drawing.palettes import RGB, contrast, mix, readable_on
from curation.demo.scenes.job import Job
from curation.demo.scenes.plot import Plot, draw_axes, make_plot


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
    rng, plot = job.layout, make_plot(job)
    groups = rng.randint(3, 14)
    way = rng.choice(("single", "single", "grouped", "stacked"))
    parts = 1 if way == "single" else rng.randint(2, 4)
    lying = rng.random() < 0.4
    gap = rng.uniform(0.1, 0.5)
    one_ink = rng.random() < 0.6
    if not lying:
        draw_axes(plot, rng)
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
    plot: Plot, lying: bool, across: tuple[float, float], along: tuple[float, float], ink: RGB
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
    rng, plot = job.layout, make_plot(job)
    draw_axes(plot, rng)
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
    rng, plot = job.layout, make_plot(job)
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
    rng, plot = job.layout, make_plot(job)
    draw_axes(plot, rng)
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
    rng, plot = job.layout, make_plot(job)
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

    def field(x: float, y: float) -> float:
        return sum(
            sign * math.exp(-((x - a) ** 2 + (y - b) ** 2) / reach**2)
            for a, b, reach, sign in bumps
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
