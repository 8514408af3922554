"""The tasks that make what is due for one shard, and what the frozen lists promise of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.pipeline.instances import Instance
from curation.pipeline.tasks import CPU_POOL, Task, shard_name
from schemas import dataset as paths


@dataclass(frozen=True)
class ListedShard:
    """What a frozen list promises of one shard.

    Attributes:
        work_list: (ingest, list).
        source: Name of the source that was listed.
        num_rows: Files in it.
        num_bytes: Their bytes, as far as the listing knew.
    """

    work_list: tuple[int, int]
    source: str
    num_rows: int
    num_bytes: int


def listed_in(dataset: Dataset, seq: int, number: int) -> dict[int, ListedShard]:
    """Return the shards that one frozen list promises."""
    table = dataset.read_list(seq, number, ["shard", "num_bytes", "source_name"])
    table = table.filter(pc.is_valid(table["shard"]))
    wanted = [([], "count_all"), ("num_bytes", "sum"), ("source_name", "min")]
    return {
        row["shard"]: ListedShard(
            (seq, number), row["source_name_min"] or "", row["count_all"], row["num_bytes_sum"] or 0
        )
        for row in table.group_by("shard").aggregate(wanted).to_pylist()
    }


def shard_tasks(
    shard: int, listed: ListedShard, due: Sequence[Instance], *, ingest: bool
) -> list[Task]:
    """Return the tasks that make what is due for one shard.

    All CPU stages that can go together with ingest make one task; a stage with its own pool makes
    its own, after those that it reads; CPU stages behind such a one make a task each.

    Args:
        shard: Its number.
        listed: What its list promises.
        due: Row-local instances that are ready, in order.
        ingest: Whether the image shard itself is still to be made.
    """
    waiting = {i.name for i in due if has_own_pool(i)}
    fused = [paths.IMAGES] if ingest else []
    alone: list[Instance] = []
    for instance in due:
        if instance.name in waiting or waiting & set(instance.inputs.values()):
            waiting.add(instance.name)
            alone.append(instance)
        else:
            fused.append(instance.name)
    tasks = []
    made: dict[str, str] = {}
    name = shard_name(shard)
    blank = Task("shard", name, (), shard, num_rows=listed.num_rows, work_list=listed.work_list)
    if fused:
        task = replace(blank, steps=tuple(fused))
        made = dict.fromkeys(fused, task.key)
        tasks.append(task)
    for instance in alone:
        upstreams = [paths.IMAGES, *instance.inputs.values()]
        after = tuple(sorted({made[upstream] for upstream in upstreams if upstream in made}))
        pool = instance.name if has_own_pool(instance) else CPU_POOL
        task = replace(blank, steps=(instance.name,), pool=pool, after=after)
        made[instance.name] = task.key
        tasks.append(task)
    return tasks


def has_own_pool(instance: Instance) -> bool:
    """Say whether an instance runs in actors of its own instead of fused with the CPU stages."""
    return instance.resources.own_pool
