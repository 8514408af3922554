"""What lies in a dataset: the pipelines applied to it, how far each instance is, and how big."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curation.config import nearest
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.pipeline.blocks import current_blocks
from curation.pipeline.config import PipelineConfig, parse_pipeline
from curation.pipeline.facts import Recorded
from curation.pipeline.fit import find_pin
from curation.pipeline.instances import Instance, Registry, resolve
from curation.pipeline.quarantine import quarantined
from curation.pipeline.relation import has_groups
from schemas import dataset as layout


def applied_pipelines(dataset: Dataset) -> dict[str, PipelineConfig]:
    """Return name -> pipeline for every pipeline that was applied to the dataset.

    Raises:
        ConfigError: This version cannot read one of them.
    """
    found = {}
    for file in dataset.store.names("pipelines"):
        if file.endswith(".yaml"):
            path = f"pipelines/{file}"
            text = dataset.store.read(path).decode()
            found[file.removesuffix(".yaml")] = parse_pipeline(text, dataset.store.uri(path))
    return found


def choose_pipeline(dataset: Dataset, name: str | None) -> PipelineConfig | None:
    """Return the pipeline called `name`, or the only one; null where none was applied.

    Raises:
        UsageError: There is none of that name, or several and no name.
    """
    found = applied_pipelines(dataset)
    if name is not None and name not in found:
        known = ", ".join(found) or "none"
        hint = nearest(name, list(found))
        message = f"{dataset.store.url}: no pipeline {name!r}{hint}; applied so far: {known}"
        raise UsageError(message)
    if name is None and len(found) > 1:
        message = (
            f"{dataset.store.url}: {len(found)} pipelines were applied; "
            f"choose one with --pipeline: {', '.join(found)}"
        )
        raise UsageError(message)
    chosen = name if name is not None else next(iter(found), None)
    return None if chosen is None else found[chosen]


def applied_instances(
    dataset: Dataset, config: PipelineConfig, registry: Registry
) -> tuple[Instance, ...]:
    """Return a pipeline's instances, with the artefacts and facts that the dataset keeps."""
    facts = Recorded(dataset, config.name)
    return resolve(config, registry, lambda fit_key: find_pin(dataset, fit_key), facts)


@dataclass(frozen=True)
class InstanceState:
    """How far one configured stage is.

    Attributes:
        pipelines: The pipelines in which it is.
        instance: Its name.
        stage: Its stage's name.
        fingerprint: Its folder; empty while it waits for a fit.
        kind: `rows`, `fitted` or `relation`.
        finished: Shards that have its file; for a relation, those that its groups cover.
        missing: Image shards that have none.
        quarantined: Names of the tasks that were given up.
    """

    pipelines: tuple[str, ...]
    instance: str
    stage: str
    fingerprint: str
    kind: str
    finished: int
    missing: int
    quarantined: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """What lies in a dataset.

    Attributes:
        url: Where it is.
        dataset_id: Its identifier.
        num_shards: Image shards that exist.
        num_listed_shards: Shards that ingest has listed.
        num_rows: Rows of the image shards.
        instances: Every configured stage of every applied pipeline.
        unused: `<instance>/<fingerprint>` folders that no applied pipeline reads any more.
        snapshots: Their ids.
        num_bytes: Top-level folder -> bytes below it.
    """

    url: str
    dataset_id: str
    num_shards: int
    num_listed_shards: int
    num_rows: int
    instances: tuple[InstanceState, ...]
    unused: tuple[str, ...]
    snapshots: tuple[str, ...]
    num_bytes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the inventory for `--json`."""
        return asdict(self)


def take_inventory(dataset: Dataset, registry: Registry) -> Inventory:
    """Look at everything in a dataset, once."""
    listed = _listed_rows(dataset)
    shards = set(dataset.image_shards())
    states: dict[tuple[str, str], InstanceState] = {}
    for name, config in applied_pipelines(dataset).items():
        instances = applied_instances(dataset, config, registry)
        for instance in instances:
            state = _state(dataset, instance, instances, shards, (name,))
            key = (instance.name, state.fingerprint)
            if key in states:
                both = (*states[key].pipelines, name)
                state = InstanceState(**{**state.__dict__, "pipelines": both})
            states[key] = state
    return Inventory(
        url=dataset.store.url,
        dataset_id=dataset.info.dataset_id,
        num_shards=len(shards),
        num_listed_shards=len(listed),
        num_rows=sum(rows for shard, rows in listed.items() if shard in shards),
        instances=tuple(states.values()),
        unused=_unused(dataset, states),
        snapshots=published_snapshots(dataset),
        num_bytes=_bytes(dataset),
    )


def published_snapshots(dataset: Dataset) -> tuple[str, ...]:
    """Return the ids of the snapshots whose manifest is there."""
    folders = dataset.store.names("snapshots")
    return tuple(f for f in folders if dataset.store.exists(f"snapshots/{f}/manifest.json"))


def _state(
    dataset: Dataset,
    instance: Instance,
    instances: Sequence[Instance],
    shards: set[int],
    pipelines: tuple[str, ...],
) -> InstanceState:
    fingerprint = instance.fingerprint if instance.is_ready else ""
    finished: set[int] = set()
    if instance.is_ready and instance.is_relation:
        blocks = current_blocks(dataset, instance, {i.name: i for i in instances})
        if blocks and has_groups(dataset, instance, blocks):
            finished = {shard for block in blocks for shard in block.shards}
    elif instance.is_ready:
        finished = set(dataset.instance_shards(instance.name, fingerprint)) & shards
    kind = "relation" if instance.is_relation else "fitted" if instance.is_fitted else "rows"
    given_up = quarantined(dataset, instance.name, fingerprint) if fingerprint else {}
    done = {f"shard-{shard:08d}" for shard in finished}
    return InstanceState(
        pipelines,
        instance.name,
        instance.stage_type.name,
        fingerprint,
        kind,
        len(finished),
        len(shards - finished),
        tuple(name for name in given_up if name not in done),
    )


def _listed_rows(dataset: Dataset) -> dict[int, int]:
    rows: dict[int, int] = {}
    for state in dataset.ingests():
        for number in state.lists:
            for shard in dataset.read_list(state.seq, number, ["shard"])["shard"].to_pylist():
                if shard is not None:
                    rows[shard] = rows.get(shard, 0) + 1
    return rows


def _unused(dataset: Dataset, states: dict[tuple[str, str], InstanceState]) -> tuple[str, ...]:
    found = []
    for folder in dataset.store.names(""):
        if folder not in layout.RESERVED_NAMES and "." not in folder:
            for fingerprint in dataset.store.names(folder):
                if (folder, fingerprint) not in states:
                    found.append(f"{folder}/{fingerprint}")
    return tuple(found)


def _bytes(dataset: Dataset) -> dict[str, int]:
    store = dataset.store
    prefix = f"{store.root}/"
    total: dict[str, int] = {}
    for path, details in store.fs.find(store.path(""), detail=True).items():
        folder = path.removeprefix(prefix).split("/", 1)[0]
        total[folder] = total.get(folder, 0) + int(details["size"] or 0)
    return dict(sorted(total.items()))
