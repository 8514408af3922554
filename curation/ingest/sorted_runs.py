"""Rows in order, however many: sorted in runs, of which all but the last lie in temporary files."""

import marshal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from typing import IO, Any

RUN_ROWS = 100_000
"""Rows that are sorted in memory."""

Plain = tuple[Any, ...]
"""Texts, bytes, integers and nulls; enough of them in front to tell every two rows apart."""


def sort_rows(rows: Iterator[Plain], stack: ExitStack) -> Iterator[Plain]:
    """Sort `rows`, and yield some as plain tuples; temporary files live as long as `stack`."""
    files: list[IO[bytes]] = []
    while run := sorted(islice(rows, RUN_ROWS)):
        if len(run) < RUN_ROWS:
            break
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        for row in run:
            marshal.dump(tuple(row), file)  # a NamedTuple is nothing that marshal knows
        files.append(file)
    return merge(*(_load(file) for file in files), run)


def _load(file: IO[bytes]) -> Iterator[Plain]:
    file.seek(0)
    for _ in range(RUN_ROWS):
        yield marshal.load(file)
