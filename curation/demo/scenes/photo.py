"""One photograph, shown in the ways in which photographs are shown."""

from random import Random

from PIL import Image, ImageDraw, ImageOps

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.fonts import typeface
from curation.demo.drawing.palettes import RGB, mix, palette, readable_on
from curation.demo.drawing.photographs import expose
from curation.demo.scenes.job import Job


def photo(job: Job) -> Image.Image:
    """A photograph: most often as taken, sometimes framed, inset, or as a print."""
    shown = job.layout.choices((_full, _matted, _inset, _instant), (6, 2, 2, 1))[0]
    return shown(job)


def _developed(job: Job, size: tuple[int, int]) -> Image.Image:
    picture = tone.graded(expose(job.window, size), job.layout)
    if job.layout.random() < 0.4:
        picture = tone.vignetted(picture, job.layout.uniform(0.3, 0.8))
    if job.layout.random() < 0.6:
        picture = tone.grained(picture, job.layout, job.layout.uniform(2, 9))
    return picture


def _full(job: Job) -> Image.Image:
    return _developed(job, job.size)


def _matted(job: Job) -> Image.Image:
    colours = palette(job.layout)
    wall = mix(job.layout.choice((colours.ground, *colours.accents)), (128, 128, 128), 0.15)
    sheet = Canvas(job.size, wall, 1)
    scale = job.layout.uniform(0.55, 0.8)
    wide, high = round(job.width * scale), round(job.height * scale)
    left = round((job.width - wide) * job.layout.uniform(0.2, 0.8))
    top = round((job.height - high) * job.layout.uniform(0.2, 0.8))
    edge = min(job.size) * job.layout.uniform(0.012, 0.03)
    mat = edge * job.layout.uniform(0.5, 2)
    frame = job.layout.choice(((28, 26, 24), (120, 84, 52), (236, 234, 228), (170, 140, 70)))
    box = (left - mat - edge, top - mat - edge, left + wide + mat + edge, top + high + mat + edge)
    for step in range(6, 0, -1):
        spread = edge * step * 0.25
        sheet.box(box[0], box[1] + spread, box[2] + spread, box[3] + spread, (0, 0, 0, 22))
    sheet.box(*box, frame)
    sheet.box(left - mat, top - mat, left + wide + mat, top + high + mat, (245, 243, 238))
    sheet.paste(_developed(job, (wide, high)), left, top)
    return sheet.finish()


def _inset(job: Job) -> Image.Image:
    scale = job.layout.uniform(0.6, 0.85)
    size = (round(job.width * scale), round(job.height * scale))
    picture = _developed(job, size)
    sheet = tone.backdrop(picture, job.size, job.layout.uniform(0.4, 1.1))
    across = (job.width - size[0]) * job.layout.uniform(0, 1)
    down = (job.height - size[1]) * job.layout.uniform(0, 1)
    sheet.paste(picture, (round(across), round(down)))
    return sheet


def _instant(job: Job) -> Image.Image:
    colours = palette(job.layout)
    sheet = tone.slope(
        job.size,
        tone.shaded(colours.accents[0], -0.3),
        colours.accents[0],
        turn=job.layout.random(),
    )
    side = round(min(job.size) * job.layout.uniform(0.5, 0.62))
    border = round(side * 0.07)
    card = Canvas((side + 2 * border, round(side * 1.32)), (250, 248, 242, 255), 1)
    card.paste(_developed(job, (side, side)), border, border)
    card.text(
        card.width / 2,
        side + border * 2.2,
        words.phrase(job.content),
        "times_italic",
        side * 0.1,
        (60, 60, 70),
        "mm",
    )
    turned = card.finish().rotate(
        job.layout.uniform(-14, 14), Image.Resampling.BICUBIC, expand=True
    )
    place = (
        round((job.width - turned.width) * job.layout.uniform(0.1, 0.9)),
        round((job.height - turned.height) * job.layout.uniform(0.1, 0.9)),
    )
    dark = Image.new("RGBA", turned.size, (0, 0, 0, 90))
    dark.putalpha(turned.getchannel("A").point([level // 3 for level in range(256)]))
    sheet.paste(dark, (place[0] + border // 3, place[1] + border // 3), dark)
    sheet.paste(turned, place, turned)
    return sheet


def instrument(job: Job) -> Image.Image:
    """What a telescope, a microscope or a fundus camera saw, with the marks of the instrument."""
    shown = job.layout.choices((_full, _eyepiece, _false_colour, _annotated), (4, 2, 3, 2))[0]
    return shown(job)


def _eyepiece(job: Job) -> Image.Image:
    field = job.layout.uniform(0.42, 0.6) * min(job.size)
    centre = (
        job.width * job.layout.uniform(0.35, 0.65),
        job.height * job.layout.uniform(0.35, 0.65),
    )
    mask = Canvas(job.size, (0, 0, 0))
    mask.disc(*centre, field, (255, 255, 255))
    ground = Image.new("RGB", job.size, job.layout.choice(((6, 6, 8), (14, 18, 26), (238,) * 3)))
    ground.paste(expose(job.window, job.size), mask=mask.finish().convert("L"))
    return ground


def _false_colour(job: Job) -> Image.Image:
    colours = palette(job.layout)
    first, second, third = sorted(colours.accents[:3], key=sum)
    picture = tone.duotone(expose(job.window, job.size), mix(first, (0, 0, 0), 0.6), third, second)
    return ImageOps.invert(picture) if job.layout.random() < 0.35 else picture


def _annotated(job: Job) -> Image.Image:
    picture = expose(job.window, job.size)
    sheet = Canvas(job.size, (0, 0, 0), 1)
    sheet.image.paste(picture)
    unit = min(job.size) / 100
    ink = (255, 255, 255)
    sheet.box(0, job.height - 9 * unit, job.width, job.height, (0, 0, 0, 150))
    length = job.layout.uniform(14, 30) * unit
    sheet.box(3 * unit, job.height - 3 * unit, 3 * unit + length, job.height - 2 * unit, ink)
    label = f"{job.content.choice((5, 10, 20, 50, 100))} um   {words.day(job.content)}"
    sheet.text(3 * unit, job.height - 8 * unit, label, "mono", 3.4 * unit, ink)
    for _ in range(job.content.randint(1, 4)):
        x, y = (
            job.content.uniform(0.15, 0.85) * job.width,
            job.content.uniform(0.1, 0.8) * job.height,
        )
        radius = job.content.uniform(4, 16) * unit
        sheet.disc(x, y, radius, outline=(255, 220, 60), stroke=0.6 * unit)
        sheet.text(x + radius, y - radius, job.content.choice("ABCDEF"), "sans_bold", 4 * unit, ink)
    return sheet.finish()


_DYES: dict[str, tuple[RGB, RGB]] = {
    "brick": ((70, 28, 24), (226, 178, 150)),
    "grass": ((22, 34, 16), (196, 206, 130)),
    "gravel": ((40, 38, 40), (214, 206, 196)),
}


def texture(job: Job) -> Image.Image:
    """A surface that fills the picture, dyed as such a surface would be, under a lamp."""
    picture = expose(job.window, job.size)
    shadow, light = (_near(colour, job.layout) for colour in _DYES[job.window.base])
    picture = Image.blend(picture, tone.duotone(picture, shadow, light), job.layout.uniform(0.5, 1))
    if job.layout.random() < 0.6:
        lamp = tone.slope(job.size, (90, 90, 90), (255, 255, 255), turn=job.layout.random())
        if job.layout.random() < 0.5:
            lamp = lamp.transpose(Image.Transpose.ROTATE_180)
        lit = Image.composite(picture, Image.new("RGB", job.size), lamp.convert("L"))
        picture = Image.blend(picture, lit, 0.7)
    return tone.grained(picture, job.layout, job.layout.uniform(2, 6))


def _near(colour: RGB, rng: Random) -> RGB:
    red, green, blue = (max(0, min(255, level + rng.randint(-28, 28))) for level in colour)
    return red, green, blue


def scan(job: Job) -> Image.Image:
    """A page under a bad lamp: printed or written text, photographed."""
    picture = expose(job.window, job.size)
    paper = job.layout.choice(((246, 236, 214), (226, 232, 236), (250, 246, 238), (214, 200, 170)))
    picture = Image.blend(picture, tone.duotone(picture, (30, 26, 34), paper), 0.8)
    turned = picture.rotate(
        job.layout.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=tone.shaded(paper, -0.5)
    )
    if job.layout.random() < 0.5:
        draw = ImageDraw.Draw(turned, "RGBA")
        spot = min(job.size) * job.layout.uniform(0.1, 0.25)
        x, y = job.layout.uniform(0, job.width), job.layout.uniform(0, job.height)
        draw.ellipse((x - spot, y - spot, x + spot, y + spot), (90, 60, 20, 60))
    return tone.grained(tone.vignetted(turned, job.layout.uniform(0.2, 0.9)), job.layout, 5)


def postcard(job: Job) -> Image.Image:
    """A holiday picture with greetings from somewhere written across it."""
    picture = tone.vignetted(_developed(job, job.size), 0.5)
    sheet = Canvas(job.size, (0, 0, 0), 1)
    sheet.image.paste(picture)
    face = typeface(job.layout).bold
    place = job.content.choice(words.PLACES).upper()
    band = palette(job.layout).accent(job.layout)
    top = job.height * job.layout.choice((0.06, 0.1, 0.62, 0.7))
    size = sheet.fitted(place, face, job.width * 0.8, job.height * 0.2)
    if job.layout.random() < 0.5:
        sheet.box(0, top - size * 0.25, job.width, top + size * 1.35, (*band, 215))
    x = job.width / 2
    sheet.text(x + size * 0.04, top + size * 0.04, place, face, size, (0, 0, 0, 120), "ma")
    sheet.text(x, top, place, face, size, readable_on(band), "ma")
    small = "Greetings from"
    sheet.text(x, top - size * 0.32, small, "times_italic", size * 0.3, (255, 255, 255), "ms")
    edge = round(min(job.size) * 0.03)
    return ImageOps.expand(
        sheet.finish().resize((job.width - 2 * edge, job.height - 2 * edge)), edge, (250, 248, 240)
    )
