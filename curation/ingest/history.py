"""What the ingests before hold of a source, and how a new listing differs from it."""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from curation.dataset import Dataset, IngestState
from curation.ingest.facts import Facts
from curation.ingest.identity import decode_key
from curation.ingest.listing import Entry

_SLICE_ROWS = 512  # rows of a list that are Python objects at a time


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a work list: what became of the file at `key`.

    Attributes:
        kind: `new`, `changed` or `vanished`.
    """

    key: bytes
    uri: str
    facts: Facts
    kind: str


@dataclass(frozen=True, slots=True)
class _Known:
    key: bytes
    seq: int
    uri: str
    facts: Facts
    kind: str


def compare(
    dataset: Dataset,
    source_name: str,
    entries: Iterator[Entry],
    *,
    before: int,
    after: bytes,
    sync: bool,
) -> Iterator[Change]:
    """Join a listing with what is known, both in byte order of the key.

    A file that differs from its latest line is `changed`. So a file that differed when it was read
    (`changed` as a row's error) is listed again, since its line holds what was listed then.

    Args:
        entries: The listing, from after the key `after`.
        before: Ingests below this number count, all of which are done.
        sync: Whether known files that the listing lacks come out as `vanished`.

    Returns:
        Changes in byte order of the key. Memory is one list for each ingest before.
    """
    known = _known_files(dataset, source_name, before, after)
    latest = next(known, None)
    for entry in entries:
        while latest is not None and latest.key < entry.key:
            if sync:
                yield Change(latest.key, latest.uri, latest.facts, "vanished")
            latest = next(known, None)
        if latest is None or latest.key != entry.key:
            yield Change(entry.key, entry.uri, entry.facts, "new")
            continue
        if latest.facts.differs(entry.facts):
            yield Change(entry.key, entry.uri, entry.facts, "changed")
        latest = next(known, None)
    while sync and latest is not None:
        yield Change(latest.key, latest.uri, latest.facts, "vanished")
        latest = next(known, None)


def _known_files(dataset: Dataset, source_name: str, before: int, after: bytes) -> Iterator[_Known]:
    """Yield the latest line of every file that has not vanished, in byte order of the key."""
    ingests = [
        _lines(dataset, state, after)
        for state in dataset.ingests()
        if state.seq < before and state.done and state.done["source"]["name"] == source_name
    ]
    merged = heapq.merge(*ingests, key=attrgetter("key", "seq"))
    for _, lines in groupby(merged, key=attrgetter("key")):
        *_, latest = lines
        if latest.kind != "vanished":
            yield latest


def _lines(dataset: Dataset, state: IngestState, after: bytes) -> Iterator[_Known]:
    for number in _lists_after(dataset, state, after):
        names = ["key", "uri", "num_bytes", "etag", "mtime_ns", "change"]
        table = dataset.read_list(state.seq, number, names)
        for start in range(0, len(table), _SLICE_ROWS):
            columns = [column.to_pylist() for column in table.slice(start, _SLICE_ROWS).columns]
            for text, uri, size, etag, mtime_ns, kind in zip(*columns, strict=True):
                key = decode_key(text)
                if key > after:
                    yield _Known(key, state.seq, uri, Facts(size, etag, mtime_ns), kind)


def _lists_after(dataset: Dataset, state: IngestState, after: bytes) -> Sequence[int]:
    """Return the lists of a finished ingest that may hold keys greater than `after`."""
    assert state.done is not None
    lists = range(state.done["lists"])
    if not after:
        return lists
    return lists[bisect_right(lists, after, key=lambda number: last_key(dataset, state, number)) :]


def last_key(dataset: Dataset, state: IngestState, number: int) -> bytes:
    """Return the greatest key of a frozen list that is not empty."""
    return decode_key(dataset.read_list(state.seq, number, ["key"])["key"][-1].as_py())
