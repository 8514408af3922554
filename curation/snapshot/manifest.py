"""The manifest: what a snapshot is made from, what it holds, and the id that follows from both."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.fingerprint import digest
from curation.snapshot.decide import Decisions
from curation.snapshot.split import NO_SPLIT, SPLITS

FORMAT = "longtail-snapshot-1"

_DIGEST_LENGTH = 32


class ParentInfo(Config):
    """An instance that a snapshot reads.

    Attributes:
        stage: Its stage.
        fingerprint: What its columns mean; null where it waited for a fit (`--allow-pending`).
    """

    stage: str
    fingerprint: str | None


class Predicate(Config):
    """A named predicate.

    Attributes:
        name: The reason of rows that fail it.
        sql: The expression, whitespace outside quotes collapsed.
    """

    name: str
    sql: str


class Content(Config):
    """What the id is the hash of: equal content, equal id, wherever and whenever made.

    Attributes:
        format: Version of this structure.
        parents: Instance -> what it is, for all that the snapshot reads.
        rows: Digest of the sorted (image_id, current) of all rows.
        where: The predicates in order.
        representative: What chose among duplicates, the most important first.
        split: Configuration of the split.
        sample: The sampler's whole configuration; null without sampling.
        decisions: Digest of what was decided, by image_id.
        preferences: Digest of the pairs and of what was decided on them; null without any.
    """

    format: str = FORMAT
    parents: dict[str, ParentInfo]
    rows: str
    where: tuple[Predicate, ...]
    representative: tuple[str, ...]
    split: dict[str, Any]
    sample: dict[str, Any] | None
    decisions: str
    # Left out where it is null, so that snapshots without pairs keep the ids that they always had.
    preferences: str | None = Field(default=None, exclude_if=lambda v: v is None)

    def snapshot_id(self) -> str:
        """Return the snapshot's id: 32 hexadecimal characters."""
        return digest(self.model_dump(mode="json"))


class FileInfo(Config):
    """A file of a snapshot.

    Attributes:
        num_bytes: Its size.
        num_rows: Its rows.
        sha256: Of its bytes.
    """

    num_bytes: int
    num_rows: int
    sha256: str


class Conservation(Config):
    """Where every row went; the numbers add up.

    Attributes:
        images: All listed rows.
        superseded: Rows that a later one replaced, or whose file vanished.
        tombstoned: Rows that must never be used again.
        pending: Rows that some instance has not seen.
        quarantined: Rows of shards that some instance was given up on.
        excluded: All other reasons -> rows.
        kept: Rows in the snapshot.
    """

    images: int
    superseded: int
    tombstoned: int
    pending: int
    quarantined: int
    excluded: dict[str, int]
    kept: int


class CategoryInfo(Config):
    """A node of the category tree.

    Attributes:
        before: Images that could be chosen.
        kept: Images chosen.
        draws: Their repeats, added up.
    """

    before: int
    kept: int
    draws: int


class PairCounts(Config):
    """Where every pair of a table of preferences went; kept and excluded add up.

    Attributes:
        pairs: All of them.
        excluded: Reason -> pairs.
        kept: Pairs in the snapshot.
        splits: Split -> kept pairs.
        sources: Source -> kept pairs; `""` where nobody said.
    """

    pairs: int
    excluded: dict[str, int]
    kept: int
    splits: dict[str, int]
    sources: dict[str, int]


class SnapshotManifest(Config):
    """The content of `manifest.json`; without that file there is no snapshot.

    Attributes:
        id: Hash of `content`.
        content: What the snapshot is made from and what it decided.
        conservation: Where every row went.
        reasons: First reason -> rows.
        splits: Split -> kept images.
        categories: Category path -> counts; `""` is the whole.
        num_draws: Repeats of all kept images, added up.
        num_missing: Draws asked for that the candidates could not give.
        num_moved: Images that `previous` kept in another split.
        previous: The snapshot that splits were compared with.
        columns: What a snapshot needs to know -> the column that said it.
        files: Name below the snapshot's folder -> file; empty for a preview.
        preferences: Where every pair went; null without any.
        dataset: URL of the dataset when made.
        dataset_id: Id of the dataset.
        pipeline: Name of the pipeline.
        code_version: Version of the code that made it.
        created_at: Time, UTC, ISO 8601.
    """

    id: str
    content: Content
    conservation: Conservation
    reasons: dict[str, int]
    splits: dict[str, int]
    categories: dict[str, CategoryInfo]
    num_draws: int
    num_missing: int
    num_moved: int
    previous: str | None
    columns: dict[str, str]
    files: dict[str, FileInfo]
    preferences: PairCounts | None = Field(default=None, exclude_if=lambda v: v is None)
    dataset: str
    dataset_id: str
    pipeline: str
    code_version: str
    created_at: str


def rows_digest(decisions: Decisions) -> str:
    """Hash the sorted (image_id, current) of all rows.

    Rows that were never taken in stand with the hash of their place in the source instead.
    """
    rows = decisions.rows
    words = _identities(decisions)
    order = np.lexsort((rows.current, words[:, 1], words[:, 0]))
    hashed = hashlib.sha256(b"longtail-rows-1\0")
    hashed.update(words[order].astype(">u8").tobytes())
    hashed.update(rows.current[order].tobytes())
    return hashed.hexdigest()[:_DIGEST_LENGTH]


def decisions_digest(decisions: Decisions) -> str:
    """Hash what was decided, by image_id and not by shard and row, so shard size is no difference.

    Names that occur are hashed with their bits, so that reasons and categories which do not occur
    make no difference either.
    """
    rows = decisions.rows
    words = _identities(decisions)
    codes, paths = _category_codes(rows.facts["category_path"])
    masks = {name: rows.reasons.has(name) for name in rows.reasons.names}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    # Rows of one image_id (all but one superseded) are ordered by everything that is hashed.
    keys: tuple[NDArray[Any], ...] = (codes, decisions.split, *masks.values())
    keys = (*keys, decisions.repeat, words[:, 1], words[:, 0])
    order = np.lexsort(keys)
    hashed = hashlib.sha256(b"longtail-decisions-1\0")
    hashed.update(words[order].astype(">u8").tobytes())
    for name, mask in masks.items():
        hashed.update(name.encode() + b"\0" + np.packbits(mask[order]).tobytes())
    hashed.update(decisions.repeat[order].astype("<i4").tobytes())
    hashed.update(decisions.weight[order].astype("<f8").tobytes())
    hashed.update("\0".join(SPLITS).encode() + decisions.split[order].tobytes())
    hashed.update("\0".join(paths).encode() + codes[order].astype("<i4").tobytes())
    return hashed.hexdigest()[:_DIGEST_LENGTH]


def _identities(decisions: Decisions) -> NDArray[np.uint64]:
    rows = decisions.rows
    words = np.ascontiguousarray(rows.image_id).view(">u8").astype(np.uint64)
    return np.where(rows.has_id[:, None], words, rows.place)


def _category_codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Return each row's category as its place among the sorted paths that occur, -1 for none."""
    array = column.combine_chunks()
    used = np.asarray(pc.fill_null(array.indices, -1).to_numpy(), np.int32)
    paths = array.dictionary.to_pylist()
    present = sorted({paths[code] for code in np.unique(used) if code >= 0})
    places = {path: place for place, path in enumerate(present)}
    lookup = np.array([*(places.get(path, -1) for path in paths), -1], np.int32)
    return lookup[used], present


def count_rows(decisions: Decisions) -> tuple[Conservation, dict[str, int], dict[str, int]]:
    """Return where every row went, first reason -> rows, and split -> kept images."""
    counts = decisions.rows.reasons.counts()
    excluded = dict(counts)
    groups = {"superseded": 0, "tombstoned": 0, "pending": 0, "quarantined": 0}
    for name in counts:
        group = name.split(":", 1)[0]
        if group in groups:  # no predicate can be called by these names
            groups[group] += excluded.pop(name)
    conservation = Conservation(
        images=len(decisions.rows), excluded=excluded, kept=int(decisions.kept.sum()), **groups
    )
    splits = {
        name: int((decisions.split[decisions.kept] == place).sum())
        for place, name in enumerate(SPLITS)
    }
    assert not (decisions.split[decisions.kept] == NO_SPLIT).any(), "a kept row has content"
    return conservation, counts, splits
