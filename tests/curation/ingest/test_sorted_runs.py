"""Rows sorted with and without temporary files."""

from contextlib import ExitStack
from typing import NamedTuple

import pytest

from curation.ingest import sorted_runs
from curation.ingest.sorted_runs import sort_rows


class Row(NamedTuple):
    key: bytes
    place: int
    text: str | None


@pytest.mark.parametrize("run_rows", [1, 3, 10, 11, 100])
def test_runs_make_no_difference(monkeypatch, run_rows):
    """However many rows fit into memory, and whether or not the last run is full."""
    monkeypatch.setattr(sorted_runs, "RUN_ROWS", run_rows)
    rows = [Row(b"%d" % (n * 7 % 5), n, None if n % 2 else "text") for n in range(10)]

    with ExitStack() as stack:
        assert list(sort_rows(iter(rows), stack)) == sorted(rows, key=lambda row: row[:2])


def test_no_rows():
    """Nothing in, nothing out."""
    with ExitStack() as stack:
        assert list(sort_rows(iter([]), stack)) == []
