"""Pictures with known text."""

import io

from PIL import Image, ImageDraw, ImageFont


def written(
    lines, size=(480, 240), height=28, paper=(250, 248, 240), ink=(20, 20, 30), left=24, top=20
):
    """Return a picture with lines of text, one below the other."""
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(height)
    for number, line in enumerate(lines):
        draw.text((left, top + number * 2 * height), line, ink, font)
    return image


def png(image):
    """Return the file of a picture."""
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()
