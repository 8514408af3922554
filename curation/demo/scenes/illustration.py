"""Drawn scenery: mountains, towns at night, planets."""

import math
from itertools import pairwise
from random import Random

from PIL import Image

from curation.demo import seeds
from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import RGB, contrast, luma, mix, palette
from curation.demo.scenes.job import Job


def landscape(job: Job) -> Image.Image:
    """Ridges one behind the other under a sky with a sun or a moon, perhaps a lake or trees."""
    rng = job.layout
    colours = palette(rng)
    inks = sorted((*colours.accents, colours.ground, colours.ink), key=luma)
    sky_high, sky_low = rng.sample(inks[1:], 2)
    sheet = Canvas(job.size, sky_low)
    horizon = job.height * rng.uniform(0.25, 0.8)
    sheet.image.paste(
        tone.slope(
            sheet.drawn(job.width, horizon * 1.2), sky_high, sky_low, turn=rng.uniform(0, 0.5)
        )
    )
    _sky(sheet, rng, horizon, max(inks, key=lambda ink: contrast(ink, sky_low)))
    layers = rng.randint(2, 6)
    steps = rng.sample(inks, 3)
    for layer in range(layers):
        depth = (layer + 1) / layers
        base = horizon + (job.height - horizon) * depth * 0.75 - job.height * 0.06
        rough = job.height * rng.uniform(0.06, 0.42) * (1.2 - depth * 0.7)
        points = _ridge(rng, job.width, base, rough, sharp=rng.random() < 0.5)
        lean = rng.uniform(-0.3, 0.3) * job.height
        points = [(x, y + lean * (x / job.width - 0.5)) for x, y in points]
        ink = mix(sky_low, mix(steps[layer % 3], inks[0], depth * 0.6), 0.35 + 0.65 * depth)
        sheet.polygon([*points, (job.width, job.height), (0, job.height)], ink)
        if depth > 0.4 and rng.random() < 0.55:
            _trees(sheet, rng, points, tone.shaded(ink, -0.25))
    if rng.random() < 0.3:
        shore = job.height * rng.uniform(0.65, 0.9)
        sheet.box(0, shore, job.width, job.height, mix(sky_low, steps[0], 0.4))
        for _ in range(40):
            x, y = rng.uniform(0, job.width), rng.uniform(shore, job.height)
            sheet.box(x, y, x + job.width * rng.uniform(0.02, 0.1), y + 2, (*sky_high, 120))
    if rng.random() < 0.45:
        _near_tree(sheet, rng, mix(inks[0], steps[1], 0.2))
    picture = sheet.finish()
    return tone.grained(picture, rng, rng.uniform(1, 6)) if rng.random() < 0.6 else picture


def _near_tree(sheet: Canvas, rng: Random, ink: RGB) -> None:
    x, foot = sheet.width * rng.uniform(0.05, 0.95), sheet.height * rng.uniform(0.85, 1.1)
    tall = sheet.height * rng.uniform(0.35, 0.85)
    sheet.line([(x, foot), (x + tall * rng.uniform(-0.1, 0.1), foot - tall)], ink, tall * 0.03)
    for _ in range(rng.randint(6, 16)):
        size = tall * rng.uniform(0.06, 0.16)
        leaf_x, leaf_y = x + rng.gauss(0, tall * 0.16), foot - tall * rng.uniform(0.55, 1.05)
        sheet.disc(leaf_x, leaf_y, size, tone.shaded(ink, rng.uniform(-0.2, 0.25)))


def _sky(sheet: Canvas, rng: Random, horizon: float, light: RGB) -> None:
    radius = min(sheet.width, sheet.height) * rng.uniform(0.05, 0.24)
    x, y = sheet.width * rng.uniform(0.08, 0.92), horizon * rng.uniform(0.15, 1.0)
    for halo in (1.9, 1.5, 1.2):
        sheet.disc(x, y, radius * halo, (*light, 34))
    sheet.disc(x, y, radius, light)
    for _ in range(rng.choice((0, 0, 2, 5))):
        cloud_x, cloud_y = rng.uniform(0, sheet.width), rng.uniform(0.05, 0.8) * horizon
        size = sheet.width * rng.uniform(0.03, 0.08)
        white = (255, 255, 255, 110)
        sheet.box(
            cloud_x - size * 2,
            cloud_y,
            cloud_x + size * 2,
            cloud_y + size * 0.6,
            white,
            radius=size / 4,
        )
        sheet.disc(cloud_x - size * 0.5, cloud_y, size * 0.8, white)
        sheet.disc(cloud_x + size * 0.6, cloud_y, size * 0.6, white)
    for _ in range(rng.choice((0, 0, 0, 7))):
        bird_x, bird_y = rng.uniform(0, sheet.width), rng.uniform(0.1, 0.9) * horizon
        wing = sheet.width * 0.012
        for side in (-1, 1):
            sheet.arc(bird_x + side * wing, bird_y, wing, 190, 350, (30, 30, 40), 1.4)


def _ridge(
    rng: Random, width: int, base: float, rough: float, *, sharp: bool
) -> list[tuple[float, float]]:
    heights = [rng.uniform(-1, 1), rng.uniform(-1, 1)]
    scale = 1.0
    for _ in range(6 if sharp else 7):
        scale *= 0.52 if sharp else 0.42
        between = [
            (one + two) / 2 + rng.uniform(-scale, scale) * 1.6 for one, two in pairwise(heights)
        ]
        heights = [value for pair in zip(heights, between, strict=False) for value in pair]
        heights.append(rng.uniform(-1, 1) if len(heights) < 3 else heights[-1])
    last = len(heights) - 1
    return [(index * width / last, base - rough * value) for index, value in enumerate(heights)]


def _trees(sheet: Canvas, rng: Random, points: list[tuple[float, float]], ink: RGB) -> None:
    size = sheet.height * rng.uniform(0.025, 0.08)
    for x, y in points:
        if rng.random() < 0.5:
            tall = size * rng.uniform(0.6, 1.3)
            for step in (0.0, 0.3, 0.55):
                top, half = y - tall + tall * step * 0.6, tall * (0.16 + step * 0.22)
                foot = [(x, top), (x + half, top + tall * 0.5), (x - half, top + tall * 0.5)]
                sheet.polygon(foot, ink)


def city(job: Job) -> Image.Image:
    """A town by day, at dusk or at night: towers before paler towers, perhaps by a river."""
    rng = job.layout
    colours = palette(rng)
    inks = sorted((*colours.accents, colours.ink, colours.ground), key=luma)
    top, low = rng.sample(inks, 2)
    sheet = Canvas(job.size, low)
    sheet.image.paste(tone.slope(sheet.image.size, top, low, turn=rng.uniform(0, 0.7)))
    if luma(top) < 90:
        for _ in range(120):
            x, y = rng.uniform(0, job.width), rng.uniform(0, job.height * 0.7)
            sheet.disc(x, y, rng.uniform(0.4, 1.3), (255, 250, 230))
    for _ in range(rng.choice((1, 1, 2))):
        moon = min(job.size) * rng.uniform(0.05, 0.28)
        x, y = rng.uniform(0.05, 0.95) * job.width, rng.uniform(0.05, 0.6) * job.height
        sheet.disc(x, y, moon, rng.choice(inks[-2:]))
    # Where the town is high: two hills of towers at places of their own.
    hills = [(rng.uniform(0, 1), rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.75)) for _ in range(3)]
    ground = job.height * rng.uniform(0.72, 1.0)
    for depth in (0.35, 0.65, 1.0):
        x = -job.width * 0.05
        while x < job.width:
            wide = job.width * rng.uniform(0.05, 0.2)
            place = (x + wide / 2) / job.width
            hill = max(gain * math.exp(-(((place - at) / reach) ** 2)) for at, reach, gain in hills)
            high = job.height * max(0.05, hill * (1.25 - depth * 0.5) + rng.gauss(0.03, 0.07))
            ink = mix(low, mix(rng.choice(inks), inks[0], rng.uniform(0.1, 0.9)), depth)
            _tower(sheet, rng, (x, ground - high, x + wide), ink, lit=depth > 0.5)
            x += wide * rng.uniform(0.9, 1.3)
    sheet.box(0, ground, job.width, job.height, mix(rng.choice(inks), low, 0.3))
    for _ in range(60):
        x, y = rng.uniform(0, job.width), rng.uniform(ground, job.height)
        sheet.box(x, y, x + job.width * 0.05, y + 1.5, (*rng.choice(inks), 130))
    return sheet.finish()


def _tower(
    sheet: Canvas, rng: Random, place: tuple[float, float, float], ink: RGB, *, lit: bool
) -> None:
    left, top, right = place
    sheet.box(left, top, right, sheet.height, ink)
    roof = rng.randrange(5)
    middle, wide = (left + right) / 2, right - left
    if roof == 0:
        sheet.polygon([(left, top), (middle, top - wide * 0.5), (right, top)], ink)
    elif roof == 1:
        sheet.box(middle - wide * 0.03, top - wide * 0.7, middle + wide * 0.03, top, ink)
    elif roof == 2:
        sheet.box(left + wide * 0.2, top - wide * 0.2, right - wide * 0.2, top, ink)
    if not lit:
        return
    pitch = max(5.0, sheet.height / 60)
    share = rng.uniform(0.1, 0.6)
    glow = rng.choice(((255, 214, 120), (255, 236, 190), (190, 230, 255)))
    y = top + pitch
    while y < sheet.height - pitch:
        x = left + pitch * 0.6
        while x < right - pitch:
            if rng.random() < share:
                sheet.box(x, y, x + pitch * 0.5, y + pitch * 0.55, glow)
            x += pitch
        y += pitch


def planets(job: Job) -> Image.Image:
    """Planets with bands, craters, rings and shadows in front of stars."""
    rng = job.layout
    colours = palette(rng)
    deep = mix(min((colours.ground, colours.ink), key=luma), (4, 4, 14), 0.55)
    sheet = Canvas(job.size, deep)
    noise = seeds.array_rolls(rng)
    for x, y, size in noise.random((260, 3)).tolist():
        sheet.disc(x * job.width, y * job.height, 0.3 + size**4 * 2.2, (255, 255, 245, 200))
    for index in range(rng.randint(2, 5)):
        share = rng.choice((0.06, 0.1, 0.2, 0.35, 0.55)) if index else rng.choice((0.3, 0.45, 0.6))
        radius = min(job.size) * share * rng.uniform(0.8, 1.2)
        x, y = rng.uniform(0, job.width), rng.uniform(0, job.height)
        _planet(sheet, rng, (x, y), radius, colours.accents_shuffled(rng))
    return sheet.finish()


def _planet(
    sheet: Canvas, rng: Random, centre: tuple[float, float], radius: float, inks: list[RGB]
) -> None:
    x, y = centre
    side = sheet.drawn(radius * 2, radius * 2)
    ball = Canvas(side, inks[0], 1)
    half = side[0] / 2
    if rng.random() < 0.5:
        at = 0.0
        while at < side[1]:
            high = side[1] * rng.uniform(0.03, 0.2)
            ball.box(
                0, at, side[0], at + high, tone.shaded(rng.choice(inks), rng.uniform(-0.2, 0.2))
            )
            at += high
        ball.image = ball.image.rotate(rng.uniform(-35, 35), fillcolor=inks[0])
    else:
        for _ in range(rng.randint(6, 22)):
            size = half * rng.uniform(0.04, 0.4)
            spot = (rng.uniform(0, side[0]), rng.uniform(0, side[1]))
            ball.disc(*spot, size, tone.shaded(rng.choice(inks[:2]), rng.uniform(-0.3, 0.1)))
    shadow = Canvas(side, (255, 255, 255), 1)
    turn = rng.uniform(0, 2 * math.pi)
    away = half * rng.uniform(0.3, 0.9)
    shadow.disc(half + away * math.cos(turn), half + away * math.sin(turn), half * 1.1, (0, 0, 0))
    dark = Image.blend(ball.image, Image.new("RGB", side), 0.72)
    lit = Image.composite(dark, ball.image, shadow.image.convert("L"))
    mask = Canvas(side, (0, 0, 0), 1)
    mask.disc(half, half, half - 1, (255, 255, 255))
    lit.putalpha(mask.image.convert("L"))
    ringed = rng.random() < 0.35
    tilt = rng.uniform(0.12, 0.4)
    if ringed:
        box = (x - radius * 1.8, y - radius * tilt, x + radius * 1.8, y + radius * tilt)
        sheet.oval(*box, outline=(*inks[1], 220), stroke=radius * 0.12)
    sheet.paste(lit, x - radius, y - radius)
    if ringed:
        arc = [
            (x + radius * 1.75 * math.cos(a / 40), y + radius * tilt * 0.97 * math.sin(a / 40))
            for a in range(126)
        ]
        sheet.line(arc, (*inks[1], 230), radius * 0.1)
