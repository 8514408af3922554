"""The frozen work list of an ingest: what `images` shards will hold, decided before any is made.

An ingest is a folder of lists. Each is created exclusively, holds whole shards and the next keys in
byte order, and never changes, so its shards can be made at once and by anybody. An empty list ends
the listing; of several drivers that list the same source, one wins each list and the rest go on
from there. `done.json` sums up. A listing that finds nothing new leaves nothing behind.
"""

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.fingerprint import pretty_json
from curation.ingest.config import SourceConfig
from curation.ingest.entries import START, Place, Source
from curation.ingest.history import Change, compare, last_place
from curation.ingest.kinds import open_source
from curation.tables import to_parquet
from schemas import dataset as paths
from schemas.ingest_list import INGEST_LIST

_log = logging.getLogger(__name__)

CHANGES = ("new", "changed", "vanished")


@dataclass(frozen=True)
class FrozenList:
    """A list that is on disk.

    Attributes:
        seq: The ingest.
        number: The list in it.
        shards: Shards that it promises; empty where it only tells what has vanished.
    """

    seq: int
    number: int
    shards: range


@dataclass
class _Position:
    """Where an ingest stands.

    Attributes:
        seq: Its number.
        number: The next list.
        shard: The next shard.
        first_shard: Its first shard.
        after: The last place frozen.
        rows: Lines frozen, by kind of change.
        ended: Whether the empty list is there.
        done: Whether `done.json` is there.
    """

    seq: int
    number: int
    shard: int
    first_shard: int
    after: Place
    rows: Counter[str]
    ended: bool = False
    done: bool = False


def freeze_lists(
    dataset: Dataset, source: SourceConfig, *, opened: Source | None = None
) -> Generator[FrozenList, None, None]:
    """Begin or resume an ingest: list the source, and freeze one list after another.

    The request is checked before this returns. The iterator lists as it is drained and yields each
    list as soon as it is on disk, so a driver drains it in a thread and makes shards meanwhile.
    Lists frozen before the call are not yielded again: take those from `pending_shards` first. It
    may be dropped at any point, and continued by another call.

    Args:
        opened: What to list; null opens `source`.

    Raises:
        ConfigError: A root is refused.
        UsageError: A root is missing, empty or not to be listed, a key is in two roots, or another
            source's ingest has not ended.
    """
    if opened is None:
        opened = open_source(source, dataset.store)
    return _freeze(dataset, source, opened, _find_position(dataset, source.name))


def pending_shards(dataset: Dataset) -> dict[int, tuple[int, int]]:
    """Return shard -> (seq, list) for every shard that is listed and not made, in order."""
    made = set(dataset.image_shards())
    pending: dict[int, tuple[int, int]] = {}
    for state in dataset.ingests():
        # Lists are opened only where something is missing; most ingests are complete.
        if state.done is not None and made.issuperset(range(*state.done["shards"])):
            continue
        for number in state.lists:
            for shard in dataset.list_shards(state.seq, number):
                if shard not in made:
                    pending[shard] = (state.seq, number)
    return pending


def shard_rows(dataset: Dataset, shard: int, seq: int, number: int) -> pa.Table:
    """Read the lines of one shard, in row order."""
    table = dataset.read_list(seq, number)
    return table.filter(pc.equal(table["shard"], shard))


def _freeze(
    dataset: Dataset, source: SourceConfig, opened: Source, position: _Position
) -> Generator[FrozenList, None, None]:
    while not position.ended:
        lost = yield from _freeze_from(dataset, source, opened, position)
        if lost is None:
            break
        # Somebody else runs the same ingest and saw other files: theirs hold, ours go on after.
        position = _find_position(dataset, source.name, position.seq)
        for number in range(lost, position.number):
            yield FrozenList(position.seq, number, dataset.list_shards(position.seq, number))
    if position.ended and not position.done:
        _finish(dataset, source, position)
    for reason, count in sorted(opened.skipped.items()):
        _log.warning("source %s: left out %d %s", source.name, count, reason)


def _freeze_from(
    dataset: Dataset, source: SourceConfig, opened: Source, position: _Position
) -> Generator[FrozenList, None, int | None]:
    """Freeze lists to the end of the listing; return the number of a list lost to somebody else."""
    changes = compare(
        dataset,
        source.name,
        opened.entries(position.after),
        before=position.seq,
        after=position.after,
        sync=source.sync,
        failed_again=source.lists_failed_again,
    )
    for table in _pack(changes, dataset, source, position.shard):
        name = paths.list_path(position.seq, position.number)
        data = to_parquet(table)
        if not dataset.store.create(name, data) and dataset.store.read(name) != data:
            return position.number
        shards = dataset.list_shards(position.seq, position.number)
        yield FrozenList(position.seq, position.number, shards)
        position.number += 1
        position.shard = max(position.shard, shards.stop)
        position.rows.update(table["change"].to_pylist())
    if position.number:
        name = paths.list_path(position.seq, position.number)
        data = to_parquet(INGEST_LIST.empty_table())
        if not dataset.store.create(name, data) and dataset.store.read(name) != data:
            return position.number
        position.ended = True
    return None


def _find_position(dataset: Dataset, source_name: str, seq: int | None = None) -> _Position:
    """Find where ingest `seq` stands; null for the unfinished one, else the one to begin."""
    states = dataset.ingests()
    if seq is not None:
        states = [state for state in states if state.seq <= seq]
    ends = [state.done["shards"][1] for state in states if state.done is not None]
    if not states or (seq is None and states[-1].done is not None):
        shard = ends[-1] if ends else 0
        begun = states[-1].seq + 1 if states else 0
        return _Position(begun, 0, shard, shard, START, Counter())
    state = states[-1]
    if state.done is not None:
        ends.pop()
    first = ends[-1] if ends else 0
    position = _Position(state.seq, 0, first, first, START, Counter(), done=state.done is not None)
    for number in state.lists:
        lines = dataset.read_list(state.seq, number, ["source_name", "shard", "change"])
        if len(lines) == 0:
            position.ended = True
            break
        found = lines["source_name"][0].as_py()
        if found != source_name:
            message = (
                f"{dataset.store.url}: ingest {state.seq} of source {found!r} has not ended; run "
                f"the pipeline of that source again before taking in {source_name!r}"
            )
            raise UsageError(message)
        last = pc.max(lines["shard"]).as_py()
        position.number = number + 1
        position.shard = position.shard if last is None else last + 1
        position.rows.update(lines["change"].to_pylist())
    position.after = last_place(dataset, state, position.number - 1)
    return position


def _pack(
    changes: Iterator[Change], dataset: Dataset, source: SourceConfig, shard: int
) -> Iterator[pa.Table]:
    """Give every change a shard and a row, and cut whole shards into lists.

    A shard is full at the dataset's limits; a file above the byte limit has one to itself, and one
    above `max_file_bytes` counts nothing since it is never read. A list is full with `list_shards`
    shards, or with as many lines as those can have rows, for then most of its lines are vanished.
    """
    limits = dataset.info
    most_lines = source.list_shards * limits.max_shard_rows
    lines: list[tuple[Change, int | None, int | None]] = []
    first, row, filled = shard, 0, 0
    for change in changes:
        if change.kind == "vanished":
            lines.append((change, None, None))
        else:
            size = _bytes_to_hold(change, source.max_file_bytes)
            if row and filled + size > limits.max_shard_bytes:
                shard, row, filled = shard + 1, 0, 0
                if shard - first == source.list_shards:
                    yield _list_table(source.name, lines)
                    lines, first = [], shard
            lines.append((change, shard, row))
            row, filled = row + 1, filled + size
            if row == limits.max_shard_rows or filled >= limits.max_shard_bytes:
                shard, row, filled = shard + 1, 0, 0
        if shard - first == source.list_shards or len(lines) == most_lines:
            yield _list_table(source.name, lines)
            shard, row, filled = (shard + 1 if row else shard), 0, 0
            lines, first = [], shard
    if lines:
        yield _list_table(source.name, lines)


def _bytes_to_hold(change: Change, max_file_bytes: int) -> int:
    size = change.entry.facts.size
    if change.entry.error is not None:
        return 0
    if size is None and change.entry.expected_bytes is not None:
        return min(change.entry.expected_bytes, max_file_bytes)
    if size is None:
        return max_file_bytes  # it may turn out as large as that
    return size if size <= max_file_bytes else 0


def _list_table(
    source_name: str, lines: Sequence[tuple[Change, int | None, int | None]]
) -> pa.Table:
    rows = [
        {
            "source_name": source_name,
            **change.entry.to_line(),
            "shard": shard,
            "row": row,
            "change": change.kind,
        }
        for change, shard, row in lines
    ]
    return pa.Table.from_pylist(rows, schema=INGEST_LIST)


def _finish(dataset: Dataset, source: SourceConfig, position: _Position) -> None:
    done = {
        "format": 1,
        "seq": position.seq,
        "source": source.origin(),
        "lists": position.number,
        "shards": [position.first_shard, position.shard],
        "rows": {kind: position.rows[kind] for kind in CHANGES},
    }
    dataset.store.create(paths.ingest_done_path(position.seq), pretty_json(done))
