"""What the ingests before hold of a source, and how a new listing differs from it."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from curation.dataset import Dataset, IngestState
from curation.ingest.entries import ENTRY_COLUMNS, START, Container, Entry, Place, entry_of
from curation.ingest.identity import decode_key
from schemas.error_codes import is_transient

_SLICE_ROWS = 512  # rows of a list that are Python objects at a time


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
    place: Place
    seq: int
    entry: Entry
    kind: str
    failed: bool


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

    Args:
        entries: The listing, from after the place `after`.
        before: Ingests below this number count, all of which are done.
        sync: Whether known images that the listing lacks come out as `vanished`.
        failed_again: Whether an image whose latest row has a transient error comes out as
            `changed`. A row that is not made yet has none.

    Returns:
        Changes by place. Memory is one list for each ingest before, and the lines of one container.
    """
    known = _Queue(_latest_lines(dataset, source_name, before, after, failed_again))
    for found in entries:
        if isinstance(found, Entry):
            yield from _join(found, known, sync)
            continue
        yield from _vanished(known.pop_before(Place(found.prefix)), sync)
        inside = list(known.pop_below(found.prefix))
        if not _is_listed(found, inside):
            inner = _Queue(iter(inside))
            for entry in found.entries():
                yield from _join(entry, inner, sync)
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


def _join(entry: Entry, known: _Queue, sync: bool) -> Iterator[Change]:
    yield from _vanished(known.pop_before(entry.place), sync)
    latest = known.pop_at(entry.place)
    if latest is None:
        yield Change(entry, "new")
    elif latest.failed or latest.entry.differs(entry):
        yield Change(entry, "changed")


def _vanished(lines: Iterator[_Known], sync: bool) -> Iterator[Change]:
    for line in lines:
        if sync:
            yield Change(line.entry, "vanished")


def _is_listed(container: Container, inside: Sequence[_Known]) -> bool:
    """Say whether this version of a container was listed, so that it holds what is known of it.

    The newest lines tell, all of them: older ones may be of entries that a change took away, and a
    container that changed between two runs of one ingest is listed half as it was before.
    """
    newest = max((line.seq for line in inside), default=None)
    versions = {line.entry.container for line in inside if line.seq == newest}
    return container.facts is not None and versions == {container.facts}


def _latest_lines(
    dataset: Dataset, source_name: str, before: int, after: Place, failed_again: bool
) -> Iterator[_Known]:
    """Yield the latest line of every image that has not vanished, by place."""
    made = frozenset(dataset.image_shards()) if failed_again else frozenset()
    ingests = [
        _lines(dataset, state, after, _Failures(dataset, made))
        for state in dataset.ingests()
        if state.seq < before and state.done and state.done["source"]["name"] == source_name
    ]
    merged = heapq.merge(*ingests, key=attrgetter("place", "seq"))
    for _, lines in groupby(merged, key=attrgetter("place")):
        *_, latest = lines
        if latest.kind != "vanished":
            yield latest


class _Failures:
    """Which rows of one ingest have a transient error; asked for shard by shard.

    Args:
        made: The shards to look into.
    """

    def __init__(self, dataset: Dataset, made: frozenset[int]) -> None:
        self._dataset = dataset
        self._made = made
        self._shard: int | None = None
        self._rows: frozenset[int] = frozenset()

    def has(self, shard: int | None, row: int | None) -> bool:
        if shard is None or shard not in self._made:
            return False
        if shard != self._shard:
            errors = self._dataset.read_images(shard, ["source_error"])["source_error"]
            self._rows = frozenset(
                number
                for number, error in enumerate(errors.to_pylist())
                if error is not None and is_transient(error)
            )
            self._shard = shard
        return row in self._rows


def _lines(
    dataset: Dataset, state: IngestState, after: Place, failures: _Failures
) -> Iterator[_Known]:
    for number in _lists_after(dataset, state, after):
        columns = [*ENTRY_COLUMNS, "shard", "row", "change"]
        table = dataset.read_list(state.seq, number, columns)
        for start in range(0, len(table), _SLICE_ROWS):
            for line in table.slice(start, _SLICE_ROWS).to_pylist():
                entry = entry_of(line)
                if entry.place > after:
                    failed = failures.has(line["shard"], line["row"])
                    yield _Known(entry.place, state.seq, entry, line["change"], failed)


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
