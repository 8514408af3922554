"""What the ingests before hold of a source, and how a new listing differs from it."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from operator import attrgetter

from curation.dataset import Dataset, IngestState
from curation.ingest.entries import ENTRY_COLUMNS, START, Container, Entry, Place, entry_of
from curation.ingest.identity import decode_key
from curation.ingest.tombstones import Tombstones, read_tombstones
from curation.ingest.withhold import is_gone
from schemas.error_codes import is_transient

_SLICE_ROWS = 512  # rows of a list that are Python objects at a time
_CACHED_SHARDS = 256  # places run through one shard of each ingest at a time


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a work list: what became of the image at a place.

    Attributes:
        kind: `new`, `changed` or `vanished`.
    """

    entry: Entry
    kind: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A line of an ingest before; of a place, the latest one.

    Attributes:
        row: (shard, row) of its image; null for a vanished one.
        failed: Whether to list the image again whatever was found.
        earlier: Rows of the same place in ingests before, the newest first.
    """

    place: Place
    seq: int
    entry: Entry
    kind: str
    row: tuple[int, int] | None
    failed: bool
    earlier: tuple[tuple[int, int], ...] = ()

    @property
    def vanished(self) -> bool:
        return self.kind == "vanished"


def compare(
    dataset: Dataset,
    source_name: str,
    entries: Iterator[Entry | Container],
    *,
    before: int,
    after: Place,
    sync: bool,
    failed_again: bool = False,
) -> Iterator[Change]:
    """Join a listing with what is known, both by place.

    An image that differs from its latest line is `changed`. So a file that differed when it was
    read (`changed` as a row's error) is listed again, since its line holds what was listed then.
    A container whose facts are those of its latest lines is not opened.

    Where the image at a place is withheld (forgotten, or refused by a tombstone), words that came
    with it are not listed again: other words alone change nothing, and an image that is another one
    is listed without any. Once it is taken in and no tombstone forbids it, its words are a change.

    Args:
        entries: The listing, from after the place `after`.
        before: Ingests below this number count, all of which are done.
        sync: Whether known images that the listing lacks come out as `vanished`.
        failed_again: Whether an image whose latest row has a transient error comes out as
            `changed`. A row that is not made yet has none.

    Returns:
        Changes by place. Memory is one list for each ingest before, and the lines of one container.
    """
    rows = _Rows(dataset)
    known = _Queue(_latest_lines(dataset, source_name, before, after, rows, failed_again))
    for found in entries:
        if isinstance(found, Entry):
            yield from _join(found, known, rows, sync)
            continue
        yield from _vanished(known.pop_before(Place(found.prefix)), sync)
        inside = list(known.pop_below(found.prefix))
        if not _is_listed(found, [line for line in inside if not line.vanished]):
            inner = _Queue(iter(inside))
            for entry in found.entries():
                yield from _join(entry, inner, rows, sync)
            yield from _vanished(inner.pop_all(), sync)
    yield from _vanished(known.pop_all(), sync)


class _Queue:
    """Known lines by place, of which the next can be looked at."""

    def __init__(self, lines: Iterator[_Known]) -> None:
        self._lines = lines
        self._next = next(lines, None)

    def pop_while(self, wanted: Callable[[Place], bool]) -> Iterator[_Known]:
        while (line := self._next) is not None and wanted(line.place):
            self._next = next(self._lines, None)
            yield line

    def pop_before(self, place: Place) -> Iterator[_Known]:
        return self.pop_while(lambda known: known < place)

    def pop_below(self, prefix: bytes) -> Iterator[_Known]:
        return self.pop_while(lambda known: known.key.startswith(prefix))

    def pop_at(self, place: Place) -> _Known | None:
        return next(self.pop_while(lambda known: known == place), None)

    def pop_all(self) -> Iterator[_Known]:
        return self.pop_while(lambda known: True)


def _join(entry: Entry, known: _Queue, rows: "_Rows", sync: bool) -> Iterator[Change]:
    yield from _vanished(known.pop_before(entry.place), sync)
    latest = known.pop_at(entry.place)
    if latest is None:
        yield Change(entry, "new")
        return
    kind = "new" if latest.vanished else "changed"
    if latest.vanished or latest.failed or latest.entry.bytes_differ(entry):
        withheld = entry.has_texts and rows.withheld(latest)
        yield Change(entry.without_texts() if withheld else entry, kind)
    elif latest.entry.differs(entry) and not rows.withheld(latest):
        yield Change(entry, kind)


def _vanished(lines: Iterator[_Known], sync: bool) -> Iterator[Change]:
    for line in lines:
        if sync and not line.vanished:
            yield Change(line.entry.without_texts(), "vanished")


def _is_listed(container: Container, inside: Sequence[_Known]) -> bool:
    """Say whether this version of a container was listed, so that it holds what is known of it.

    The newest lines tell, all of them: older ones may be of entries that a change took away, and a
    container that changed between two runs of one ingest is listed half as it was before.
    """
    newest = max((line.seq for line in inside), default=None)
    versions = {line.entry.container for line in inside if line.seq == newest}
    return container.facts is not None and versions == {container.facts}


def _latest_lines(
    dataset: Dataset,
    source_name: str,
    before: int,
    after: Place,
    rows: "_Rows",
    failed_again: bool,
) -> Iterator[_Known]:
    """Yield the latest line of every place, by place."""
    ingests = [
        _lines(dataset, state, after, rows, failed_again)
        for state in dataset.ingests()
        if state.seq < before and state.done and state.done["source"]["name"] == source_name
    ]
    merged = heapq.merge(*ingests, key=attrgetter("place", "seq"))
    for _, lines in groupby(merged, key=attrgetter("place")):
        *earlier, latest = lines
        made = tuple(line.row for line in reversed(earlier) if line.row is not None)
        yield replace(latest, earlier=made) if made else latest


class _Rows:
    """What became of listed rows; a row that is not made yet has no error."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._errors = lru_cache(_CACHED_SHARDS)(self._read)

    def failed(self, row: tuple[int, int]) -> bool:
        """Say whether a row has a transient error."""
        error = self._error(row)
        return error is not None and is_transient(error)

    def withheld(self, line: _Known) -> bool:
        """Say whether the last image that was taken in at a place is forgotten or forbidden.

        What was not made yet, or could not be taken in, says nothing about it.
        """
        if not self._has_tombstones:
            return False
        for row in (*([] if line.row is None else [line.row]), *line.earlier):
            error = self._error(row)
            if row[0] in self._made and (error is None or is_gone(error)):
                return error is not None
        return False

    def _error(self, row: tuple[int, int]) -> str | None:
        shard, number = row
        return self._errors(shard)[number] if shard in self._made else None

    def _read(self, shard: int) -> list[str | None]:
        column = self._dataset.read_images(shard, ["source_error"])["source_error"]
        errors: list[str | None] = column.to_pylist()
        return errors

    @cached_property
    def _made(self) -> frozenset[int]:
        return frozenset(self._dataset.image_shards())

    @cached_property
    def _has_tombstones(self) -> bool:
        return read_tombstones(self._dataset) != Tombstones()


def _lines(
    dataset: Dataset, state: IngestState, after: Place, rows: _Rows, failed_again: bool
) -> Iterator[_Known]:
    for number in _lists_after(dataset, state, after):
        columns = [*ENTRY_COLUMNS, "shard", "row", "change"]
        table = dataset.read_list(state.seq, number, columns)
        for start in range(0, len(table), _SLICE_ROWS):
            for line in table.slice(start, _SLICE_ROWS).to_pylist():
                entry = entry_of(line)
                if entry.place > after:
                    row = None if line["shard"] is None else (line["shard"], line["row"])
                    failed = failed_again and row is not None and rows.failed(row)
                    yield _Known(entry.place, state.seq, entry, line["change"], row, failed)


def _lists_after(dataset: Dataset, state: IngestState, after: Place) -> Sequence[int]:
    """Return the lists of a finished ingest that may hold places greater than `after`."""
    assert state.done is not None
    lists = range(state.done["lists"])
    if after == START:
        return lists
    return lists[
        bisect_right(lists, after, key=lambda number: last_place(dataset, state, number)) :
    ]


def last_place(dataset: Dataset, state: IngestState, number: int) -> Place:
    """Return the greatest place of a frozen list that is not empty."""
    columns = dataset.read_list(state.seq, number, ["key", "ordinal"])
    return Place(decode_key(columns["key"][-1].as_py()), columns["ordinal"][-1].as_py())
