"""A relation's answer for the shards that are there now, as snapshots read it."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.pipeline.blocks import current_blocks, shard_set
from curation.pipeline.instances import Instance
from curation.pipeline.relation import has_groups, read_relation_group
from schemas import dataset as layout


class CurrentRows:
    """The columns that one relation gives to the rows of the present shard set.

    The file of a group of 1,000 shards is read once while shards are asked for in order.

    Attributes:
        shards: The shards that it covers.
    """

    def __init__(
        self, dataset: Dataset, instance: Instance, name: str, shards: frozenset[int]
    ) -> None:
        self.shards = shards
        self._dataset = dataset
        self._instance = instance
        self._name = name
        self._held: tuple[int, tuple[str, ...]] | None = None
        self._table = pa.table({})

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns, by their names on disk, for the rows of one shard, in order."""
        wanted = tuple(dict.fromkeys(["shard", *columns]))
        group = shard // layout.SHARDS_PER_GROUP
        if self._held != (group, wanted):
            instance = self._instance
            self._table = read_relation_group(
                self._dataset, instance.name, instance.fingerprint, self._name, group, wanted
            )
            self._held = (group, wanted)
        return self._table.filter(pc.equal(self._table["shard"], shard)).select(list(columns))


def relation_rows(dataset: Dataset, instances: Sequence[Instance]) -> Mapping[str, CurrentRows]:
    """Return relation instance -> its rows, for every relation whose groups are up to date."""
    by_name = {instance.name: instance for instance in instances}
    found = {}
    for instance in instances:
        if instance.is_relation and instance.is_ready:
            blocks = current_blocks(dataset, instance, by_name)
            if blocks and has_groups(dataset, instance, blocks):
                shards = frozenset(shard for block in blocks for shard in block.shards)
                name = shard_set(blocks)
                found[instance.name] = CurrentRows(dataset, instance, name, shards)
    return found
