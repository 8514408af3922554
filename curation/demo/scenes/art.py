"""Photographs turned into pictures of another kind."""

import math
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from curation.demo import seeds
from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import mix, palette
from curation.demo.drawing.photographs import SCENIC, VARIED, any_shot, expose
from curation.demo.scenes.job import Job


def _cut(job: Job, size: tuple[int, int], bases: tuple[str, ...] = SCENIC) -> Image.Image:
    return expose(any_shot(job.content, size[0] / size[1], bases, (0.4, 1)), size)


def double_exposure(job: Job) -> Image.Image:
    """Two or three photographs on one frame of film."""
    sheet = _cut(job, job.size, VARIED)
    for _ in range(job.layout.randint(1, 2)):
        other = _cut(job, job.size, VARIED)
        way = job.layout.randrange(4)
        if way == 0:
            sheet = ImageChops.screen(sheet, other)
        elif way == 1:
            sheet = ImageChops.multiply(sheet, ImageOps.autocontrast(other, cutoff=2))
            sheet = ImageOps.autocontrast(sheet, cutoff=1)
        elif way == 2:
            mask = tone.slope(job.size, (0, 0, 0), (255, 255, 255), turn=job.layout.random())
            sheet = Image.composite(sheet, other, mask.convert("L"))
        else:
            sheet = Image.blend(sheet, other, 0.5)
    if job.layout.random() < 0.5:
        colours = palette(job.layout)
        sheet = Image.blend(sheet, tone.duotone(sheet, colours.ink, colours.ground), 0.8)
    return ImageOps.autocontrast(sheet, cutoff=0.5)


def cut_outs(job: Job) -> Image.Image:
    """Photographs cut in circles, arches and hexagons, laid on coloured paper."""
    colours = palette(job.layout)
    ground = job.layout.choice((colours.ground, *colours.accents))
    sheet = Canvas(job.size, ground, 1)
    for _ in range(job.layout.randint(1, 4)):
        _paper(sheet, job.layout, colours.accent(job.layout))
    for _ in range(job.layout.randint(2, 6)):
        side = min(job.size) * job.layout.uniform(0.22, 0.6)
        x = job.layout.uniform(0, job.width - side)
        y = job.layout.uniform(0, job.height - side)
        pixels = sheet.drawn(side, side)
        mask = Canvas(pixels, (0, 0, 0))
        half, white = pixels[0] / 2, (255, 255, 255)
        shape = job.layout.randrange(5)
        if shape == 0:
            mask.disc(half, half, half, white)
        elif shape == 1:
            mask.disc(half, half, half, white)
            mask.box(0, half, 2 * half, 2 * half, white)
        elif shape == 2:
            mask.regular(half, half, half, 6, job.layout.choice((0, 30)), white)
        elif shape == 3:
            mask.wedge(0, 2 * half, 2 * half, 270, 360, white)
        else:
            mask.regular(half, half, half, 3, job.layout.choice((30, 90, 210, 270)), white)
        photo = tone.graded(_cut(job, pixels, VARIED), job.content)
        sheet.image.paste(photo, (round(x), round(y)), mask.finish().convert("L"))
    return sheet.finish()


def _paper(sheet: Canvas, rng: Random, colour: tuple[int, int, int]) -> None:
    width, height = sheet.width, sheet.height
    kind = rng.randrange(3)
    if kind == 0:
        sheet.disc(
            rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.15, 0.5) * width, colour
        )
    elif kind == 1:
        left, top = rng.uniform(-0.2, 0.7) * width, rng.uniform(-0.2, 0.7) * height
        right, bottom = left + rng.uniform(0.2, 0.7) * width, top + rng.uniform(0.2, 0.8) * height
        sheet.box(left, top, right, bottom, colour)
    else:
        corners = [(rng.uniform(0, width), rng.uniform(0, height)) for _ in range(3)]
        sheet.polygon(corners, colour)


def low_poly(job: Job) -> Image.Image:
    """A photograph told in a few hundred triangles of one colour each."""
    columns = job.layout.randint(22, 34)
    rows = max(6, round(columns * job.height / job.width))
    small = _treated(job).resize((columns * 4, rows * 4), Image.Resampling.BOX)
    sheet = Canvas(job.size, (0, 0, 0))
    rng = job.layout
    grid = [
        [
            (
                (column + rng.uniform(-0.4, 0.4) * (0 < column < columns)) * job.width / columns,
                (row + rng.uniform(-0.4, 0.4) * (0 < row < rows)) * job.height / rows,
            )
            for column in range(columns + 1)
        ]
        for row in range(rows + 1)
    ]
    for row in range(rows):
        for column in range(columns):
            corners = [
                grid[row][column],
                grid[row][column + 1],
                grid[row + 1][column + 1],
                grid[row + 1][column],
            ]
            turn = rng.randrange(2)
            for three in (corners[turn : turn + 3], [*corners[turn + 2 :], *corners[: turn + 1]]):
                x = sum(point[0] for point in three) / 3 / job.width * columns * 4
                y = sum(point[1] for point in three) / 3 / job.height * rows * 4
                colour = small.getpixel((min(columns * 4 - 1, int(x)), min(rows * 4 - 1, int(y))))
                assert isinstance(colour, tuple)
                shade = rng.uniform(-0.08, 0.08)
                sheet.polygon(three, tone.shaded((colour[0], colour[1], colour[2]), shade))
    return sheet.finish()


def _treated(job: Job) -> Image.Image:
    """Return the reserved window, sometimes in two colours."""
    picture = expose(job.window, job.size)
    if job.layout.random() < 0.3:
        colours = palette(job.layout)
        return tone.duotone(picture, colours.ink, colours.accents[1], colours.accents[0])
    return ImageOps.autocontrast(picture, cutoff=1)


def halftone(job: Job) -> Image.Image:
    """A photograph printed in dots of one or two inks."""
    colours = palette(job.layout, light=True)
    grey = ImageOps.autocontrast(expose(job.window, job.size).convert("L"), cutoff=2)
    pitch = max(4.0, min(job.size) / job.layout.uniform(45, 90))
    sheet = _screened(grey, pitch, job.layout.uniform(0, 90), colours.ground, colours.ink)
    if job.layout.random() < 0.5:
        offset = round(pitch * job.layout.uniform(0.5, 2))
        lighter = ImageChops.offset(grey, offset, offset).point(
            [min(255, level * 2) for level in range(256)]
        )
        ink = colours.accent(job.layout)
        second = _screened(lighter, pitch, job.layout.uniform(0, 90), (255, 255, 255), ink)
        sheet = ImageChops.multiply(sheet, second)
    return sheet


def _screened(
    grey: Image.Image,
    pitch: float,
    degrees: float,
    paper: tuple[int, int, int],
    ink: tuple[int, int, int],
) -> Image.Image:
    turn = math.radians(degrees)
    x = np.arange(grey.width, dtype=np.float32)[None, :]
    y = np.arange(grey.height, dtype=np.float32)[:, None]
    along = (x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / pitch)
    across = (y * math.cos(turn) - x * math.sin(turn)) * (2 * math.pi / pitch)
    screen = (np.cos(along) + np.cos(across)) * 58 + 128
    cover = np.clip((np.asarray(grey, np.float32) - screen) * 0.08 + 0.5, 0, 1)[..., None]
    blend = np.array(ink, np.float32) * (1 - cover) + np.array(paper, np.float32) * cover
    return Image.fromarray(blend.astype(np.uint8))


def engraving(job: Job) -> Image.Image:
    """A photograph drawn in wavy lines that swell where it is dark."""
    colours = palette(job.layout)
    grey = ImageOps.autocontrast(expose(job.window, job.size).convert("L"), cutoff=2)
    values = np.asarray(grey.filter(ImageFilter.GaussianBlur(1.5)), np.float32) / 255
    pitch = max(4.0, min(job.size) / job.layout.uniform(50, 90))
    x = np.arange(job.width, dtype=np.float32)[None, :]
    y = np.arange(job.height, dtype=np.float32)[:, None]
    turn = math.radians(job.layout.uniform(-70, 70))
    wave = np.sin(x / pitch * job.layout.uniform(0.05, 0.2)) * pitch * job.layout.uniform(0, 2)
    phase = (x * math.sin(turn) + y * math.cos(turn) + wave + values * pitch * 0.8) / pitch
    ridge = np.abs((phase % 1) - 0.5) * 2
    cover = np.clip((values * 1.1 - ridge) * pitch * 0.7 + 0.5, 0, 1)[..., None]
    dark, light = (colours.ink, colours.ground)
    if sum(dark) > sum(light):
        dark, light = light, dark
    blend = np.array(dark, np.float32) * (1 - cover) + np.array(light, np.float32) * cover
    return Image.fromarray(blend.astype(np.uint8))


def kaleidoscope(job: Job) -> Image.Image:
    """A wedge of a photograph mirrored around a centre."""
    side = 256
    source = np.asarray(_cut(job, (side, side), VARIED))
    segments = job.layout.choice((3, 4, 5, 6, 7, 8, 9, 10, 12))
    centre_x = job.width * job.layout.uniform(0.3, 0.7)
    centre_y = job.height * job.layout.uniform(0.3, 0.7)
    x = np.arange(job.width, dtype=np.float32)[None, :] - centre_x
    y = np.arange(job.height, dtype=np.float32)[:, None] - centre_y
    wedge = 2 * math.pi / segments
    turn = job.layout.uniform(0, wedge)
    angle = np.abs((np.arctan2(y, x) + turn) % wedge - wedge / 2)
    radius = np.hypot(x, y) / min(job.size) * job.layout.uniform(1.2, 2.6)
    bend = job.layout.uniform(0, 0.6)
    u = radius * np.cos(angle + bend * radius) * side * 0.6 + side * 0.3
    v = radius * np.sin(angle + bend * radius) * side * 0.6 + side * job.layout.uniform(0.1, 0.9)
    return Image.fromarray(source[_fold(v, side), _fold(u, side)])


def _fold(
    values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", side: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int32]]":
    """Return whole positions inside 0 to side, mirrored at both ends."""
    ramp = np.abs((values / side + 1) % 2 - 1) * (side - 1)
    return ramp.astype(np.int32)


def glitch(job: Job) -> Image.Image:
    """A photograph with torn rows, slipped channels and blocks out of place."""
    pixels = np.asarray(ImageOps.autocontrast(_cut(job, job.size, VARIED))).copy()
    rng = job.layout
    for channel, shift in enumerate((rng.randint(-40, 40), 0, rng.randint(-40, 40))):
        pixels[..., channel] = np.roll(pixels[..., channel], shift * job.width // 900, axis=1)
    for _ in range(rng.randint(8, 22)):
        top = rng.randrange(job.height)
        high = max(2, round(job.height * rng.uniform(0.01, 0.14)))
        rows = pixels[top : top + high]
        rows[...] = np.roll(rows, round(rng.gauss(0, 0.25) * job.width), axis=1)
        if rng.random() < 0.3:
            rows[...] = 255 - rows if rng.random() < 0.4 else rows[..., ::-1]
    for _ in range(rng.randint(1, 5)):
        wide, high = round(job.width * rng.uniform(0.1, 0.5)), round(job.height * 0.12)
        x, y = rng.randrange(job.width - wide), rng.randrange(job.height - high)
        pixels[y : y + high, x : x + wide] = np.array(palette(rng).accent(rng))
    sheet = Image.fromarray(pixels)
    lines = np.full((job.height, 1), 255, np.uint8)
    lines[:: max(2, job.height // 220)] = 190
    dim = Image.fromarray(lines).resize(job.size)
    return ImageChops.multiply(sheet, Image.merge("RGB", (dim, dim, dim)))


def mosaic(job: Job) -> Image.Image:
    """A photograph laid in glazed tiles with dark joints."""
    cells = job.layout.randint(22, 46)
    pitch = max(job.size) / cells
    columns, rows = math.ceil(job.width / pitch), math.ceil(job.height / pitch)
    small = _treated(job).resize((columns, rows), Image.Resampling.BOX)
    small = small.quantize(job.layout.randint(6, 14), Image.Quantize.MEDIANCUT).convert("RGB")
    joint = mix(palette(job.layout).ink, (40, 40, 40), 0.7)
    sheet = Canvas(job.size, joint)
    round_tiles = job.layout.random() < 0.4
    array = np.asarray(small)
    jitter = seeds.array_rolls(job.layout).uniform(-0.14, 0.14, (rows, columns))
    for row in range(rows):
        for column in range(columns):
            red, green, blue = (int(level) for level in array[row, column])
            colour = tone.shaded((red, green, blue), float(jitter[row, column]))
            x, y = column * pitch, row * pitch
            if round_tiles:
                sheet.disc(x + pitch / 2, y + pitch / 2, pitch * 0.46, colour)
            else:
                sheet.box(x + pitch * 0.05, y + pitch * 0.05, x + pitch, y + pitch, colour)
    return sheet.finish()


def typed(job: Job) -> Image.Image:
    """A photograph made of letters on a terminal."""
    columns = job.layout.randint(60, 90)
    cell_w = job.width / columns
    cell_h = cell_w * 1.9
    rows = max(4, round(job.height / cell_h))
    grey = ImageOps.equalize(expose(job.window, (columns * 2, rows * 2)).convert("L"))
    values = np.asarray(grey.resize((columns, rows), Image.Resampling.BOX))
    ink = job.layout.choice(((120, 255, 140), (255, 190, 80), (235, 235, 230), (120, 220, 255)))
    ramp = job.layout.choice((" .:-=+*#%@", " .'ijoaXWM", " -~+oxOH#N"))
    sheet = Canvas(job.size, (8, 10, 12), 1)
    for row in range(rows):
        line = "".join(ramp[int(value) * len(ramp) // 256] for value in values[row])
        sheet.text(0, row * cell_h, line, "mono_bold", cell_w / 0.602, ink)
    return sheet.finish()
