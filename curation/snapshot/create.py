"""Making a snapshot: collect, decide, write, and the manifest last."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from curation.config import Config
from curation.dataset import Dataset
from curation.errors import ConservationError, SnapshotError
from curation.fingerprint import pretty_json
from curation.snapshot.captions import CaptionReader
from curation.snapshot.collect import collect
from curation.snapshot.config import SnapshotConfig
from curation.snapshot.decide import Decisions, decide
from curation.snapshot.diff import moved_images
from curation.snapshot.expressions import Expression, parse_expression
from curation.snapshot.inputs import Parent, RelationRows, Sources, find_sources
from curation.snapshot.manifest import (
    CategoryInfo,
    Content,
    FileInfo,
    ParentInfo,
    Predicate,
    SnapshotManifest,
    count_rows,
    decisions_digest,
    rows_digest,
)
from curation.snapshot.preference_table import read_preference_table
from curation.snapshot.preferences import count_pairs, decide_pairs, pairs_digest
from curation.snapshot.read import (
    MANIFEST,
    find_snapshot,
    previous_splits,
    read_manifest,
    snapshot_path,
)
from curation.snapshot.sampler import Sampler
from curation.snapshot.write import write_tables


class Pipeline(Protocol):
    """What a snapshot needs of a pipeline; `curation.pipeline.PipelineConfig` is one."""

    @property
    def name(self) -> str: ...
    @property
    def snapshot(self) -> SnapshotConfig: ...


@dataclass(frozen=True)
class Created:
    """The outcome of `create_snapshot`.

    Attributes:
        manifest: The snapshot's manifest, as it stands on disk.
        is_new: Whether this call made it; false where the same snapshot was there already.
        moved: The images that the previous snapshot kept in another split, as `CHANGED_ROWS`; null
            where none was named.
    """

    manifest: SnapshotManifest
    is_new: bool
    moved: pa.Table | None


@dataclass(frozen=True)
class _Made:
    """What was decided, before it is written; `pairs` is null without preferences."""

    decisions: Decisions
    content: Content
    sources: Sources
    pairs: pa.Table | None

    def write(self, dataset: Dataset, snapshot: str) -> dict[str, FileInfo]:
        captions = CaptionReader(dataset, self.sources)
        return write_tables(dataset, snapshot, self.decisions, captions, self.pairs)


def preview(
    dataset: Dataset,
    pipeline: Pipeline,
    instances: Sequence[Parent],
    relations: Mapping[str, RelationRows],
    sampler: Sampler | None = None,
    *,
    allow_pending: bool = False,
    previous: str | None = None,
    hold_split: bool = False,
    preferences: str | None = None,
    code_version: str = "",
) -> SnapshotManifest:
    """Return the manifest that `create_snapshot` would write, without files; nothing is written.

    Raises:
        SnapshotError: As `create_snapshot`.
    """
    made = _make(
        dataset,
        pipeline,
        instances,
        relations,
        sampler,
        allow_pending,
        previous,
        hold_split,
        preferences,
    )
    return _manifest(dataset, pipeline, made, previous, code_version, {})


def create_snapshot(
    dataset: Dataset,
    pipeline: Pipeline,
    instances: Sequence[Parent],
    relations: Mapping[str, RelationRows],
    sampler: Sampler | None = None,
    *,
    allow_pending: bool = False,
    previous: str | None = None,
    hold_split: bool = False,
    preferences: str | None = None,
    code_version: str = "",
) -> Created:
    """Decide about every row of a dataset and write the answer.

    Killed at any point and called again, it leaves what an uninterrupted call leaves: files are
    whole and follow from the content, and without a manifest there is no snapshot. Files of the
    same snapshot that got lost since are written again.

    Args:
        dataset: The dataset.
        pipeline: Its pipeline, of which the section `snapshot` counts.
        instances: The pipeline's instances, resolved. Only those whose columns are read count:
            for completeness, for quarantine, and for the id.
        relations: Relation instance -> its rows for the present shard set; left out where there is
            none yet.
        sampler: What draws; needed where `snapshot.sample` is set.
        allow_pending: Leave rows of unfinished shards out, with a reason, instead of refusing.
        previous: Id of a snapshot to compare splits with.
        hold_split: Exclude images that `previous` kept in another split.
        preferences: File or folder with pairs of images of which one is preferred, as
            `curation.snapshot.preference_table` says; null for none.
        code_version: Recorded in the manifest.

    Raises:
        SnapshotError: The request is wrong, or shards are missing.
        ContractError: Files of the dataset contradict each other.
        ConservationError: Rows do not add up.
    """
    if previous is not None:
        previous = find_snapshot(dataset, previous)  # now, before `latest` is another one
    made = _make(
        dataset,
        pipeline,
        instances,
        relations,
        sampler,
        allow_pending,
        previous,
        hold_split,
        preferences,
    )
    snapshot = made.content.snapshot_id()
    path = snapshot_path(snapshot, MANIFEST)
    if dataset.store.exists(path):
        manifest = read_manifest(dataset, snapshot)
        if _is_whole(dataset, manifest):
            return _created(dataset, manifest, previous, is_new=False)
        files = made.write(dataset, snapshot)
        if files != manifest.files:  # the same rows, but written by another version
            manifest = manifest.model_copy(update={"files": files})
            dataset.store.put(path, pretty_json(manifest.model_dump(mode="json")))
        return _created(dataset, manifest, previous, is_new=False)
    files = made.write(dataset, snapshot)
    manifest = _manifest(dataset, pipeline, made, previous, code_version, files)
    is_new = dataset.store.create(path, pretty_json(manifest.model_dump(mode="json")))
    return _created(dataset, read_manifest(dataset, snapshot), previous, is_new=is_new)


def _created(
    dataset: Dataset, manifest: SnapshotManifest, previous: str | None, *, is_new: bool
) -> Created:
    moved = None if previous is None else moved_images(dataset, manifest.id, previous)
    return Created(manifest, is_new, moved)


def _is_whole(dataset: Dataset, manifest: SnapshotManifest) -> bool:
    files = (snapshot_path(manifest.id, name) for name in manifest.files)
    return all(dataset.store.exists(path) for path in files)


def _make(
    dataset: Dataset,
    pipeline: Pipeline,
    instances: Sequence[Parent],
    relations: Mapping[str, RelationRows],
    sampler: Sampler | None,
    allow_pending: bool,
    previous: str | None,
    hold_split: bool,
    preferences: str | None,
) -> _Made:
    config = pipeline.snapshot
    if hold_split and previous is None:
        message = "--hold-split needs --previous ID: the snapshot whose splits are held"
        raise SnapshotError(message)
    sample_config = _sample_config(config, sampler)
    stated = None if preferences is None else read_preference_table(preferences)
    sources = find_sources(config, instances)
    where = [
        parse_expression(name, text, sources.offered, f"snapshot.where.{name}")
        for name, text in config.where.items()
    ]
    order = _order(config, sources)
    before = None
    if previous is not None:
        before = previous_splits(dataset, find_snapshot(dataset, previous))
    rows = collect(dataset, sources, where, order, relations, allow_pending=allow_pending)
    decisions = decide(rows, config, sampler, sample_config, before, hold_split=hold_split)
    _check_conservation(decisions)
    pairs = None if stated is None else decide_pairs(dataset, stated, decisions, config.split)
    content = Content(
        parents={name: _parent(sources.parents[name]) for name in rows.used[1:]},
        rows=rows_digest(decisions),
        where=tuple(Predicate(name=e.name, sql=e.sql) for e in where),
        representative=tuple(e.sql for e in order),
        split=config.split.model_dump(mode="json"),
        sample=None if sample_config is None else sample_config.model_dump(mode="json"),
        decisions=decisions_digest(decisions),
        preferences=None if pairs is None else pairs_digest(pairs),
    )
    return _Made(decisions, content, sources, pairs)


def _sample_config(config: SnapshotConfig, sampler: Sampler | None) -> Config | None:
    if config.sample is None:
        return None
    assert sampler is not None, "snapshot.sample needs a sampler"
    return sampler.parse(config.sample, "snapshot.sample")


def _order(config: SnapshotConfig, sources: Sources) -> list[Expression]:
    """Return what chooses representatives: as configured, or pixel area and then score."""
    texts = config.representative
    if texts is None:
        roles = sources.roles
        found = []
        if "width" in roles:
            found.append(f"{roles['width']}::BIGINT * {roles['height']}")
        if "aesthetic_score" in roles:
            found.append(roles["aesthetic_score"])
        texts = tuple(found)
    names = [f"snapshot.representative.{place}" for place in range(len(texts))]
    return [
        parse_expression(name, text, sources.offered, name)
        for name, text in zip(names, texts, strict=True)
    ]


def _parent(parent: Parent) -> ParentInfo:
    fingerprint = parent.fingerprint if parent.is_ready else None
    return ParentInfo(stage=parent.stage_type.name, fingerprint=fingerprint)


def _check_conservation(decisions: Decisions) -> None:
    found, _, _ = count_rows(decisions)
    total = found.superseded + found.tombstoned + found.pending + found.quarantined
    total += sum(found.excluded.values()) + found.kept
    if total != found.images:
        message = f"{found.images} rows, but {total} have a reason or are kept"
        raise ConservationError(message)


def _manifest(
    dataset: Dataset,
    pipeline: Pipeline,
    made: _Made,
    previous: str | None,
    code_version: str,
    files: dict[str, FileInfo],
) -> SnapshotManifest:
    decisions, content = made.decisions, made.content
    conservation, counts, splits = count_rows(decisions)
    return SnapshotManifest(
        id=content.snapshot_id(),
        content=content,
        conservation=conservation,
        reasons=counts,
        splits=splits,
        categories={
            node.path: CategoryInfo(
                before=node.num_candidates, kept=node.num_chosen, draws=node.num_draws
            )
            for node in decisions.tree
        },
        num_draws=int(decisions.repeat.sum()),
        num_missing=decisions.num_missing,
        num_moved=decisions.num_moved,
        previous=None if previous is None else find_snapshot(dataset, previous),
        columns=dict(made.sources.roles),
        files=files,
        preferences=None if made.pairs is None else count_pairs(made.pairs),
        dataset=dataset.store.url,
        dataset_id=dataset.info.dataset_id,
        pipeline=pipeline.name,
        code_version=code_version,
        created_at=_now(),
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
