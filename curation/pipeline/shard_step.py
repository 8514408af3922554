"""A row-local step while its shard is being worked on: what it reads, and what it leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from curation.dataset import Dataset
from curation.errors import ConservationError, ContractError
from curation.fingerprint import pretty_json
from curation.ingest.load import LOAD_COLUMNS
from curation.pipeline.instances import Instance
from curation.pipeline.loaded import LoadedStage
from curation.pipeline.packet import Packet
from curation.pipeline.stage import ERROR, Stage
from curation.pipeline.standing import create_or_stand
from curation.pipeline.tasks import StepResult
from schemas import dataset as paths
from schemas.columns import IDENTITY
from schemas.images import IMAGES

IDENTITY_NAMES = [f.name for f in IDENTITY]


@dataclass
class ShardStep:
    """One step of a task.

    Attributes:
        index: Its place in the task.
        instance: The instance.
        loaded: The stage, set up.
        spec: Which of the task's views it sees; null for none.
        packet: Where its views are instead, made elsewhere; null for none.
        parts: What it made of each slice so far.
        seconds: Time spent in it so far.
        failure: Why it will not be done in this try; null while it goes on.
    """

    index: int
    instance: Instance
    loaded: LoadedStage
    spec: int | None
    packet: Packet | None = None
    parts: list[pa.Table] = field(default_factory=list)
    seconds: float = 0.0
    failure: StepResult | None = None

    @property
    def stage(self) -> Stage[Any]:
        """The stage, set up."""
        return self.loaded.stage

    def sources(self) -> list[tuple[str, str, str]]:
        """Return what it reads: logical name, owner and the owner's column."""
        return [(name, *self.instance.source_of(name)) for name in self.stage.reads()]

    def reads_any(self, names: set[str]) -> bool:
        """Say whether one of these instances is among its inputs."""
        return not names.isdisjoint(self.instance.inputs.values())


def live(steps: Sequence[ShardStep]) -> list[ShardStep]:
    """Return the steps that go on."""
    return [step for step in steps if step.failure is None]


def image_columns(steps: Sequence[ShardStep], *, seen: bool) -> list[str]:
    """Return the columns of an image shard that some steps want, in its order.

    Args:
        steps: The steps.
        seen: Whether the images are to be decoded.
    """
    wanted = set(IDENTITY_NAMES)
    if seen:
        wanted |= set(LOAD_COLUMNS)
    for step in steps:
        wanted |= {column for _, owner, column in step.sources() if owner == paths.IMAGES}
    return [name for name in IMAGES.names if name in wanted]


def input_table(
    step: ShardStep,
    identity: pa.Table,
    images: pa.Table,
    inputs: Mapping[str, pa.Table],
    done: Mapping[str, pa.Table],
) -> pa.Table:
    """Put together the columns that a step reads, under their logical names.

    Args:
        step: The step.
        identity: Identity of the slice's rows, which follow each other.
        images: The slice.
        inputs: Instance outside the task -> its columns for the whole shard.
        done: Instance in the task -> what it made of this slice.

    Raises:
        ContractError: An input has other rows than the images.
    """
    table = identity
    start = identity["row"][0].as_py() if len(identity) else 0
    for logical, owner, column in step.sources():
        if owner == paths.IMAGES:
            values = images[column]
        elif owner in done:
            values = done[owner][column]
        else:
            upstream = inputs[owner].slice(start, len(identity))
            if upstream["image_id"].combine_chunks() != identity["image_id"].combine_chunks():
                message = f"{step.instance.name}: {owner} holds other rows than images"
                raise ContractError(message)
            values = upstream[column]
        table = table.append_column(logical, values)
    return table


def write_step(
    dataset: Dataset, shard: int, step: ShardStep, num_rows: int
) -> tuple[StepResult, bool]:
    """Write what a step made of a shard, unless its file is there.

    Returns:
        The result, and whether the file holds what this step made. Where it does not, what was
        computed from that in the same task must not be kept.

    Raises:
        ConservationError: Rows were lost.
    """
    instance = step.instance
    name = instance.name
    schema = instance.disk_schema().with_metadata({"table": name, "stage": step.stage.name})
    table = pa.concat_tables(step.parts) if step.parts else schema.empty_table()
    table = pa.Table.from_arrays(table.combine_chunks().columns, schema=schema)
    if len(table) != num_rows:
        message = f"{name}, shard {shard}: {num_rows} rows in, {len(table)} rows out"
        raise ConservationError(message)
    write_lineage(dataset, instance)
    path = paths.instance_path(name, instance.fingerprint, shard)
    result, is_own = create_or_stand(dataset, path, table, f"{name}_{ERROR}")
    return replace(result, seconds=step.seconds), is_own


def write_lineage(dataset: Dataset, instance: Instance) -> None:
    """Write `stage.json` of a configured stage unless it is there."""
    name = f"{paths.instance_folder(instance.name, instance.fingerprint)}/stage.json"
    if not dataset.store.exists(name):
        dataset.store.create(name, pretty_json(instance.lineage()))
