"""Things seen from above or as a plan: maps, networks, flow charts."""

import math
from functools import lru_cache
from itertools import pairwise
from random import Random

import numpy as np
from PIL import Image

from curation.demo import seeds
from curation.demo.drawing import words
from curation.demo.drawing.canvas import Canvas, Point
from curation.demo.drawing.palettes import RGB, mix, palette, readable_on
from curation.demo.drawing.wheels import package_file
from curation.demo.scenes.job import Job


@lru_cache(maxsize=2)
def _elevation(name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    field = {"jacksboro_fault_dem": "elevation", "topobathy": "topo"}[name]
    path = package_file("matplotlib", f"mpl-data/sample_data/{name}.npz")
    with np.load(path) as file:
        heights = np.asarray(file[field], np.float32)
    lowest, highest = float(heights.min()), float(heights.max())
    return np.asarray((heights - lowest) / (highest - lowest), np.float32)


def relief(job: Job) -> Image.Image:
    """A shaded map of measured heights, tinted by height, with contours and a few names."""
    rng = job.layout
    colours = palette(rng)
    heights = _elevation("jacksboro_fault_dem" if rng.random() < 0.75 else "topobathy")
    rows, columns = heights.shape
    share = rng.uniform(0.16, 0.5)
    high = max(12, round(rows * share * min(1.0, job.height / job.width)))
    wide = max(12, round(rows * share * min(1.0, job.width / job.height)))
    top, left = rng.randrange(max(1, rows - high)), rng.randrange(max(1, columns - wide))
    window = np.rot90(heights, rng.randrange(2) * 2)[top : top + high, left : left + wide]
    window = window if rng.random() < 0.5 else window[:, ::-1]
    window = (window - window.min()) / (float(np.ptp(window)) + 1e-6)
    picture = Image.fromarray((window * 255).astype(np.uint8)).resize(
        job.size, Image.Resampling.BICUBIC
    )
    level = np.asarray(picture, np.float32) / 255
    sun = rng.uniform(0, 2 * math.pi)
    slope_y, slope_x = np.gradient(level, 3.0)
    light = (
        (slope_x * math.cos(sun) + slope_y * math.sin(sun)) * min(job.size) * rng.uniform(0.2, 0.6)
    )
    stops = np.array([colours.ink, *colours.accents_shuffled(rng), colours.ground], np.float32)
    place = level * (len(stops) - 1.001)
    low = place.astype(np.int32)
    blend = (place - low)[..., None]
    pixels = stops[low] * (1 - blend) + stops[low + 1] * blend
    pixels = pixels * np.clip(0.9 + light, 0.35, 1.4)[..., None]
    if rng.random() < 0.6:
        rings = np.abs((level * rng.randint(8, 22)) % 1 - 0.5)
        pixels = pixels * np.where(rings < 0.06, 0.55, 1)[..., None]
    sheet = Canvas(job.size, (0, 0, 0), 1)
    sheet.image.paste(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    _place_names(sheet, job.content)
    return sheet.finish()


def _place_names(sheet: Canvas, rng: Random) -> None:
    unit = min(sheet.width, sheet.height) / 100
    for name in rng.sample(words.PLACES, rng.randint(2, 5)):
        x, y = rng.uniform(0.1, 0.8) * sheet.width, rng.uniform(0.1, 0.9) * sheet.height
        sheet.disc(x, y, unit, (255, 255, 255))
        sheet.text(x + 2 * unit, y, name, "serif_italic", 3.5 * unit, (20, 20, 20, 200), "lm")


def streets(job: Job) -> Image.Image:
    """A plan of a town: blocks, avenues, a river, parks, names along the way."""
    rng = job.layout
    colours = palette(rng)
    ground = mix(colours.ground, rng.choice(colours.accents), 0.25)
    side = math.hypot(*job.size)
    sheet = Canvas((round(side), round(side)), ground, 1)
    road = readable_on(ground) if rng.random() < 0.3 else (255, 255, 255)
    water, park = colours.accents[1], colours.accents[2]
    _grid(sheet, rng, ground, colours.accents_shuffled(rng), (park, road))
    points = [(-side * 0.1, rng.uniform(0, side))]
    while points[-1][0] < side:
        x, y = points[-1]
        points.append((x + side * 0.08, y + rng.gauss(0, side * 0.07)))
    sheet.line(points, water, side * rng.uniform(0.03, 0.12))
    for _ in range(rng.randint(2, 5)):
        x, y, turn = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0, math.pi)
        far = (math.cos(turn) * side, math.sin(turn) * side)
        avenue = [(x - far[0], y - far[1]), (x + far[0], y + far[1])]
        sheet.line(avenue, road, side * rng.uniform(0.01, 0.025))
    for _ in range(rng.randint(0, 3)):
        x, y = rng.uniform(0.2, 0.8) * side, rng.uniform(0.2, 0.8) * side
        sheet.disc(x, y, side * rng.uniform(0.03, 0.12), rng.choice((park, water)))
    # A square as wide as the picture's diagonal covers the picture however it is turned.
    town = sheet.finish().rotate(rng.uniform(0, 90), Image.Resampling.BICUBIC)
    left, top = (town.width - job.width) // 2, (town.height - job.height) // 2
    cut = Canvas(job.size, ground, 1)
    cut.image.paste(town, (-left, -top))
    _place_names(cut, job.content)
    return cut.finish()


def _grid(
    sheet: Canvas, rng: Random, ground: RGB, blocks: list[RGB], others: tuple[RGB, RGB]
) -> None:
    park, road = others
    xs, ys = [0.0], [0.0]
    while xs[-1] < sheet.width:
        xs.append(xs[-1] + sheet.width * rng.uniform(0.03, 0.1))
    while ys[-1] < sheet.height:
        ys.append(ys[-1] + sheet.height * rng.uniform(0.03, 0.1))
    gap = sheet.width * rng.uniform(0.003, 0.007)
    sheet.box(0, 0, sheet.width, sheet.height, road)
    dense = [(rng.random() * sheet.width, rng.random() * sheet.height) for _ in range(2)]
    for x0, x1 in pairwise(xs):
        for y0, y1 in pairwise(ys):
            near = min(math.hypot(x0 - a, y0 - b) for a, b in dense) / sheet.width
            ink = mix(ground, blocks[0], max(0.0, 0.9 - near * 2.5) * rng.uniform(0.5, 1))
            if rng.random() < 0.08:
                ink = park
            elif rng.random() < 0.15:
                ink = mix(ground, blocks[1], 0.6)
            sheet.box(x0 + gap, y0 + gap, x1 - gap, y1 - gap, ink)


def transit(job: Job) -> Image.Image:
    """A map of lines and stations, with bends of 45 degrees and a legend."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, colours.ground)
    unit = min(job.size) / 100
    ink = readable_on(colours.ground)
    for _ in range(rng.randint(0, 2)):
        wide = rng.uniform(0.2, 0.6) * job.width
        x, y = rng.uniform(0, job.width), rng.uniform(0, job.height)
        sheet.regular(x, y, wide / 2, rng.choice((4, 6, 8)), 22.5, mix(colours.ground, ink, 0.14))
    thick = unit * rng.uniform(2, 4.5)
    for line in range(rng.randint(5, 9)):
        colour = (*colours.accents, ink)[line % 5]
        points = _route(rng, job.size)
        sheet.line(points, colour, thick)
        for (x0, y0), (x1, y1) in pairwise(points):
            for stop in range(1, 4):
                x, y = x0 + (x1 - x0) * stop / 3, y0 + (y1 - y0) * stop / 3
                sheet.disc(x, y, thick * 0.65, colours.ground, outline=ink, stroke=thick * 0.2)
            name = job.content.choice(words.PLACES)
            sheet.text(x1 + thick, y1 - thick, name, "sans", 2.6 * unit, ink, "ls")
    if rng.random() < 0.5:
        high = unit * rng.uniform(10, 16)
        sheet.box(0, job.height - high, job.width, job.height, ink)
        x, y = 4 * unit, job.height - high / 2
        name = words.title(job.content)
        sheet.text(x, y, name, "sans_bold", high * 0.4, readable_on(ink), "lm")
    return sheet.finish()


def _route(rng: Random, size: tuple[int, int]) -> list[Point]:
    x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    turn = rng.randrange(8)
    points = [(x, y)]
    for _ in range(rng.randint(4, 9)):
        step = min(size) * rng.uniform(0.12, 0.4)
        turn += rng.choice((-1, 0, 1))
        for _ in range(8):
            angle = turn * math.pi / 4
            ahead = (x + step * math.cos(angle), y + step * math.sin(angle))
            if 0 < ahead[0] < size[0] and 0 < ahead[1] < size[1]:
                break
            turn += 1
        x, y = ahead
        points.append((x, y))
    return points


def flow_chart(job: Job) -> Image.Image:
    """Boxes, diamonds and arrows that say how something is decided."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, colours.ground)
    unit = min(job.size) / 100
    ink = readable_on(colours.ground)
    columns, rows = rng.randint(2, 5), rng.randint(2, 5)
    if rng.random() < 0.5:
        lane = rng.randrange(columns)
        x0, x1 = job.width * lane / columns, job.width * (lane + 1) / columns
        sheet.box(x0, 0, x1, job.height, mix(colours.ground, colours.accents[0], 0.35))
    spots = [(c, r) for c in range(columns) for r in range(rows) if rng.random() < 0.75]
    places = [
        (job.width * (c + rng.uniform(0.35, 0.65)) / columns, job.height * (r + 0.5) / rows)
        for c, r in spots
    ]
    for (x0, y0), (x1, y1) in pairwise(places):
        sheet.line([(x0, y0), (x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)], ink, unit * 0.7)
    for x, y in places:
        wide, high = (
            job.width / columns * rng.uniform(0.22, 0.46),
            job.height / rows * rng.uniform(0.18, 0.4),
        )
        fill = rng.choice((*colours.accents, colours.ink))
        shape = rng.randrange(4)
        if shape == 0:
            sheet.polygon([(x, y - high), (x + wide, y), (x, y + high), (x - wide, y)], fill)
        elif shape == 1:
            sheet.oval(x - wide, y - high, x + wide, y + high, fill)
        else:
            sheet.box(x - wide, y - high, x + wide, y + high, fill, radius=shape * unit)
        label = words.phrase(job.content)
        size = sheet.fitted(label, "sans", wide * 1.5, 3.6 * unit)
        sheet.text(x, y, label, "sans", size, readable_on(fill), "mm")
    return sheet.finish()


def network(job: Job) -> Image.Image:
    """Nodes of many sizes, tied to their neighbours."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, rng.choice((colours.ground, colours.ink)))
    noise = seeds.array_rolls(rng)
    hubs = noise.random((rng.randint(3, 7), 2)) * np.array(job.size)
    unit = min(job.size) / 100
    for index, (hub_x, hub_y) in enumerate(hubs.tolist()):
        for other_x, other_y in hubs.tolist()[:index]:
            if rng.random() < 0.6:
                sheet.line([(hub_x, hub_y), (other_x, other_y)], (140, 140, 140, 160), unit * 0.5)
        ink = colours.accents[index % 4]
        for _ in range(rng.randint(6, 26)):
            x, y = hub_x + rng.gauss(0, 13) * unit, hub_y + rng.gauss(0, 13) * unit
            sheet.line([(hub_x, hub_y), (x, y)], (*ink, 170), unit * 0.35)
            sheet.disc(x, y, unit * rng.uniform(0.6, 2.2), ink)
        sheet.disc(hub_x, hub_y, unit * rng.uniform(4, 13), ink)
        name = job.content.choice(words.TEAMS)
        sheet.text(hub_x, hub_y, name, "sans_bold", 3 * unit, readable_on(ink), "mm")
    return sheet.finish()
