"""Words and tables on a terminal or in a pipe.

What is printed may come from file names and captions, which are hostile: everything that is not
printable is escaped, so nothing can move the cursor or hide text.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

PIPE_WIDTH = 4096
"""Columns of a table in a pipe: there nothing is cut off for want of room."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def printable(text: str) -> str:
    """Return `text` with everything that is not printable as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to the standard output."""
    for line in lines:
        click.echo(printable(line))


def print_json(value: Any) -> None:
    """Print JSON that people can read too."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> None:
    """Print rows under their columns' names.

    Args:
        columns: Their names.
        rows: Values; text stays as it is, null is empty.
        right: Columns whose values stand at the right, for numbers.
        whole: Columns in which a word that is too long is broken instead of cut off.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    numeric, broken = set(right), set(whole)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(
            Text(printable(name)),
            justify="right" if name in numeric else "left",
            overflow="fold" if name in broken else "ellipsis",
        )
    for row in rows:
        table.add_row(*(Text("" if v is None else printable(str(v))) for v in row))
    console.print(table)


def readable_bytes(number: int) -> str:
    """Return a size in the unit in which it has one to four digits."""
    value = float(number)
    for unit in _UNITS[:-1]:
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"
