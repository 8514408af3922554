"""One pass over all shards: what the global steps need of every row, in compact arrays.

About 150 bytes a row are held, whatever the number of columns that predicates read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.errors import ConservationError, SnapshotError
from curation.ingest.tombstones import read_tombstones
from curation.snapshot import reasons as why
from curation.snapshot.current import (
    READABLE,
    TRANSIENT,
    UNREADABLE,
    Events,
    find_current,
    hash_places,
)
from curation.snapshot.expressions import Expression
from curation.snapshot.inputs import CAPTIONS, RelationRows, ShardReader, ShardStates, Sources
from curation.snapshot.lists import Lists
from curation.snapshot.predicates import Evaluator, check_boolean, check_orderable, order_keys
from curation.snapshot.reasons import Reasons
from schemas import dataset as layout
from schemas.error_codes import error_code, is_transient

_SOURCE = ["source_name", "source_key", "source_ordinal", "content_sha256", "source_error"]
_FACTS = ("width", "height", "aesthetic_score", "category_path")
_FACT_TYPES = {
    "width": pa.int32(),
    "height": pa.int32(),
    "aesthetic_score": pa.float32(),
    "category_path": pa.dictionary(pa.int32(), pa.string()),
}
_FORGOTTEN = ("forgotten", "tombstoned")
"""Errors of rows that a tombstone stands behind."""


@dataclass(frozen=True)
class Rows:
    """All listed rows, by shard and row.

    Attributes:
        shard: int32, (N,).
        row: int32, (N,).
        image_id: uint8, (N, 16); zeros where `has_id` is false.
        has_id: Whether the row was taken in; others are known from the list only.
        place: uint64, (N, 2), hash of source name, key and ordinal.
        content: `S32`, (N,), SHA-256 of the file; empty where there is none.
        current: Whether the row is not superseded.
        group: uint8, (N, 16), the duplicate group; the row's own id where nothing says.
        facts: `width`, `height`, `aesthetic_score` and `category_path`, nullable.
        order: int64, (N, K), keys that choose representatives, the most important first.
        reasons: What is known so far: everything before `split_moved`.
        used: Instances that were read, `images` first.
    """

    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    image_id: NDArray[np.uint8]
    has_id: NDArray[np.bool_]
    place: NDArray[np.uint64]
    content: NDArray[np.bytes_]
    current: NDArray[np.bool_]
    group: NDArray[np.uint8]
    facts: pa.Table
    order: NDArray[np.int64]
    reasons: Reasons
    used: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.shard)


def collect(
    dataset: Dataset,
    sources: Sources,
    where: Sequence[Expression],
    order: Sequence[Expression],
    relations: Mapping[str, RelationRows],
    *,
    allow_pending: bool,
) -> Rows:
    """Read every listed shard once and evaluate the expressions.

    Args:
        dataset: The dataset.
        sources: What the pipeline has.
        where: The predicates.
        order: What chooses representatives.
        relations: Relation instance -> its rows.
        allow_pending: Whether shards that are not finished give a reason instead of a refusal.

    Raises:
        SnapshotError: Something is missing and not allowed to, or an expression does not fit.
        ConservationError: A shard has other rows than its list.
    """
    facts = {name for role, name in sources.roles.items() if role != CAPTIONS}
    columns = {c for e in (*where, *order) for c in e.columns} | facts
    later = set(sources.roles.values()) - facts
    reader = ShardReader(dataset, sources, [*_SOURCE, *columns], relations, later)
    states = ShardStates(dataset, sources, reader.used[1:], relations)
    if not allow_pending:
        _refuse_pending(dataset, states, reader.used)
    lists = Lists(dataset)
    names = why.vocabulary(reader.used, sources.upstream(reader.used[1:]), [e.name for e in where])
    reasons = Reasons(names, lists.num_rows)
    parts = []
    start = 0
    with Evaluator(where, sources) as predicates, Evaluator(order, sources) as ordering:
        check_boolean(predicates.types(), [e.name for e in where])
        check_orderable(ordering.types(), [e.name for e in order])
        shard_pass = _Pass(reader, states, sources, reasons, predicates, ordering)
        for shard, (seq, _) in states.listed.items():
            listed = lists.rows(shard)
            part = shard_pass.read(shard, seq, listed, start)
            if len(part["row"]) != len(listed):
                message = (
                    f"{dataset.store.url}, shard {shard}: {len(part['row'])} rows, but its list "
                    f"has {len(listed)}"
                )
                raise ConservationError(message)
            parts.append(part)
            start += len(listed)
    rows = _join(parts, reasons, reader.used, lists.vanished(), [e.name for e in order])
    _add_tombstoned(dataset, rows)
    return rows


def _refuse_pending(dataset: Dataset, states: ShardStates, used: Sequence[str]) -> None:
    unfinished = [state.seq for state in dataset.ingests() if state.done is None]
    if unfinished:
        message = (
            f"{dataset.store.url}: ingest {unfinished[0]} has not listed all of its source; run "
            "the pipeline to the end, or use --allow-pending to go on without the rest"
        )
        raise SnapshotError(message)
    for name in used:
        found = (states.missing(name, shard) for shard in states.listed)
        count = sum(state is not None and state[0] == "pending" for state in found)
        if count:
            message = (
                f"{dataset.store.url}: {name} lacks {count} of {len(states.listed)} shards; run "
                "the pipeline to the end, or use --allow-pending to leave their rows out"
            )
            raise SnapshotError(message)


class _Pass:
    """Reads one shard after the other into small dictionaries of arrays."""

    def __init__(
        self,
        reader: ShardReader,
        states: ShardStates,
        sources: Sources,
        reasons: Reasons,
        predicates: Evaluator,
        ordering: Evaluator,
    ) -> None:
        self._reader = reader
        self._states = states
        self._roles = sources.roles
        self._reasons = reasons
        self._predicates = predicates
        self._ordering = ordering

    def read(self, shard: int, seq: int, listed: pa.Table, start: int) -> dict[str, Any]:
        """Return the arrays of one shard, whose first row is row `start` of all."""
        missing = {name: self._states.missing(name, shard) for name in self._reader.used}
        for state in missing.values():
            if state is not None:
                name = why.pending(state[1]) if state[0] == "pending" else why.quarantined(state[1])
                self._reasons.add(name, np.ones(len(listed), bool), start)
        if missing[layout.IMAGES] is not None:
            return self._unread(shard, seq, listed)
        there = {name for name, state in missing.items() if state is None}
        table = self._reader.read(shard, there)
        self._evaluate(table, there, start)
        return self._arrays(table, seq, start, there)

    def _unread(self, shard: int, seq: int, listed: pa.Table) -> dict[str, Any]:
        """Return what the list alone says of a shard that was never taken in."""
        size = len(listed)
        facts = [pa.nulls(size, _FACT_TYPES[name]) for name in _FACTS]
        names = ("source_name", "key", "ordinal")
        return {
            "shard": np.full(size, shard, np.int32),
            "row": np.asarray(listed["row"].to_numpy(), np.int32),
            "seq": np.full(size, seq, np.int32),
            "image_id": np.zeros((size, 16), np.uint8),
            "has_id": np.zeros(size, bool),
            "place": hash_places(*(listed[name].to_pylist() for name in names)),
            "content": np.zeros(size, "S32"),
            "kind": np.full(size, TRANSIENT, np.uint8),
            "group": np.zeros((size, 16), np.uint8),
            "facts": pa.Table.from_arrays(facts, list(_FACTS)),
            "order": {},
        }

    def _evaluate(self, table: pa.Table, there: set[str], start: int) -> None:
        for name, values in self._predicates.evaluate(table, there).items():
            null = np.asarray(pc.is_null(values).to_numpy(), bool)
            true = np.asarray(pc.fill_null(values, True).to_numpy(), bool)
            self._reasons.add(name, ~true, start)
            self._reasons.add(why.unknown(name), null, start)

    def _arrays(self, table: pa.Table, seq: int, start: int, there: set[str]) -> dict[str, Any]:
        size = len(table)
        kind = np.full(size, READABLE, np.uint8)
        unreadable, tombstoned = np.zeros(size, bool), np.zeros(size, bool)
        for place, error in enumerate(table["source_error"].to_pylist()):
            if error is not None:
                kind[place] = TRANSIENT if is_transient(error) else UNREADABLE
                tombstoned[place] = error_code(error) in _FORGOTTEN
                unreadable[place] = not tombstoned[place]
        self._reasons.add(why.UNREADABLE, unreadable, start)
        self._reasons.add(why.TOMBSTONED, tombstoned, start)
        contents = table["content_sha256"].to_pylist()
        image_id = _bytes16(table["image_id"])
        group = image_id
        if (name := self._roles.get("dedup_group")) and name in table.column_names:
            known = np.asarray(pc.is_valid(table[name]).to_numpy(), bool)
            group = np.where(known[:, None], _bytes16(table[name]), image_id)
        order = {
            name: order_keys(values, name)
            for name, values in self._ordering.evaluate(table, there).items()
        }
        columns = [table[name].to_pylist() for name in _SOURCE[:3]]
        return {
            "shard": np.asarray(table["shard"].to_numpy(), np.int32),
            "row": np.asarray(table["row"].to_numpy(), np.int32),
            "seq": np.full(size, seq, np.int32),
            "image_id": image_id,
            "has_id": np.ones(size, bool),
            "place": hash_places(*columns),
            "content": np.array([value or b"" for value in contents], "S32"),
            "kind": kind,
            "group": group,
            "facts": self._facts(table),
            "order": order,
        }

    def _facts(self, table: pa.Table) -> pa.Table:
        columns = []
        for name in _FACTS:
            kind = _FACT_TYPES[name]
            source = self._roles.get(name)
            if source is None or source not in table.column_names:
                columns.append(pa.chunked_array([pa.nulls(len(table), kind)]))
            elif pa.types.is_dictionary(kind):
                columns.append(table[source].cast(kind.value_type).dictionary_encode().cast(kind))
            else:
                columns.append(table[source].cast(kind))
        return pa.Table.from_arrays(columns, list(_FACTS))


def _bytes16(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return a column of 16-byte values as uint8, (N, 16); zeros where null."""
    data = b"".join(value or bytes(16) for value in column.to_pylist())
    return np.frombuffer(data, np.uint8).reshape(-1, 16)


def _join(
    parts: list[dict[str, Any]],
    reasons: Reasons,
    used: Sequence[str],
    vanished: Events,
    orders: Sequence[str],
) -> Rows:
    if not parts:
        message = "the dataset has no rows; run its pipeline first"
        raise SnapshotError(message)
    names = ("shard", "row", "seq", "image_id", "has_id", "place", "content", "kind", "group")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    order = np.full((len(reasons), len(orders)), np.iinfo(np.int64).min)
    start = 0
    for part in parts:
        stop = start + len(part["row"])
        for place, name in enumerate(orders):
            if name in part["order"]:
                order[start:stop, place] = part["order"][name]
        start = stop
    events = Events(
        np.concatenate([joined["place"], vanished.place]),
        np.concatenate([joined["seq"], vanished.seq]),
        np.concatenate([joined["shard"], vanished.shard]),
        np.concatenate([joined["row"], vanished.row]),
        np.concatenate([joined["kind"], vanished.kind]),
    )
    current = find_current(events)[: len(reasons)]
    reasons.add(why.SUPERSEDED, ~current)
    return Rows(
        shard=joined["shard"],
        row=joined["row"],
        image_id=joined["image_id"],
        has_id=joined["has_id"],
        place=joined["place"],
        content=joined["content"],
        current=current,
        group=joined["group"],
        facts=pa.concat_tables(part["facts"] for part in parts).unify_dictionaries(),
        order=order,
        reasons=reasons,
        used=tuple(used),
    )


def _add_tombstoned(dataset: Dataset, rows: Rows) -> None:
    tombstones = read_tombstones(dataset)
    if tombstones.image_ids or tombstones.contents:
        ids = (bytes(value) for value in rows.image_id)
        # `S32` drops zero bytes at the end.
        contents = (bytes(value).ljust(32, b"\0") for value in rows.content)
        found = [tombstones.match(i, c) for i, c in zip(ids, contents, strict=True)]
        rows.reasons.add(why.TOMBSTONED, np.array(found, bool) & rows.has_id)
