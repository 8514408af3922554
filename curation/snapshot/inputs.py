"""What a snapshot reads: which columns of which instances, and whether each shard has them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from curation.config import nearest
from curation.dataset import Dataset
from curation.errors import ContractError, SnapshotError
from curation.snapshot.config import SnapshotConfig
from schemas import dataset as layout
from schemas.columns import IDENTITY
from schemas.images import IMAGES

ROLES = {
    "width": ("inspect", "width"),
    "height": ("inspect", "height"),
    "aesthetic_score": ("aesthetic", "score"),
    "category_path": ("categorize", "path"),
    "dedup_group": ("dedup", "group"),
    "captions": ("caption", "captions"),
}
"""What a snapshot needs to know of an image -> the stage and its column that say so."""

CAPTIONS = "captions"
"""The role that is read for the kept rows only, when the tables are written."""

_IDENTITY = [f.name for f in IDENTITY]
_HIDDEN = frozenset({"shard", "row", "image_bytes"})
"""Not for predicates: a row's place changes with the shard size, and bytes are no metadata."""


class Parent(Protocol):
    """What a snapshot needs of a configured stage; `curation.pipeline.Instance` is one."""

    @property
    def name(self) -> str: ...
    @property
    def stage_type(self) -> Any: ...
    @property
    def inputs(self) -> Mapping[str, str]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def is_relation(self) -> bool: ...

    def disk_schema(self) -> pa.Schema: ...


class RelationRows(Protocol):
    """The columns that a relation gives to the rows of its shard set."""

    @property
    def shards(self) -> Collection[int]:
        """The shards that it covers."""
        ...

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns, by their names on disk, for the rows of one shard, in order."""
        ...


@dataclass(frozen=True)
class Sources:
    """Which column comes from where.

    Attributes:
        parents: Instance -> what it is, for the whole pipeline.
        owners: Column on disk -> instance or `images`, for every column that may be read.
        roles: Key of `ROLES` -> column on disk; left out where the pipeline has no such stage.
    """

    parents: Mapping[str, Parent]
    owners: Mapping[str, str]
    roles: Mapping[str, str]

    @property
    def offered(self) -> list[str]:
        """The columns that expressions may read."""
        return [name for name in self.owners if name not in _HIDDEN]

    def schema(self, columns: Iterable[str]) -> pa.Schema:
        """Return the fields of some columns, in memory's types."""
        fields = []
        for name in columns:
            owner = self.owners[name]
            schema = IMAGES if owner == layout.IMAGES else self.parents[owner].disk_schema()
            fields.append(schema.field(name))
        return pa.schema(fields)

    def upstream(self, names: Iterable[str]) -> list[str]:
        """Return `names` and all that they are computed from, `images` first."""
        found = {layout.IMAGES}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.parents[name].inputs.values())
        return [layout.IMAGES, *(name for name in self.parents if name in found)]


def find_sources(config: SnapshotConfig, parents: Sequence[Parent]) -> Sources:
    """Bind the roles to instances and list all columns.

    Raises:
        SnapshotError: Several instances of a stage could be meant, or `inputs` names a wrong one.
    """
    owners = {f.name: layout.IMAGES for f in IMAGES}
    for parent in parents:
        for name in parent.disk_schema().names:
            owners.setdefault(name, parent.name)
    stages = {stage for stage, _ in ROLES.values()}
    if wrong := sorted(set(config.inputs) - stages):
        message = f"snapshot.inputs: unknown stage {wrong[0]!r}{nearest(wrong[0], sorted(stages))}"
        raise SnapshotError(message)
    chosen = {stage: _choose(stage, config, parents) for stage in stages}
    roles = {}
    for role, (stage, column) in ROLES.items():
        name = f"{chosen[stage]}_{column}"
        if chosen[stage] is not None and name in owners:
            roles[role] = name
    return Sources({parent.name: parent for parent in parents}, owners, roles)


def _choose(stage: str, config: SnapshotConfig, parents: Sequence[Parent]) -> str | None:
    found = [parent.name for parent in parents if parent.stage_type.name == stage]
    named = config.inputs.get(stage)
    if named is not None:
        if named not in found:
            message = f"snapshot.inputs.{stage}: {named!r} is no instance of {stage}"
            raise SnapshotError(message + nearest(named, found))
        return named
    if len(found) > 1:
        message = f"snapshot: {stage} could be {' or '.join(found)}; say `inputs: {{{stage}: ...}}`"
        raise SnapshotError(message)
    return found[0] if found else None


class ShardStates:
    """Which shards are there, given up, or still to come; looked at once.

    Args:
        dataset: The dataset.
        sources: What the pipeline has.
        used: Instances that the snapshot reads.
        relations: Relation instance -> its rows; left out where it has none yet.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Sources,
        used: Sequence[str],
        relations: Mapping[str, RelationRows],
    ) -> None:
        self.listed = dataset.listed_shards()
        self._sources = sources
        self._relations = relations
        self._there: dict[str, set[int]] = {layout.IMAGES: set(dataset.image_shards())}
        self._given_up: dict[str, set[int]] = {}
        for name in sources.upstream(used):
            if name != layout.IMAGES:
                self._there[name] = self._shards_of(dataset, name)
            self._given_up[name] = self._quarantine(dataset, name) - self._there[name]

    def missing(self, name: str, shard: int) -> tuple[str, str] | None:
        """Return why an instance has no columns for a shard; null where it has.

        Returns:
            `pending` or `quarantined`, and the instance that it is about: for a shard that waits
            for something given up, that which was given up.
        """
        if shard in self._there[name]:
            return None
        if blame := self._blame(name, shard):
            return "quarantined", blame
        return "pending", name

    def _blame(self, name: str, shard: int) -> str | None:
        if shard in self._there[name]:
            return None
        if shard in self._given_up[name]:
            return name
        if name == layout.IMAGES:
            return None
        upstream = [layout.IMAGES, *self._sources.parents[name].inputs.values()]
        found = [self._blame(other, shard) for other in upstream]
        return next((blame for blame in found if blame is not None), None)

    def _shards_of(self, dataset: Dataset, name: str) -> set[int]:
        parent = self._sources.parents[name]
        if not parent.is_ready:
            return set()
        if parent.is_relation:
            return set(self._relations[name].shards) if name in self._relations else set()
        return set(dataset.instance_shards(name, parent.fingerprint))

    def _quarantine(self, dataset: Dataset, name: str) -> set[int]:
        root = f"quarantine/{name}"
        if name == layout.IMAGES:
            folders = dataset.store.names(root)
        else:
            parent = self._sources.parents[name]
            folders = [parent.fingerprint] if parent.is_ready else []
        found = set()
        for folder in folders:
            for file in dataset.store.names(f"{root}/{folder}"):
                kind, _, number = file.removesuffix(".json").partition("-")
                if kind == "shard" and number.isdigit():
                    sheet = json.loads(dataset.store.read(f"{root}/{folder}/{file}"))
                    if sheet["state"] == "quarantined":
                        found.add(int(number))
        return found


class ShardReader:
    """Reads the columns of one shard from all files that hold some, side by side.

    Args:
        dataset: The dataset.
        sources: Which column comes from where.
        columns: The columns wanted, by name on disk.
        relations: Relation instance -> its rows.
        later: Columns that are read later: their instances count as read, and must have the shard.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Sources,
        columns: Iterable[str],
        relations: Mapping[str, RelationRows],
        later: Iterable[str] = (),
    ) -> None:
        self._dataset = dataset
        self._parents = sources.parents
        self._relations = relations
        self._columns: dict[str, list[str]] = {layout.IMAGES: []}
        for name in later:
            self._columns.setdefault(sources.owners[name], [])
        for name in sorted(set(columns) - set(_IDENTITY)):
            self._columns.setdefault(sources.owners[name], []).append(name)

    @property
    def used(self) -> list[str]:
        """The instances read, `images` first, then in the order of the pipeline."""
        return [layout.IMAGES, *(name for name in self._parents if name in self._columns)]

    def read(self, shard: int, instances: Collection[str]) -> pa.Table:
        """Read the shard's identity and the wanted columns of these instances.

        Raises:
            ContractError: A file's rows are not those of the image shard.
        """
        wanted = [*_IDENTITY, *self._columns[layout.IMAGES]]
        table = self._dataset.read_images(shard, wanted)
        for name in self.used[1:]:
            if name not in instances:
                continue
            other = self._read(name, shard, [*_IDENTITY, *self._columns[name]])
            if not all(other[c].equals(table[c]) for c in _IDENTITY):
                message = (
                    f"{self._dataset.store.url}, shard {shard}: the rows of {name} are not those "
                    f"of the images; delete that shard of {name} and run the pipeline again"
                )
                raise ContractError(message)
            for column in self._columns[name]:
                table = table.append_column(other.schema.field(column), other[column])
        return table

    def _read(self, name: str, shard: int, columns: list[str]) -> pa.Table:
        parent = self._parents[name]
        if parent.is_relation:
            return self._relations[name].read(shard, columns)
        return self._dataset.read_instance(name, parent.fingerprint, shard, columns)
