"""The tasks that need every shard: fits, and the edges and groups of relations."""

from collections.abc import Iterable, Sequence

from curation.dataset import Dataset
from curation.fingerprint import digest
from curation.pipeline.blocks import DIGEST_LENGTH, Block, pair_batches, shard_set
from curation.pipeline.instances import Instance
from curation.pipeline.relation import has_groups, missing_edges
from curation.pipeline.tasks import Task


def fit_name(shards: Iterable[int]) -> str:
    """Return the name of a fit on a set of shards, so that other shards give new tries."""
    return f"fit-{digest({'format': 'longtail-fit-1', 'shards': sorted(shards)})[:DIGEST_LENGTH]}"


def relation_tasks(
    dataset: Dataset, instance: Instance, blocks: Sequence[Block], num_rows: int
) -> list[Task]:
    """Return what makes the edges that are missing, and the grouping after them if it is.

    A task is named by all of its pairs, also those that are there: a try that made some of them
    before it failed counts for the same task.
    """
    if not blocks or has_groups(dataset, instance, blocks):
        return []
    missing = set(missing_edges(dataset, instance, blocks))
    tasks = []
    for block, others in pair_batches(blocks):
        due = [other.name for other in others if (other, block) in missing]
        if due:
            name = f"edges-{block.name}-{shard_set(others)}"
            tasks.append(Task("edges", name, (instance.name,), blocks=(block.name, *due)))
    after = tuple(task.key for task in tasks)
    name = f"groups-{shard_set(blocks)}"
    groups = Task("groups", name, (instance.name,), after=after, num_rows=num_rows)
    return [*tasks, groups]
