"""Games on paper and on tables: chess, crosswords, mazes, cards."""

from random import Random

from PIL import Image

from curation.demo.drawing import tone, words
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import RGB, contrast, mix, palette, readable_on
from curation.demo.scenes.job import Job

_PIECES = "\u265a\u265b\u265c\u265d\u265e\u265f"
_SUITS = "\u2660\u2665\u2666\u2663"


def chess(job: Job) -> Image.Image:
    """A position on a board, or a corner of it."""
    rng = job.layout
    colours = palette(rng)
    dark, light = sorted(rng.sample((*colours.accents, colours.ground), 2), key=sum)
    if contrast(dark, light) < 60:
        light = mix(light, (255, 255, 255), 0.6)
    edge = mix(dark, (0, 0, 0), 0.5)
    sheet = Canvas(job.size, edge)
    board = min(job.size) * rng.uniform(0.8, 1.5)
    left = (job.width - board) * rng.random()
    top = (job.height - board) * rng.random()
    cell = board / 8
    white, black = (250, 248, 240), (22, 20, 22)
    crowd = rng.uniform(0.2, 0.6)
    for row in range(8):
        for column in range(8):
            x, y = left + column * cell, top + row * cell
            ground = light if (row + column) % 2 else dark
            if job.content.random() < 0.06:
                ground = colours.accents[3]
            sheet.box(x, y, x + cell, y + cell, ground)
            # White keeps to one side and black to the other, more or less.
            near = abs(row - job.content.choice((0, 7, 3)))
            if job.content.random() < crowd * (1.2 if near < 3 else 0.6):
                mine = job.content.random() < (row + 1) / 9
                ink, rim = (white, black) if mine else (black, white)
                middle = (x + cell / 2, y + cell / 2)
                sheet.disc(*middle, cell * 0.4, (*ink, 255 if crowd > 0.4 else 60))
                piece = job.content.choice(_PIECES)
                shade = rim if crowd > 0.4 else ink
                sheet.text(*middle, piece, "sans", cell * 0.7, shade, "mm")
    return sheet.finish()


def crossword(job: Job) -> Image.Image:
    """A crossword, half solved, with its clues beside or below it."""
    rng = job.layout
    colours = palette(rng, light=True)
    sheet = Canvas(job.size, colours.ground)
    unit = min(job.size) / 100
    side = min(job.size) * rng.uniform(0.6, 0.92)
    left, top = (job.width - side) * rng.random(), (job.height - side) * rng.random()
    cells = rng.randint(7, 15)
    cell = side / cells
    black = rng.choice(((20, 20, 22), colours.accents[0], colours.accents[1]))
    filled = rng.uniform(0.1, 0.9)
    blocks = {
        (job.content.randrange(cells), job.content.randrange(cells))
        for _ in range(cells * cells // 5)
    }
    # Crosswords look the same after half a turn.
    blocks |= {(cells - 1 - column, cells - 1 - row) for column, row in blocks}
    for _ in range(rng.randint(1, 3)):
        column, row = job.content.randrange(cells - 2), job.content.randrange(cells - 2)
        blocks |= {(column + a, row + b) for a in range(3) for b in range(2)}
    sheet.box(left - 2, top - 2, left + side + 2, top + side + 2, (40, 40, 44))
    for row in range(cells):
        for column in range(cells):
            x, y = left + column * cell, top + row * cell
            ground = black if (column, row) in blocks else (255, 255, 255)
            sheet.box(x + 1, y + 1, x + cell - 1, y + cell - 1, ground)
            if ground != black and job.content.random() < filled:
                letter = job.content.choice("ETAOINSHRDLUCMFWYPVBGK")
                middle = (x + cell / 2, y + cell / 2)
                sheet.text(*middle, letter, "sans", cell * 0.6, (40, 44, 90), "mm")
    ink = readable_on(colours.ground)
    places = [(left + side + 3 * unit, 4 * unit, job.width), (3 * unit, 4 * unit, left - 3 * unit)]
    for x, y, right in places:
        if right - x > 12 * unit:
            text = words.paragraph(job.content, 30)
            sheet.paragraph(
                x, y, right - x - 2 * unit, text, "serif", 2.2 * unit, ink, bottom=job.height
            )
    if job.height - side > 20 * unit:
        y = top + side + 3 * unit if top < (job.height - side) / 2 else 3 * unit
        end = job.height if y > top else top - unit
        text = words.paragraph(job.content, 30)
        sheet.paragraph(
            3 * unit, y, job.width - 6 * unit, text, "serif", 2.2 * unit, ink, bottom=end
        )
    return sheet.finish()


def maze(job: Job) -> Image.Image:
    """A maze with one way through, some of it already coloured in."""
    rng = job.layout
    colours = palette(rng)
    pitch = max(job.size) / rng.randint(12, 30)
    columns, rows = max(3, int(job.width / pitch)), max(3, int(job.height / pitch))
    order, parent = _carve(job.content, columns, rows)
    sheet = Canvas(job.size, colours.ink)
    thick = pitch * rng.uniform(0.4, 0.75)
    inset = ((job.width - columns * pitch) / 2, (job.height - rows * pitch) / 2)

    def middle(cell: tuple[int, int]) -> tuple[float, float]:
        return inset[0] + (cell[0] + 0.5) * pitch, inset[1] + (cell[1] + 0.5) * pitch

    coloured = int(len(order) * rng.uniform(0.2, 0.8))
    half = thick / 2
    for step, cell in enumerate(order):
        ink = colours.accents[step * 3 // len(order)] if step < coloured else colours.ground
        x, y = middle(cell)
        from_x, from_y = middle(parent.get(cell, cell))
        left, right = sorted((x, from_x))
        top, bottom = sorted((y, from_y))
        sheet.box(left - half, top - half, right + half, bottom + half, ink)
    spot = middle(order[-1])
    sheet.disc(*spot, pitch * 0.45, colours.accents[3])
    return sheet.finish()


def _carve(
    rng: Random, columns: int, rows: int
) -> tuple[list[tuple[int, int]], dict[tuple[int, int], tuple[int, int]]]:
    """Return the cells in the order in which they were reached, and whence."""
    start = (rng.randrange(columns), rng.randrange(rows))
    order, parent, seen, stack = [start], dict[tuple[int, int], tuple[int, int]](), {start}, [start]
    while stack:
        column, row = stack[-1]
        free = [
            cell
            for cell in ((column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1))
            if cell not in seen and 0 <= cell[0] < columns and 0 <= cell[1] < rows
        ]
        if not free:
            stack.pop()
            continue
        cell = rng.choice(free)
        parent[cell] = (column, row)
        seen.add(cell)
        order.append(cell)
        stack.append(cell)
    return order, parent


def cards(job: Job) -> Image.Image:
    """Playing cards dealt on a table."""
    rng = job.layout
    colours = palette(rng)
    felt = rng.choice((colours.accents[0], colours.ink, (24, 96, 62), (30, 60, 110)))
    sheet = tone.slope(
        job.size, tone.shaded(felt, -0.35), tone.shaded(felt, 0.1), turn=rng.random()
    )
    high = round(min(job.size) * rng.uniform(0.3, 0.62))
    for _ in range(rng.randint(3, 11)):
        card = _card(job.content, high, colours.accents)
        turned = card.rotate(job.content.gauss(0, 35), Image.Resampling.BICUBIC, expand=True)
        x = round(job.content.uniform(0, job.width) - turned.width / 2)
        y = round(job.content.uniform(0, job.height) - turned.height / 2)
        shade = turned.getchannel("A").point([level // 3 for level in range(256)])
        sheet.paste((0, 0, 0), (x + high // 50 + 1, y + high // 50 + 1), shade)
        sheet.paste(turned, (x, y), turned)
    return sheet


def _card(rng: Random, high: int, backs: tuple[RGB, ...]) -> Image.Image:
    wide = round(high * 0.7)
    card = Canvas((wide, high), (0, 0, 0, 0), 1)
    card.box(0, 0, wide, high, (252, 251, 246, 255), radius=high * 0.05)
    if rng.random() < 0.25:
        back = rng.choice(backs)
        card.box(wide * 0.06, high * 0.05, wide * 0.94, high * 0.95, (*back, 255))
        for line in range(8):
            at = high * (0.1 + line * 0.1)
            card.line(
                [(wide * 0.1, at), (wide * 0.9, at + high * 0.05)], (252, 251, 246, 255), high / 60
            )
        return card.finish()
    suit = rng.choice(_SUITS)
    ink = (200, 30, 40, 255) if suit in _SUITS[1:3] else (20, 20, 24, 255)
    rank = rng.choice("A23456789JQK")
    card.text(wide * 0.14, high * 0.1, rank, "serif_bold", high * 0.14, ink, "mm")
    card.text(wide * 0.14, high * 0.23, suit, "sans", high * 0.13, ink, "mm")
    if rank in "JQK":
        card.box(wide * 0.26, high * 0.12, wide * 0.86, high * 0.9, (*rng.choice(backs), 255))
        card.text(
            wide * 0.56, high * 0.5, rank, "serif_bold", high * 0.5, (252, 251, 246, 255), "mm"
        )
    else:
        count = 1 if rank == "A" else int(rank)
        size = high * (0.5 if count == 1 else 0.17)
        for pip in range(count):
            column, row = (pip % 2, pip // 2) if count > 3 else (0.5, pip)
            rows = max(1, (count + 1) // 2) if count > 3 else count
            spot = (wide * (0.38 + 0.34 * column), high * (0.14 + 0.76 * (row + 0.5) / rows))
            card.text(*spot, suit, "sans", size, ink, "mm")
    return card.finish()
