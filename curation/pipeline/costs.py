"""What large columns will take on disk, said before they are built."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from curation.dataset import Dataset
from curation.errors import ResourceError
from curation.pipeline.instances import Instance
from curation.pipeline.plan import Plan, StepPlan
from curation.pipeline.stage import Cost
from schemas import dataset as paths

_SAMPLE_SHARDS = 4
_SAMPLE_ROWS = 1024


def has_costs(instances: Sequence[Instance]) -> bool:
    """Say whether a pipeline has a stage with large columns."""
    return any(
        not instance.is_relation and instance.make().cost_reads() is not None
        for instance in instances
    )


def with_costs(dataset: Dataset, instances: Sequence[Instance], plan: Plan) -> Plan:
    """Return a plan that says of large columns what they will take.

    They are estimated from rows of the first shards that have what the stage reads, as far as there
    are any.
    """
    by_name = {instance.name: instance for instance in instances}
    is_new = not any(step.shards for step in plan.steps) and not dataset.image_shards()
    steps = []
    for step in plan.steps:
        instance = by_name.get(step.instance)
        if instance is None or not (_is_due(step) or is_new) or not has_costs([instance]):
            steps.append(step)
        else:
            steps.append(replace(step, cost=_cost(dataset, instance, by_name)))
    return replace(plan, steps=tuple(steps))


def check_costs(plan: Plan, instances: Sequence[Instance]) -> None:
    """Refuse what takes more than its `run.max_bytes`.

    Raises:
        ResourceError: Says how much it is and what to do.
    """
    limits = {instance.name: instance.run.max_bytes for instance in instances}
    for step in plan.steps:
        limit = limits.get(step.instance)
        if limit is not None and step.cost is not None and step.num_bytes > limit:
            message = (
                f"stages.{cost_line(step)}. That is more than its run.max_bytes = {limit:,}; "
                "select fewer rows, store less, or raise it"
            )
            raise ResourceError(message)


def cost_line(step: StepPlan) -> str:
    """Say what a step with a cost will put on disk."""
    assert step.cost is not None
    if not step.num_rows:
        return (
            f"{step.instance} will take about {step.cost.row_bytes:,} bytes a row "
            f"({step.cost.what}), and nobody knows how many rows before the source is listed"
        )
    return (
        f"{step.instance} will take about {_size(step.num_bytes)}: {step.num_rows:,} rows "
        f"of {step.cost.row_bytes:,} bytes ({step.cost.what})"
    )


def _size(num_bytes: float) -> str:
    """Return a size in the decimal units in which disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:,.{0 if unit == 'bytes' else 1}f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} TB"


def _is_due(step: StepPlan) -> bool:
    return step.state not in {"done", "blocked"}


def _cost(dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]) -> Cost:
    stage = instance.make()
    reads = stage.cost_reads()
    assert reads is not None
    return stage.cost(_sample(dataset, instance, instances, reads))


def _sample(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    reads: Sequence[str],
) -> pa.Table:
    """Read columns, by logical name, of the first rows that have them all."""
    sources = {logical: instance.source_of(logical) for logical in reads}
    owners = {owner for owner, _ in sources.values()}
    shards = set(dataset.image_shards())
    for owner in owners - {paths.IMAGES}:
        upstream = instances[owner]
        ready = upstream.is_ready
        there = dataset.instance_shards(owner, upstream.fingerprint) if ready else ()
        shards &= set(there)
    parts = []
    for shard in sorted(shards)[:_SAMPLE_SHARDS] if reads else ():
        found = {}
        for owner in owners:
            columns = [column for name, column in sources.values() if name == owner]
            if owner == paths.IMAGES:
                table = dataset.read_images(shard, columns)
            else:
                table = dataset.read_instance(owner, instances[owner].fingerprint, shard, columns)
            found[owner] = table.slice(0, _SAMPLE_ROWS // _SAMPLE_SHARDS)
        parts.append(pa.table({name: found[o][column] for name, (o, column) in sources.items()}))
    if not parts:
        return pa.table({name: pa.array([], pa.null()) for name in reads})
    return pa.concat_tables(parts)
