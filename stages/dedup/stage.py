"""The dedup stage: duplicate groups of a whole dataset."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curation.config import Config
from curation.errors import UsageError
from curation.pipeline.stage import RelationStage
from schemas.columns import IDENTITY
from schemas.dedup import DEDUP, DEDUP_EDGES
from schemas.error_codes import row_error
from stages.dedup.facts import group_facts
from stages.dedup.groups import (
    CONTENT,
    Links,
    content_codes,
    cut_large,
    distinct_contents,
    group_rows,
    sorted_unique,
)
from stages.dedup.matchers import (
    DHASH,
    ENTROPY,
    PHASH,
    Index,
    Signatures,
    near,
    no_signatures,
    signatures,
)

MAX_ROWS = (1 << 31) // 3
"""Rows whose signatures and contents can be numbered together in 31 bits."""

MAX_WAITING_PAIRS = 1 << 20
"""Pairs of several edge files that may wait to be made one with the others: 8 MiB."""


class PerceptualConfig(Config):
    """When two images look the same.

    The defaults are measured: `python -m benchmarks.dedup` prints what others would give. A larger
    `check_radius` finds more crops and takes more pages of one layout for each other; a larger
    `min_entropy` leaves out charts and drawings.

    Attributes:
        radius: Greatest Hamming distance of the pHashes, of 64 bits.
        check_radius: Greatest Hamming distance of the dHashes, of 64 bits; 64 turns the check off.
        min_entropy: Bits of the luma histogram below which an image is linked by content only.
        max_group: Different contents that a group may have before its longest links are cut.
    """

    radius: int = Field(default=8, ge=0, le=31)
    check_radius: int = Field(default=16, ge=0, le=64)
    min_entropy: float = Field(default=1.0, ge=0, le=8)
    max_group: int = Field(default=1000, ge=1)


class DedupConfig(Config):
    """What counts as a duplicate.

    Attributes:
        exact: Link files with the same bytes.
        perceptual: Link images that look the same; null to leave that out.
    """

    exact: bool = True
    perceptual: PerceptualConfig | None = PerceptualConfig()

    @model_validator(mode="after")
    def _compares_something(self) -> "DedupConfig":
        if not self.exact and self.perceptual is None:
            message = "exact and perceptual are both off, so nothing is compared; leave one on"
            raise ValueError(message)
        return self


class DedupStage(RelationStage[DedupConfig]):
    """Find the duplicate group of every image, by content and by perceptual hashes.

    Edges exist only between different perceptual hashes; what is equal, content or hashes, is found
    by sorting when the groups are made.
    """

    name = "dedup"
    config_type = DedupConfig

    def reads(self) -> tuple[str, ...]:
        return (CONTENT,) if self.config.perceptual is None else (CONTENT, PHASH, DHASH, ENTROPY)

    def writes(self) -> pa.Schema:
        return DEDUP

    def edge_schema(self) -> pa.Schema:
        return DEDUP_EDGES

    def edges(self, left: pa.Table, right: pa.Table | None) -> pa.Table:
        config = self.config.perceptual
        if config is None:
            return DEDUP_EDGES.empty_table()
        lefts = signatures(left, config.min_entropy)
        rights = None if right is None else signatures(right, config.min_entropy)
        i, j, distance = near(lefts, rights, config.radius, config.check_radius)
        order = np.lexsort((j, i))
        second, seconds = (left, lefts) if right is None or rights is None else (right, rights)
        columns = [
            *_identity(left, lefts.first_row[i[order]]),
            *_identity(second, seconds.first_row[j[order]]),
            pa.array(distance[order], pa.int16()),
        ]
        return pa.table(columns, schema=DEDUP_EDGES)

    def groups(
        self, rows: pa.Table, edges: Iterable[pa.Table]
    ) -> tuple[pa.Table, Mapping[str, Any]]:
        config = self.config.perceptual
        if len(rows) > MAX_ROWS:
            message = f"dedup of {len(rows)} rows: one dataset may have {MAX_ROWS}; split it"
            raise UsageError(message)
        contents = content_codes(rows)
        found = no_signatures(len(rows)) if config is None else signatures(rows, config.min_entropy)
        links = _links(rows, found, edges)
        weights = distinct_contents(found.of_row, contents, len(found))
        cut = cut_large(links, weights, config.max_group if config is not None else len(rows))
        ids = rows["image_id"].combine_chunks()
        groups = group_rows(ids, contents if self.config.exact else None, found.of_row, cut)
        facts = group_facts(ids, contents, found, weights, links, cut, groups)
        del contents, found, links, weights, cut  # before as much again is made of strings
        methods = pa.DictionaryArray.from_arrays(
            pa.array(np.where(groups.is_exact, 0, 1).astype(np.int8), mask=groups.distance < 0),
            ["exact", "perceptual"],
        )
        columns = [
            ids.take(pa.array(groups.first[groups.label])),
            pa.array(groups.distance, pa.int16(), mask=groups.distance < 0),
            methods.cast(pa.string()),
            self._errors(rows),
        ]
        return pa.table(columns, schema=DEDUP), facts

    def _errors(self, rows: pa.Table) -> pa.Array:
        """Name the first column that a row lacks."""
        error: Any = pa.nulls(len(rows), pa.string())
        for logical in self.reads():
            missing = rows[logical].is_null().combine_chunks()
            text = row_error("missing_input", column=logical)
            error = pc.coalesce(error, pc.if_else(missing, text, pa.scalar(None, pa.string())))
        return error


def _identity(rows: pa.Table, positions: Index) -> list[pa.ChunkedArray]:
    taken = rows.select([f.name for f in IDENTITY]).take(pa.array(positions, pa.int64()))
    return list(taken.columns)


def _links(rows: pa.Table, found: Signatures, edges: Iterable[pa.Table]) -> Links:
    """Turn edges between rows into links between signatures, each once, in a fixed order.

    A pair of signatures that stands in many pairs of blocks has an edge in each of them. They are
    made one as the files are read, so no more than twice the links are ever held.
    """
    keys = _keys(rows["shard"], rows["row"])
    of_key = found.of_row
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys)
        keys, of_key = keys[order], of_key[order]
    pairs = np.empty(0, np.int64)
    waiting: list[Index] = []
    num_waiting = 0
    for table in edges:
        left, right = (
            of_key[np.searchsorted(keys, _keys(table[f"{side}_shard"], table[f"{side}_row"]))]
            for side in ("left", "right")
        )
        low, high = np.minimum(left, right), np.maximum(left, right)
        assert not len(low) or low.min() >= 0, "an edge of a row without signature"
        waiting.append(sorted_unique(low.astype(np.int64) * len(found) + high))
        num_waiting += len(waiting[-1])
        if num_waiting > max(len(pairs), MAX_WAITING_PAIRS):
            pairs = sorted_unique(np.concatenate([pairs, *waiting]))
            waiting, num_waiting = [], 0
    pairs = sorted_unique(np.concatenate([pairs, *waiting]))
    lefts = (pairs // max(len(found), 1)).astype(np.int32)
    rights = (pairs % max(len(found), 1)).astype(np.int32)
    distance = np.bitwise_count(found.phash[lefts] ^ found.phash[rights])
    return Links(lefts, rights, distance.astype(np.int16))


def _keys(shards: pa.ChunkedArray, rows: pa.ChunkedArray) -> Index:
    high = shards.to_numpy().astype(np.int64) << 32
    return np.asarray(high + rows.to_numpy(), dtype=np.int64)
