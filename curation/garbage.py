"""What lies in a dataset and is referred to by nothing any more."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.dataset import Dataset
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.blocks import current_blocks, shard_set
from curation.pipeline.instances import Instance, Registry
from curation.snapshot.read import MANIFEST, list_snapshots, snapshot_path
from schemas import dataset as layout

GRACE = dt.timedelta(days=7)
"""How long a thing is left alone after its last file was written: a run may be at work on it."""

Place = tuple[str, str]
"""(instance, fingerprint)."""


@dataclass(frozen=True)
class Garbage:
    """A folder or file that nothing refers to.

    Attributes:
        path: Where it lies below the dataset's root.
        why: In a few words.
        files: Its files, in the order in which they may be deleted.
        num_bytes: Their size.
        newest: When the last of them was written.
    """

    path: str
    why: str
    files: tuple[str, ...]
    num_bytes: int
    newest: dt.datetime


def find_garbage(
    dataset: Dataset, registry: Registry, grace: dt.timedelta, now: dt.datetime
) -> list[Garbage]:
    """List what no applied pipeline and no snapshot refers to, and is older than `grace`.

    - folders of columns, edges and groups under fingerprints that neither a pipeline in
      `pipelines/` gives nor a snapshot was made from, and their charge sheets;
    - groups of earlier sets of shards, of relations that are in use;
    - artefacts of fits that no such folder or pipeline uses, and the pins that name them;
    - snapshots and materialised tables without a manifest, which were never finished.

    To be rid of a pipeline's columns, delete its file in `pipelines/` first.

    Args:
        dataset: The dataset.
        registry: The stages that exist.
        grace: See `GRACE`.
        now: The time, with its zone.

    Raises:
        ConfigError: A pipeline cannot be read, so nobody can say what it refers to.
    """
    found = _find(dataset, registry)
    return [garbage for garbage in found if garbage.newest < now - grace]


def delete_garbage(
    dataset: Dataset, registry: Registry, garbage: Sequence[Garbage]
) -> list[Garbage]:
    """Delete what was found, each after a second look; return what was deleted.

    Between the listing and now a pipeline may have been applied, a snapshot finished, a run may
    have begun to write again: what is referred to by now, or was written since, is left alone.
    """
    deleted = []
    looked: tuple[_References, set[str]] | None = None
    for entry in garbage:
        references = _References.read(dataset)
        if looked is None or looked[0] != references:
            found = _find(dataset, registry)
            looked = references, {garbage.path for garbage in found}
        if entry.path not in looked[1] or not _is_as_found(dataset, entry):
            continue
        for name in entry.files:
            dataset.store.delete(name)
        dataset.store.prune(entry.path)
        deleted.append(entry)
    return deleted


def _find(dataset: Dataset, registry: Registry) -> list[Garbage]:
    live = _Live(dataset, registry)
    return [
        *_columns(dataset, live),
        *_relations(dataset, live),
        *_charges(dataset, live),
        *_artifacts(dataset, live),
        *_unfinished(dataset),
    ]


def _is_as_found(dataset: Dataset, entry: Garbage) -> bool:
    files = dataset.store.details(entry.path)
    return set(files) == set(entry.files) and entry.newest == max(
        (modified for _, modified in files.values()), default=None
    )


@dataclass(frozen=True)
class _References:
    """What can come to refer to something, as listings tell; equal while nothing has.

    Attributes:
        pipelines: File -> (bytes, when it was written).
        pins: Names.
        finished: Snapshots and materialised tables with a manifest.
    """

    pipelines: Mapping[str, tuple[int, dt.datetime]]
    pins: tuple[str, ...]
    finished: tuple[str, ...]

    @classmethod
    def read(cls, dataset: Dataset) -> "_References":
        finished = []
        for snapshot in dataset.store.names("snapshots"):
            folder = layout.snapshot_folder(snapshot)
            tables = dataset.store.names(f"{folder}/materialized")
            places = [folder, *(f"{folder}/materialized/{name}" for name in tables)]
            finished += [p for p in places if dataset.store.exists(f"{p}/{MANIFEST}")]
        pins = tuple(dataset.store.names("pins"))
        return cls(dataset.store.details("pipelines"), pins, tuple(finished))


class _Live:
    """What is referred to.

    Attributes:
        places: (instance, fingerprint) of every pipeline and snapshot.
        relations: Those of pipelines that are relations, by place.
        fits: Fit keys of every pipeline.
        artifacts: Digests of every fitted model in use, whatever instance it lies under: a fit is
            found by its key, and so serves instances of other names.
    """

    def __init__(self, dataset: Dataset, registry: Registry) -> None:
        self.places: set[Place] = set()
        self.fits: set[str] = set()
        self.artifacts: set[str] = set()
        self.relations: dict[Place, tuple[Instance, dict[str, Instance]]] = {}
        for config in applied_pipelines(dataset).values():
            instances = applied_instances(dataset, config, registry)
            by_name = {instance.name: instance for instance in instances}
            for instance in instances:
                if instance.artifact is not None:
                    self.artifacts.add(instance.artifact)
                if instance.is_fitted and instance.meaning is not None:
                    self.fits.add(instance.meaning.fit_key())
                if instance.is_ready:
                    self.places.add((instance.name, instance.fingerprint))
                    if instance.is_relation:
                        place = (instance.name, instance.fingerprint)
                        self.relations[place] = (instance, by_name)
        for manifest in list_snapshots(dataset):
            for name, parent in manifest.content.parents.items():
                if parent.fingerprint is not None:
                    self.places.add((name, parent.fingerprint))
        self.artifacts |= _artifacts_of(dataset, self.places)


def _artifacts_of(dataset: Dataset, places: Iterable[Place]) -> set[str]:
    """Return the digests of the fitted models that folders were computed with."""
    found = set()
    for name, fingerprint in places:
        try:
            lineage = json.loads(dataset.store.read(f"{name}/{fingerprint}/stage.json"))
        except FileNotFoundError:
            continue
        if lineage.get("artifact") is not None:
            found.add(lineage["artifact"])
    return found


def _columns(dataset: Dataset, live: _Live) -> Iterator[Garbage]:
    for name in dataset.store.names(""):
        if name in layout.RESERVED_NAMES or "." in name:
            continue
        for fingerprint in dataset.store.names(name):
            if (name, fingerprint) not in live.places:
                folder = layout.instance_folder(name, fingerprint)
                yield from _folder(dataset, folder, "in no pipeline and no snapshot")


def _relations(dataset: Dataset, live: _Live) -> Iterator[Garbage]:
    for name in dataset.store.names("relations"):
        for fingerprint in dataset.store.names(f"relations/{name}"):
            folder = layout.relation_folder(name, fingerprint)
            if (name, fingerprint) not in live.places:
                yield from _folder(dataset, folder, "in no pipeline and no snapshot")
            elif (name, fingerprint) in live.relations:
                yield from _earlier_sets(dataset, folder, *live.relations[name, fingerprint])


def _earlier_sets(
    dataset: Dataset, folder: str, instance: Instance, instances: dict[str, Instance]
) -> Iterator[Garbage]:
    """Yield the groups of all sets of shards but the present one and the last one written.

    While shards are missing the present set has no groups yet, and queries read the last ones.
    """
    names = [n for n in dataset.store.names(folder) if n != "edges" and "." not in n]
    sets = [g for n in names for g in _folder(dataset, f"{folder}/{n}", "of earlier shards")]
    present = shard_set(current_blocks(dataset, instance, instances))
    last = max(sets, key=lambda garbage: (garbage.newest, garbage.path), default=None)
    for garbage in sets:
        if garbage is not last and not garbage.path.endswith(f"/{present}"):
            yield garbage


def _charges(dataset: Dataset, live: _Live) -> Iterator[Garbage]:
    for name in dataset.store.names("quarantine"):
        for fingerprint in dataset.store.names(f"quarantine/{name}"):
            if name != layout.IMAGES and (name, fingerprint) not in live.places:
                folder = f"quarantine/{name}/{fingerprint}"
                yield from _folder(dataset, folder, "charges against nothing in use")


def _artifacts(dataset: Dataset, live: _Live) -> Iterator[Garbage]:
    used = set(live.artifacts)
    for pin in dataset.store.names("pins"):
        path = f"pins/{pin}"
        digest = json.loads(dataset.store.read(path))["digest"]
        if pin.removesuffix(".json") in live.fits:
            used.add(digest)
        elif digest not in used:
            yield from _folder(dataset, path, "pins a fit that nothing uses")
    for name in dataset.store.names("artifacts"):
        for digest in dataset.store.names(f"artifacts/{name}"):
            if digest not in used:
                folder = layout.artifact_folder(name, digest)
                yield from _folder(dataset, folder, "a fit that nothing uses")


def _unfinished(dataset: Dataset) -> Iterator[Garbage]:
    for snapshot in dataset.store.names("snapshots"):
        folder = layout.snapshot_folder(snapshot)
        if not dataset.store.exists(snapshot_path(snapshot, MANIFEST)):
            yield from _folder(dataset, folder, "a snapshot that was never finished")
            continue
        for name in dataset.store.names(f"{folder}/materialized"):
            path = f"{folder}/materialized/{name}"
            if not dataset.store.exists(f"{path}/{MANIFEST}"):
                yield from _folder(dataset, path, "a table that was never finished")


def _folder(dataset: Dataset, path: str, why: str) -> Iterator[Garbage]:
    files: dict[str, Any] = dataset.store.details(path)
    if files:
        newest = max(modified for _, modified in files.values())
        size = sum(num_bytes for num_bytes, _ in files.values())
        # What says that the rest is whole goes first.
        names = sorted(files, key=lambda name: (not name.endswith(".json"), name))
        yield Garbage(path, why, tuple(names), size, newest)
