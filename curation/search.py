"""Search: the images of a dataset that are nearest to a picture, or to words.

The query is embedded by the very stage, configured as it was, that embedded the dataset. The
search is exact and looks at every vector, a shard at a time, so memory holds one shard and the best
so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.config import nearest
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.ingest.tombstones import read_tombstones
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.instances import Instance, Registry
from curation.pipeline.stage import Execution, Shard, Stage, run_stage
from curation.pixels import views
from schemas.columns import IDENTITY

VECTOR = "vector"
"""A stage that writes a column of this name, a list of one length, can be searched."""

_BLOCK_ROWS = 4096  # rows widened to float64 at once


@runtime_checkable
class ReadsText(Protocol):
    """A stage whose vectors can be compared with vectors of words."""

    @property
    def reads_text(self) -> bool:
        """Whether it can, as it is configured."""
        ...

    def embed_text(self, text: str) -> NDArray[np.float16]:
        """Return the vector of a text, as the column has those of images; after `setup`."""
        ...


@dataclass(frozen=True)
class Match:
    """An image that was found.

    Attributes:
        score: Cosine between it and the query, -1 to 1.
        image_id: Its identity, 16 bytes.
        shard: Where its row is.
        row: Likewise.
        source_name: Where it came from.
        source_key: Likewise.
    """

    score: float
    image_id: bytes
    shard: int
    row: int
    source_name: str
    source_key: str


@dataclass(frozen=True)
class Found:
    """The answer to a search.

    Attributes:
        instance: The instance whose vectors were searched.
        num_vectors: Vectors that were looked at.
        num_missing: Image shards that the instance has not finished, and which were left out.
        matches: The nearest first; equal ones by image id.
    """

    instance: str
    num_vectors: int
    num_missing: int
    matches: tuple[Match, ...]


def search_by_image(
    dataset: Dataset,
    registry: Registry,
    data: bytes,
    *,
    limit: int,
    instance: str | None = None,
    pipeline: str | None = None,
    execution: Execution | None = None,
) -> Found:
    """Find the `limit` images that are nearest to a picture.

    A place that was ingested several times is looked at each time, as in the SQL table `rows`;
    images under a tombstone are never shown.

    Args:
        dataset: The dataset.
        registry: The stages that exist.
        data: The bytes of an image file.
        limit: Matches wanted, at least 1.
        instance: Whose vectors; null for the only instance that writes some.
        pipeline: Whose instances; null for the only pipeline applied.
        execution: How the picture is embedded; null for the CPU, whatever the pipeline says.

    Raises:
        UsageError: There is nothing to search, the stage cannot embed anything here, or the file is
            no picture that it can embed.
    """
    chosen = choose_instance(dataset, registry, instance, pipeline)
    chosen = replace(chosen, execution=execution or Execution())
    there = _shards(dataset, chosen)
    return _nearest(dataset, chosen, there, embed_one(dataset, chosen, data), limit)


def search_by_text(
    dataset: Dataset,
    registry: Registry,
    text: str,
    *,
    limit: int,
    instance: str | None = None,
    pipeline: str | None = None,
    execution: Execution | None = None,
) -> Found:
    """Find the `limit` images that a text describes best, as the model sees it.

    Args:
        dataset: As for `search_by_image`.
        registry: Likewise.
        text: What is wanted, in words.
        limit: Matches wanted, at least 1.
        instance: Whose vectors; null for the only instance that reads text.
        pipeline: As for `search_by_image`.
        execution: How the text is embedded; null for the CPU, whatever the pipeline says.

    Raises:
        UsageError: There is nothing to search, or the stage cannot embed a text, at all or here.
    """
    if not text.strip():
        message = "the text is empty; say what to search for"
        raise UsageError(message)
    chosen = choose_instance(dataset, registry, instance, pipeline, for_text=True)
    chosen = replace(chosen, execution=execution or Execution())
    there = _shards(dataset, chosen)
    stage = chosen.make()
    assert isinstance(stage, ReadsText)
    stage.check()
    stage.setup()
    return _nearest(dataset, chosen, there, stage.embed_text(text), limit)


def _shards(dataset: Dataset, chosen: Instance) -> list[int]:
    """Return the shards that can be searched, at least one."""
    shards = dataset.instance_shards(chosen.name, chosen.fingerprint)
    images = set(dataset.image_shards())
    there = [shard for shard in shards if shard in images]
    if not there:
        message = (
            f"{dataset.store.url}: {chosen.name} has finished no shard yet; "
            "run the pipeline, then search"
        )
        raise UsageError(message)
    return there


def _nearest(
    dataset: Dataset,
    chosen: Instance,
    there: Sequence[int],
    query: NDArray[np.float16],
    limit: int,
) -> Found:
    best = _Best(query, limit)
    tombstones = read_tombstones(dataset)
    for shard in there:
        column = f"{chosen.name}_{VECTOR}"
        table = dataset.read_instance(
            chosen.name, chosen.fingerprint, shard, [*(f.name for f in IDENTITY), column]
        )
        table = table.filter(table[column].is_valid())
        if tombstones.image_ids or tombstones.contents:
            contents = dataset.read_images(shard, ["content_sha256"])["content_sha256"]
            forbidden = tombstones.mask(table["image_id"], contents.take(table["row"]))
            table = table.filter(pc.invert(pc.fill_null(forbidden, False)))
        best.add(table, column)
    matches = _with_sources(dataset, best.places())
    num_missing = len(dataset.image_shards()) - len(there)
    return Found(chosen.name, best.num_vectors, num_missing, matches)


def choose_instance(
    dataset: Dataset,
    registry: Registry,
    name: str | None,
    pipeline: str | None,
    *,
    for_text: bool = False,
) -> Instance:
    """Return the instance whose vectors are searched.

    Args:
        dataset: The dataset.
        registry: The stages that exist.
        name: The instance's name; null for the only one.
        pipeline: Whose instances; null for the only pipeline applied.
        for_text: Only those count that read text.

    Raises:
        UsageError: There is none, it has no vectors, reads no text or waits for a fit, or several
            could be meant.
    """
    config = choose_pipeline(dataset, pipeline)
    instances = () if config is None else applied_instances(dataset, config, registry)
    able = {i.name: i for i in instances if _has_vectors(i)}
    where = dataset.store.url
    if name is not None and name not in able:
        known = ", ".join(able) or "none"
        hint = nearest(name, list(able))
        message = f"{where}: no instance {name!r} with vectors{hint}; there are: {known}"
        raise UsageError(message)
    if not able:
        message = (
            f"{where}: no stage has written vectors; add `embed: {{}}` to a pipeline and run it"
        )
        raise UsageError(message)
    if for_text:
        able = _readers(able, name, where)
    if name is None and len(able) > 1:
        message = f"{where}: {len(able)} instances have vectors; choose one with --instance: "
        raise UsageError(message + ", ".join(able))
    chosen = able[name] if name is not None else next(iter(able.values()))
    if not chosen.is_ready:
        message = f"{where}: {chosen.name} waits for a fit; run the pipeline, then search"
        raise UsageError(message)
    return chosen


def _readers(able: dict[str, Instance], name: str | None, where: str) -> dict[str, Instance]:
    """Return those instances that read text; the one that was named must be among them."""
    found = {key: instance for key, instance in able.items() if _reads_text(instance.make())}
    if found and (name is None or name in found):
        return found
    mute = name if name is not None else ", ".join(able)
    message = (
        f"{where}: {mute} cannot read text, only pictures (`--image`); to search with words, embed "
        "with a CLIP model: `embed: {embedder: open_clip, weights: ...}`"
    )
    if found:
        message = f"{where}: {mute} cannot read text, but {', '.join(found)} can"
    raise UsageError(message)


def _reads_text(stage: Stage[Any]) -> bool:
    return isinstance(stage, ReadsText) and stage.reads_text


def embed_one(dataset: Dataset, instance: Instance, data: bytes) -> NDArray[np.float16]:
    """Return the vector that the instance gives a picture, in half precision as it is stored.

    Raises:
        UsageError: The stage reads other columns, or the file is no picture that it can embed.
    """
    stage = instance.make()
    spec = stage.pixels()
    if spec is None or stage.reads():
        message = f"{instance.name}: its vectors need more than a picture; choose another instance"
        raise UsageError(message)
    stage.check()
    stage.setup()
    identity = [pa.array([0], f.type) for f in IDENTITY[:2]] + [
        pa.array([bytes(16)], pa.binary(16))
    ]
    table = pa.Table.from_arrays(identity, schema=pa.schema(IDENTITY))
    result = run_stage(stage, Shard(0, table, lambda position: views(data, [spec])[0]))
    error = result["error"][0].as_py()
    if error is not None:
        message = f"the example cannot be embedded by {instance.name}: {error}"
        raise UsageError(message)
    query: NDArray[np.float16] = _matrix(result[VECTOR])[0]
    return query


def _has_vectors(instance: Instance) -> bool:
    schema = instance.make().writes()
    if VECTOR not in schema.names or instance.is_relation:
        return False
    kind = schema.field(VECTOR).type
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float16())


class _Best:
    """The best rows so far, by cosine and then by image id.

    Half-precision numbers of at most 1 are multiples of 2^-24, their products of 2^-48, and no
    partial sum of an inner product passes 2 by Cauchy-Schwarz: float64 holds them all, so the
    products are exact in whatever order they are added. Square root and division are correctly
    rounded. So a score is the same on every machine, and an image found by itself scores 1.
    """

    def __init__(self, query: NDArray[np.float16], limit: int) -> None:
        self._query = query.astype(np.float64)
        self._square = float(self._query @ self._query)
        self._limit = limit
        self._rows: list[tuple[float, bytes, int, int]] = []
        self.num_vectors = 0

    def add(self, table: pa.Table, column: str) -> None:
        """Take the rows of one shard."""
        self.num_vectors += len(table)
        for start in range(0, len(table), _BLOCK_ROWS):
            self._add_block(table.slice(start, _BLOCK_ROWS), column)

    def _add_block(self, table: pa.Table, column: str) -> None:
        vectors = _matrix(table[column]).astype(np.float64)
        squares = np.einsum("rd,rd->r", vectors, vectors)
        scores = vectors @ self._query / np.sqrt(squares * self._square)
        count = min(self._limit, len(scores))
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        near = np.flatnonzero(scores >= least)  # with ties, which ids decide
        part = table.take(pa.array(near))
        ids, shards, rows = (part[name].to_pylist() for name in ("image_id", "shard", "row"))
        found = zip(scores[near].tolist(), ids, shards, rows, strict=True)
        everything = sorted([*self._rows, *found], key=lambda r: (-r[0], r[1], r[2], r[3]))
        self._rows = everything[: self._limit]

    def places(self) -> list[tuple[float, bytes, int, int]]:
        """Return (score, image id, shard, row), the best first."""
        return self._rows


def _with_sources(
    dataset: Dataset, places: Sequence[tuple[float, bytes, int, int]]
) -> tuple[Match, ...]:
    keys: dict[tuple[int, int], tuple[str, str]] = {}
    for shard in sorted({shard for _, _, shard, _ in places}):
        table = dataset.read_images(shard, ["source_name", "source_key"])
        rows = [row for _, _, other, row in places if other == shard]
        for row, values in zip(rows, table.take(pa.array(rows)).to_pylist(), strict=True):
            keys[shard, row] = (values["source_name"], values["source_key"])
    return tuple(
        Match(score, image_id, shard, row, *keys[shard, row])
        for score, image_id, shard, row in places
    )


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float16]:
    """Return a column of vectors without nulls as (rows, dimension)."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate([np.zeros(0, np.float16), *chunks])
    return flat.reshape(len(column), column.type.list_size)
