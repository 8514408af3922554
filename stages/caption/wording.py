"""Words for measurements, and texts from elsewhere made fit to stand in a sentence.

Alt texts and OCR are hostile input: what goes into a caption is one line of printable characters
without quotation marks that could end the quotation, and of limited length.
"""

import unicodedata
from collections.abc import Sequence

MAX_QUOTED = 240
"""Characters of a text from elsewhere that a caption quotes."""

_SQUARE_PERCENT = 5
_ASPECTS = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1), (21, 9), (3, 1))

DARK_LUMA = 60.0
BRIGHT_LUMA = 185.0
LOW_CONTRAST = 25.0
HIGH_CONTRAST = 80.0
GRAY_COLORFULNESS = 3.0
VIVID_COLORFULNESS = 70.0

_QUOTES = str.maketrans({"'": "\u2019", "\u2018": "\u2019", "`": "\u2019"})


def orientation(width: int, height: int) -> str:
    """Return `square`, `horizontal`, `vertical`, `panoramic` or `tall`."""
    longer, shorter = max(width, height), min(width, height)
    if 100 * (longer - shorter) <= _SQUARE_PERCENT * longer:
        return "square"
    if longer >= 2 * shorter:
        return "panoramic" if width > height else "tall"
    return "horizontal" if width > height else "vertical"


def aspect(width: int, height: int) -> str:
    """Return the nearest of the usual aspect ratios, width first: `3:2`, `9:16`."""
    longer, shorter = max(width, height), min(width, height)

    def distance(ratio: tuple[int, int]) -> tuple[float, int]:
        wide, tall = longer * ratio[1], shorter * ratio[0]
        return (max(wide, tall) / min(wide, tall), ratio[0])

    first, second = min(_ASPECTS, key=distance)
    return f"{first}:{second}" if width >= height else f"{second}:{first}"


def light(mean_luma: float, contrast: float, colorfulness: float) -> list[str]:
    """Return adjectives for light, contrast and colour; none for what is ordinary."""
    words = []
    if mean_luma < DARK_LUMA:
        words.append("dark")
    elif mean_luma > BRIGHT_LUMA:
        words.append("bright")
    if contrast < LOW_CONTRAST:
        words.append("low-contrast")
    elif contrast > HIGH_CONTRAST:
        words.append("high-contrast")
    if colorfulness < GRAY_COLORFULNESS:
        words.append("monochrome")
    elif colorfulness > VIVID_COLORFULNESS:
        words.append("vivid")
    return words


def one_line(text: str | None, limit: int = MAX_QUOTED) -> str:
    """Return a text as one line of printable characters, cut between words; empty for null."""
    plain = unicodedata.normalize("NFC", (text or "")[: 8 * limit])
    visible = "".join(c if c.isprintable() else " " for c in plain)
    line = " ".join(visible.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    head, space, _ = cut.rpartition(" ")
    return f"{(head if space and len(head) >= limit // 2 else cut).rstrip()}\u2026"


def quoted(text: str | None) -> str:
    """Return a text in single quotes, with typographic ones within; empty where nothing is said."""
    line = one_line(text)
    return f"'{line.translate(_QUOTES)}'" if line else ""


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
