"""Work that stands between waves: edges and groups of relations, over the shards of now."""

from collections.abc import Mapping

from curation.dataset import Dataset
from curation.pipeline.blocks import Block, blocks, shard_digests
from curation.pipeline.instances import Instance
from curation.pipeline.relation import make_edges, make_groups


def current_blocks(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]
) -> tuple[Block, ...]:
    """Return the blocks of the shards that have everything that a relation reads.

    Shards that were given up are simply not there.
    """
    listed = dataset.listed_shards()
    present = set(dataset.image_shards()) & set(listed)
    for name in instance.inputs.values():
        present &= set(dataset.instance_shards(name, instances[name].fingerprint))
    digests = shard_digests(dataset, instance, instances, present)
    return blocks({shard: seq for shard, (seq, _) in listed.items()}, digests)


def run_edges(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance], names: tuple[str, ...]
) -> None:
    """Make the edges of two blocks, or within one."""
    by_name = {block.name: block for block in current_blocks(dataset, instance, instances)}
    left, right = (by_name[name] for name in names)
    make_edges(dataset, instance, instances, left, right)


def run_groups(dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]) -> int:
    """Make the groups of all shards; return the rows."""
    parts = current_blocks(dataset, instance, instances)
    return int(make_groups(dataset, instance, instances, parts)["num_rows"])
