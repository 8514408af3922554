"""Numbers and names as the page shows them."""

import bisect
import unicodedata

LONGEST_NAME = 160
"""Characters of a file name or value that are shown; more is cut out of the middle."""

LONGEST_TITLE = 1000
"""Characters of what a drawing says when it is pointed at."""

_LETTER, _WIDE_LETTER = 6.3, 11.0
"""About the widths of letters of a drawing's label."""

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def printable(text: str) -> str:
    """Return `text` with everything that is not printable as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"


def plural(value: int, one: str, many: str = "") -> str:
    """Return a count with its noun."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def percent(part: float, whole: float) -> str:
    """Return a share as per cent: never 0 or 100 for what is only nearly so."""
    if not whole:
        return "\N{EN DASH}"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    if 99.9 < share < 100:
        return ">99.9%"
    return f"{share:.1f}%" if 0 < share < 100 else f"{share:.0f}%"


def number(value: float) -> str:
    """Return a measured number with about three digits."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def tick(value: float, unit: str) -> str:
    """Return the label of an axis."""
    if unit == "bytes":
        return size(int(value), digits=0)
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return number(value)


def size(num_bytes: int, digits: int = 1) -> str:
    """Return a size in the unit in which it has one to four digits before the point."""
    value = float(num_bytes)
    power = 0
    while value >= 1024 and power < len(_BINARY) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.{0 if value == int(value) else digits}f} {_BINARY[power]}"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if 0 < seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shortened(text: str, longest: int = LONGEST_NAME) -> str:
    """Return `text` with an ellipsis in its middle where it is too long."""
    if len(text) <= longest:
        return text
    head = longest // 3
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def last_name(key: str) -> str:
    """Return the last part of a path, shortened."""
    return shortened(key.rstrip("/").rsplit("/", 1)[-1], 60)


def title(text: str) -> str:
    """Return `text` in full but for what no name is long enough for."""
    return shortened(text, LONGEST_TITLE)


def fitting(text: str, width: float) -> str:
    """Return what of a label fits into a width: all of it, its beginning, or nothing."""
    label = printable(text[:LONGEST_TITLE])
    used, room = 0.0, []
    for letter in label:
        used += _WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else _LETTER
        room.append(used)
    if used <= width:
        return label
    letters = bisect.bisect_right(room, width - _LETTER)
    return f"{label[:letters].rstrip()}…" if letters >= 3 else ""


def coordinate(value: float) -> str:
    """Return a coordinate of a drawing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
