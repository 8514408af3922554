"""The sample that a stage is fitted on: the rows with the smallest hashes that have what it reads.

It is drawn in two passes. The first looks at identities and narrow columns only and keeps the best
candidates; the second reads wide columns, such as vectors, of the shards that hold a candidate, and
drops the candidates that lack one. Memory holds the candidates and one shard.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.draw import draw_hashes
from curation.pipeline.instances import Instance
from schemas import dataset as paths
from schemas.columns import IMAGE_ID

_SPARE = 1.25
"""Candidates for each row of the sample: some lack a wide column, or are an image's second row."""
_SPARE_ROWS = 64
_MORE = 4
"""How many times as many candidates another round looks at."""

_ORDER = [(name, "ascending") for name in ("draw", "image_id", "shard", "position")]


def draw_sample(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    reads: Sequence[str],
    size: int,
    seed: int,
    optional: Sequence[str] = (),
) -> pa.Table:
    """Return the `size` rows with the smallest hash(image_id, seed), in that order.

    Every image counts once, however often it was ingested; rows with a null in `reads` do not
    count, unless it is in an `optional` column. The answer depends on the rows alone, not on how
    shards cut them.
    """
    inputs = _Inputs(dataset, instance, instances, reads, optional)
    shards = inputs.complete_shards()
    if not shards:
        fields = [IMAGE_ID, *(pa.field(logical, pa.null()) for logical in reads)]
        return pa.schema(fields).empty_table()
    num_candidates = int(size * _SPARE) + _SPARE_ROWS
    while True:
        candidates, is_all = _candidates(inputs, shards, num_candidates, seed)
        sample = _complete_rows(inputs, shards, candidates)
        if len(sample) >= size or is_all:
            return sample.slice(0, size).combine_chunks()
        num_candidates *= _MORE


def has_complete_row(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance], reads: Sequence[str]
) -> bool:
    """Say whether one row has all of `reads`; where one does, few shards are looked at."""
    inputs = _Inputs(dataset, instance, instances, reads)
    return any(_valid(inputs.read(shard), reads).any() for shard in inputs.complete_shards())


class _Inputs:
    """The files that hold what a fit reads."""

    def __init__(
        self,
        dataset: Dataset,
        instance: Instance,
        instances: Mapping[str, Instance],
        reads: Sequence[str],
        optional: Sequence[str] = (),
    ) -> None:
        self.needed = [name for name in reads if name not in optional]
        self._dataset = dataset
        self._owners: dict[str, list[tuple[str, str]]] = {}
        for logical in reads:
            owner, column = instance.source_of(logical)
            self._owners.setdefault(owner, []).append((logical, column))
        self._folders = {
            owner: paths.IMAGES
            if owner == paths.IMAGES
            else paths.instance_folder(owner, instances[owner].fingerprint)
            for owner in self._owners
        }

    def complete_shards(self) -> list[int]:
        """Return the shards for which every file is there."""
        found = set(self._dataset.image_shards())
        for folder in self._folders.values():
            found &= set(self._dataset.files.shards(folder))
        return sorted(found)

    def narrow(self, shard: int) -> tuple[str, ...]:
        """Return the needed columns of which a value has a few bytes; one shard tells for all."""
        found = []
        for owner, columns in self._owners.items():
            schema = self._dataset.files.schema(self._folders[owner], shard)
            found += [name for name, column in columns if _is_narrow(schema.field(column).type)]
        return tuple(name for name in found if name in self.needed)

    def read(self, shard: int, only: Sequence[str] | None = None) -> pa.Table:
        """Read `image_id` and the columns, or only some of them, by logical name."""
        result: pa.Table | None = None
        for owner, columns in self._owners.items():
            wanted = [pair for pair in columns if only is None or pair[0] in only]
            if result is not None and not wanted:
                continue
            names = [column for _, column in wanted]
            # Identities are those of any file; the first one's give the table its metadata.
            identity = [IMAGE_ID.name] if result is None else []
            table = self._dataset.files.read(self._folders[owner], shard, [*identity, *names])
            if result is None:
                result = table.select([IMAGE_ID.name])
            for logical, column in wanted:
                result = result.append_column(logical, table[column])
        assert result is not None
        return result


def _candidates(
    inputs: _Inputs, shards: Sequence[int], num_rows: int, seed: int
) -> tuple[pa.Table, bool]:
    """Return the `num_rows` first rows that lack no narrow column, and whether that is all.

    Returns:
        `draw, image_id, shard, position`, in order.
    """
    narrow = inputs.narrow(shards[0])
    kept: list[pa.Table] = []
    num_kept = 0
    is_all = True
    worst: int | None = None
    for shard in shards:
        table = inputs.read(shard, narrow)
        positions = np.flatnonzero(_valid(table, narrow))
        ids = table[IMAGE_ID.name].take(pa.array(positions)).combine_chunks()
        draws = draw_hashes(ids.to_pylist(), seed)
        if worst is not None:
            good = draws <= worst
            is_all = is_all and bool(good.all())
            positions, draws, ids = positions[good], draws[good], ids.filter(pa.array(good))
        columns = [
            pa.array(draws, pa.uint64()),
            ids,
            pa.array(np.full(len(positions), shard), pa.int32()),
            pa.array(positions, pa.int32()),
        ]
        kept.append(pa.table(columns, names=[name for name, _ in _ORDER]))
        num_kept += len(positions)
        if num_kept >= 2 * num_rows:  # seldom: sorting costs as much as it saves memory
            best = _first(kept, num_rows)
            kept, num_kept, is_all = [best], num_rows, False
            worst = best["draw"][num_rows - 1].as_py()
    best = _first(kept, num_rows)
    return best, is_all and num_kept <= num_rows


def _first(parts: Sequence[pa.Table], num_rows: int) -> pa.Table:
    table = pa.concat_tables(parts)
    return table.take(pc.sort_indices(table, _ORDER)[:num_rows]).combine_chunks()


def _complete_rows(inputs: _Inputs, shards: Sequence[int], candidates: pa.Table) -> pa.Table:
    """Read the candidates' columns; drop rows that lack one, and all but the first of an image."""
    parts = [inputs.read(shards[0]).slice(0, 0)]
    places = []
    for shard, places_here in _by_shard(candidates):
        rows = candidates["position"].take(pa.array(places_here))
        part = inputs.read(shard).take(rows.combine_chunks())
        valid = _valid(part, inputs.needed)
        parts.append(part.filter(pa.array(valid)))
        places.append(places_here[valid])
    sample = pa.concat_tables(parts)
    order = np.argsort(np.concatenate(places)) if places else np.empty(0, np.int64)
    return _first_of_each(sample.take(pa.array(order)))


def _by_shard(candidates: pa.Table) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each shard with the places of its rows among the candidates."""
    shards = candidates["shard"].to_numpy()
    order = np.argsort(shards, kind="stable")
    bounds = np.flatnonzero(np.diff(shards[order])) + 1
    for places in np.split(order, bounds):
        if len(places):
            yield int(shards[places[0]]), places


def _valid(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    valid = np.ones(len(table), dtype=bool)
    for name in names:
        valid &= table[name].is_valid().to_numpy()
    return valid


def _is_narrow(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or kind == pa.uuid())


def _first_of_each(table: pa.Table) -> pa.Table:
    """Drop repeats of an image id; equal ids stand side by side."""
    if len(table) < 2:
        return table
    ids = table[IMAGE_ID.name].to_numpy(zero_copy_only=False)
    first = np.concatenate([[True], ids[1:] != ids[:-1]])
    return table.filter(pa.array(first))
