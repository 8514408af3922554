"""Posters, covers and slides: large lettering with shapes or a photograph."""

from random import Random

from PIL import Image

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import typeface
from curation.demo.drawing.palettes import RGB, Palette, contrast, mix, palette, readable_on
from curation.demo.drawing.photographs import VARIED, any_shot, expose
from curation.demo.scenes.job import Job


def event_poster(job: Job) -> Image.Image:
    """A concert, a market, a talk: a name in large letters, a place, a day, bold shapes."""
    rng = job.layout
    colours = palette(rng)
    ground = rng.choice((colours.ground, colours.ink, *colours.accents))
    sheet = Canvas(job.size, ground)
    inks = [ink for ink in (*colours.accents, colours.ground, colours.ink) if ink != ground]
    way = rng.randrange(4)
    if way == 0:
        _rays(sheet, rng, inks)
    elif way == 1:
        _circles(sheet, rng, inks)
    elif way == 2:
        _blocks(sheet, rng, inks)
    else:
        _cut_photo(sheet, job, rng.choice(inks), ground)
    if rng.random() < 0.5:
        _circles(sheet, rng, inks[:2])
    top, bottom = _small_print(sheet, job, colours, ground)
    face = typeface(rng)
    lines = words.title(job.content).upper().split()[-4:]
    size = min(job.height * 0.2, job.width * 0.3, (bottom - top) * 0.75 / len(lines))
    spare = (bottom - top) * 0.94 - len(lines) * size * 1.18
    y = top + (bottom - top) * 0.03 + max(0.0, spare) * rng.choice((0, 0.4, 1))
    align = rng.choice(("la", "ma", "ra"))
    x = {"la": job.width * 0.07, "ma": job.width / 2, "ra": job.width * 0.93}[align]
    plate = way == 3 or rng.random() < 0.6
    ink = readable_on(ground)
    for line in lines:
        high = sheet.fitted(line, face.bold, job.width * 0.86, size * rng.uniform(0.6, 1))
        wide = sheet.text_width(line, face.bold, high)
        left = {"la": x, "ma": x - wide / 2, "ra": x - wide}[align]
        if plate:
            edge = high * 0.15
            sheet.box(left - edge, y - high * 0.05, left + wide + edge, y + high * 1.2, ground)
        sheet.text(x, y, line, face.bold, high, ink, align)
        y += high * 1.18
    return sheet.finish()


def _rays(sheet: Canvas, rng: Random, inks: list[RGB]) -> None:
    x, y = rng.uniform(0, sheet.width), rng.uniform(0, sheet.height)
    sheet.rays(x, y, rng.randint(6, 16), rng.uniform(0, 60), inks[:2], rng.uniform(0.35, 0.7))
    sheet.disc(x, y, min(sheet.width, sheet.height) * rng.uniform(0.1, 0.3), inks[2])


def _circles(sheet: Canvas, rng: Random, inks: list[RGB]) -> None:
    for _ in range(rng.randint(2, 6)):
        radius = min(sheet.width, sheet.height) * rng.uniform(0.08, 0.45)
        x, y = rng.uniform(0, sheet.width), rng.uniform(0, sheet.height)
        if rng.random() < 0.4:
            sheet.disc(
                x, y, radius, outline=rng.choice(inks), stroke=radius * rng.uniform(0.1, 0.4)
            )
        else:
            sheet.disc(x, y, radius, (*rng.choice(inks), rng.choice((255, 255, 190))))


def _blocks(sheet: Canvas, rng: Random, inks: list[RGB]) -> None:
    for _ in range(rng.randint(3, 8)):
        corners = []
        x, y = rng.uniform(-0.1, 0.9) * sheet.width, rng.uniform(-0.1, 0.9) * sheet.height
        wide, high = rng.uniform(0.1, 0.7) * sheet.width, rng.uniform(0.06, 0.5) * sheet.height
        lean = rng.choice((0, 0, 0.4, -0.4)) * high
        corners = [(x, y), (x + wide, y), (x + wide + lean, y + high), (x + lean, y + high)]
        sheet.polygon(corners, rng.choice(inks))


def _cut_photo(sheet: Canvas, job: Job, ink: RGB, ground: RGB) -> None:
    side = min(job.size) * job.layout.uniform(0.5, 0.95)
    size = sheet.drawn(side, side * job.layout.uniform(0.6, 1.2))
    picture = expose(any_shot(job.content, size[0] / size[1], VARIED, (0.5, 1)), size)
    if job.layout.random() < 0.6:
        other = ink if contrast(ink, ground) > 60 else readable_on(ground)
        picture = tone.duotone(picture, ground, other)
    sheet.paste(
        picture,
        (job.width - side) * job.layout.uniform(-0.1, 1.1),
        (job.height - size[1] / 2) * job.layout.uniform(-0.1, 1.1),
    )


def _small_print(sheet: Canvas, job: Job, colours: Palette, ground: RGB) -> tuple[float, float]:
    """Set place and day in a band, and return the height that stays free, from top to bottom."""
    rng = job.layout
    unit = min(job.size) / 100
    band = rng.choice((ground, colours.ink, colours.accents[3]))
    high = unit * rng.uniform(8, 18)
    top = job.height - high if rng.random() < 0.75 else 0.0
    sheet.box(0, top, job.width, top + high, band)
    place, hour = job.content.choice(words.PLACES), job.content.randint(10, 22)
    text = f"{words.day(job.content)}  {place}  {hour}:00"
    size = sheet.fitted(text, "sans_bold", job.width * 0.8, high * 0.35)
    sheet.text(job.width * 0.07, top + high / 2, text, "sans_bold", size, readable_on(band), "lm")
    return (0.0, top) if top else (high, float(job.height))


def quote_card(job: Job) -> Image.Image:
    """A sentence in quotation marks on a soft ground, with a name under it."""
    rng = job.layout
    colours = palette(rng)
    first, second = rng.sample((*colours.accents, colours.ground, colours.ink), 2)
    sheet = Canvas(job.size, first)
    shot = any_shot(job.content, job.width / job.height, VARIED, (0.5, 1))
    picture = expose(shot, sheet.image.size)
    if rng.random() < 0.6:
        picture = tone.duotone(picture, mix(first, (0, 0, 0), 0.4), first)
    sheet.image.paste(picture)
    if rng.random() < 0.6:
        _circles(sheet, rng, [*colours.accents, second])
    unit = min(job.size) / 100
    wide, high = job.width * rng.uniform(0.4, 0.8), job.height * rng.uniform(0.4, 0.75)
    left, top = (job.width - wide) * rng.random(), (job.height - high) * rng.random()
    sheet.box(left, top, left + wide, top + high, (*second, rng.choice((255, 235, 205))))
    ink = readable_on(second)
    face = typeface(rng)
    mark = unit * rng.uniform(10, 26)
    spot = rng.choice((left + 4 * unit, left + wide - mark))
    sheet.text(spot, top + unit, '"', face.bold, mark, mix(second, ink, 0.45))
    size = unit * rng.uniform(4, 6.5)
    text, edge = words.paragraph(job.content, rng.randint(1, 2)), top + high - 8 * unit
    inside, align = wide - 10 * unit, rng.choice("lm")
    y = top + mark * 0.6
    x = left + 5 * unit
    sheet.paragraph(x, y, inside, text, face.italic, size, ink, align=align, bottom=edge)
    sheet.text(x, top + high - 6 * unit, words.person(job.content), face.bold, 3.4 * unit, ink)
    return sheet.finish()


def film_poster(job: Job) -> Image.Image:
    """One photograph under a colour, a title, names in small capitals."""
    rng = job.layout
    colours = palette(rng)
    dark, light = sorted((colours.ink, colours.ground), key=sum)
    picture = expose(job.window, job.size)
    if rng.random() < 0.7:
        picture = tone.duotone(
            picture, mix(dark, (0, 0, 0), 0.4), light, rng.choice(colours.accents)
        )
    fade = tone.slope(job.size, (255, 255, 255), (0, 0, 0)).convert("L")
    if rng.random() < 0.35:
        fade = fade.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    picture = Image.composite(
        picture, Image.new("RGB", job.size, mix(dark, (0, 0, 0), 0.5)), fade.point(_steep())
    )
    sheet = Canvas(job.size, dark, 1)
    sheet.image.paste(tone.vignetted(picture, 0.5))
    face = typeface(rng)
    name = words.title(job.content).upper()
    size = sheet.fitted(name, face.bold, job.width * 0.86, job.height * 0.13)
    y = job.height * rng.choice((0.1, 0.66, 0.74))
    sheet.text(job.width / 2, y, name, face.bold, size, (250, 248, 240), "ma")
    credit = "   ".join(words.person(job.content).upper() for _ in range(3))
    small = sheet.fitted(credit, "sans", job.width * 0.86, size * 0.4)
    sheet.text(job.width / 2, y + size * 1.4, credit, "sans", small, light, "ma")
    billing = words.paragraph(job.content, 3).upper()
    tiny = min(job.size) * 0.016
    x, wide = job.width * 0.1, job.width * 0.8
    sheet.paragraph(x, job.height * 0.91, wide, billing, "sans", tiny, (190, 186, 180), align="m")
    return tone.grained(sheet.finish(), rng, 5)


def _steep() -> list[int]:
    return [min(255, round(level * 2.2)) for level in range(256)]


def book_cover(job: Job) -> Image.Image:
    """A book standing or lying on a ground: cloth, a picture or shapes, title and author."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, colours.ground)
    room = tone.slope(
        sheet.image.size, rng.choice(colours.accents), colours.ground, turn=rng.random()
    )
    sheet.image.paste(room)
    volumes = rng.choice((1, 1, 2, 3)) if job.width > job.height else 1
    for volume in range(volumes):
        high = min(job.height * rng.uniform(0.6, 0.95), job.width / volumes * 1.35)
        wide = high * rng.uniform(0.6, 0.75)
        x = job.width * (volume + 0.5) / volumes - wide / 2 + rng.uniform(-0.08, 0.08) * job.width
        y = (job.height - high) * rng.random()
        _book(sheet, job, (x, y, x + wide, y + high), colours)
    return sheet.finish()


def _book(
    sheet: Canvas, job: Job, rect: tuple[float, float, float, float], colours: Palette
) -> None:
    rng = job.layout
    left, top, right, bottom = rect
    wide, high = right - left, bottom - top
    cloth = rng.choice((*colours.accents, colours.ink))
    sheet.box(
        left + wide * 0.03,
        top + wide * 0.03,
        right + wide * 0.04,
        bottom + wide * 0.04,
        (0, 0, 0, 90),
    )
    cover = Canvas((max(2, round(wide)), max(2, round(high))), cloth)
    if rng.random() < 0.5:
        share = rng.uniform(0.35, 1.0)
        pixels = cover.drawn(wide, high * share)
        picture = expose(any_shot(job.content, pixels[0] / pixels[1], VARIED, (0.4, 1)), pixels)
        spot = rng.choice((0.0, high * (1 - share)))
        cover.paste(tone.graded(picture, job.content), 0, spot)
    else:
        draw = rng.choice((_circles, _blocks, _rays))
        draw(cover, job.content, [*colours.accents, colours.ground])
    plate = rng.choice((cloth, colours.ground, colours.ink))
    y = high * rng.choice((0.08, 0.35, 0.6))
    cover.box(0, y, wide, y + high * 0.26, plate)
    face, ink = typeface(rng), readable_on(plate)
    name = words.title(job.content)
    size = min(high * 0.085, wide * 0.13)
    cover.paragraph(
        wide * 0.08,
        y + high * 0.02,
        wide * 0.84,
        name,
        face.bold,
        size,
        ink,
        leading=1.1,
        bottom=y + high * 0.21,
    )
    cover.text(
        wide * 0.08, y + high * 0.21, words.person(job.content), face.plain, size * 0.45, ink
    )
    cover.box(0, 0, wide * 0.035, high, (0, 0, 0, 60))
    sheet.paste(cover.image, left, top)


def slide(job: Job) -> Image.Image:
    """A page of a talk: a heading with points, a picture, or a statement on a colour."""
    rng = job.layout
    colours = palette(rng)
    ground = rng.choice((colours.ground, colours.ground, *colours.accents, (255, 255, 255)))
    sheet = Canvas(job.size, ground)
    unit = min(job.size) / 100
    ink, face = readable_on(ground), typeface(rng)
    left, top, right, bottom = 6 * unit, 6 * unit, job.width - 6 * unit, job.height - 6 * unit
    band = rng.choice((*colours.accents, colours.ink))
    side = rng.randrange(6)
    if rng.random() < 0.5:
        shapes = rng.choice((_circles, _blocks, _rays))
        shapes(sheet, rng, [mix(ground, band, share) for share in (0.25, 0.5, 0.75)])
    if side == 0:
        edge = job.width * rng.uniform(0.06, 0.4)
        sheet.box(0, 0, edge, job.height, band)
        left += edge
    elif side == 1:
        edge = job.height * rng.uniform(0.1, 0.3)
        sheet.box(0, 0, job.width, edge, band)
        top += edge
    elif side in (2, 3, 4):
        wide, high = job.width * rng.uniform(0.3, 0.55), job.height * rng.uniform(0.4, 1)
        x, y = rng.choice((0.0, job.width - wide)), (job.height - high) * rng.choice((0, 0.5, 1))
        pixels = sheet.drawn(wide, high)
        picture = expose(any_shot(job.content, pixels[0] / pixels[1], VARIED, (0.4, 1)), pixels)
        sheet.paste(tone.graded(picture, job.content), x, y)
        left, right = (wide + 4 * unit, right) if x == 0 else (left, job.width - wide - 4 * unit)
    size = unit * rng.uniform(6, 11)
    top += (bottom - top) * rng.choice((0, 0, 0.25))
    heading = words.title(job.content)
    top = sheet.paragraph(
        left, top, right - left, heading, face.bold, size, ink, leading=1.2, bottom=bottom
    )
    top += 3 * unit
    step = unit * rng.uniform(3.4, 5)
    for point in range(rng.randint(0, 6)):
        if top > bottom - step:
            break
        sheet.disc(left + step * 0.3, top + step * 0.6, step * 0.2, colours.accents[point % 4])
        text = words.sentence(job.content)
        top = sheet.paragraph(
            left + step, top, right - left - step, text, face.plain, step, ink, bottom=bottom
        )
        top += step * 0.6
    return sheet.finish()
