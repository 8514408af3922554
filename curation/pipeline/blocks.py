"""The blocks of a relation: which shards it reads together, and how.

A block is a run of consecutive shards of one ingest, named by the content that a relation reads
from them. So one more ingest adds blocks and changes none, and a shard that is read again under
other values makes another block.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation.dataset import Dataset
from curation.errors import StorageError
from curation.fingerprint import digest
from curation.pipeline.instances import Instance
from curation.tables import conform, read_table
from schemas import dataset as layout
from schemas.columns import IDENTITY
from schemas.images import IMAGES

FORMAT = "longtail-blocks-1"

BLOCK_SHARDS = 16
"""Shards of a block: 16k rows, of which a pair is compared in a fraction of a second."""

DIGEST_LENGTH = 16
"""Hexadecimal characters of a digest in the name of a block or a shard set."""

_IMAGE_ID = "images.image_id"
_NAME = re.compile(rf"(\d{{8}})\.([0-9a-f]{{4}})\.[0-9a-f]{{{DIGEST_LENGTH}}}")


@dataclass(frozen=True)
class Block:
    """Some consecutive shards of one ingest, the unit in which edges are kept.

    Attributes:
        name: `<first>.<mask>.<digest>`: 8 digits of the first place, 4 hexadecimal digits whose
            bit i says that shard first + i takes part (one in quarantine does not), and a digest of
            the columns that the relation reads from them.
    """

    name: str

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.name), self.name

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards' numbers, rising."""
        first, mask, _ = self.name.split(".")
        return tuple(int(first) + i for i in range(BLOCK_SHARDS) if int(mask, 16) >> i & 1)


def shard_digests(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    shards: Collection[int],
) -> dict[int, dict[str, str]]:
    """Return shard -> logical column -> digest, from the footers of the files that are read.

    The identity of the rows counts among the columns. Every file must be there.
    """
    found: dict[int, dict[str, str]] = {}
    sources = _sources(instance, instances)
    for shard in sorted(shards):
        found[shard] = {}
        for source in sources:
            digests = dataset.digests(source.path(shard))
            for logical, name in source.columns.items():
                found[shard][logical] = digests[name]
    return found


def blocks(seqs: Mapping[int, int], digests: Mapping[int, Mapping[str, str]]) -> tuple[Block, ...]:
    """Cut the shards of each ingest into blocks.

    Args:
        seqs: Shard -> ingest, for every shard that an ingest lists. A shard's place among them
            decides its block, so a shard that comes out of quarantine changes no other block.
        digests: Shard -> logical column -> digest, for the shards that take part.

    Returns:
        The blocks in the order of their shards, which is the order of their names; none is empty.
    """
    first: dict[int, int] = {}
    for shard in sorted(seqs):
        first.setdefault(seqs[shard], shard)
    members: dict[int, list[int]] = {}
    for shard in sorted(digests):
        start = first[seqs[shard]]
        place = start + (shard - start) // BLOCK_SHARDS * BLOCK_SHARDS
        members.setdefault(place, []).append(shard)
    return tuple(
        _block(place, {s: digests[s] for s in members[place]}) for place in sorted(members)
    )


def current_blocks(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]
) -> tuple[Block, ...]:
    """Return the blocks of all shards for which every file that the relation reads is there.

    A shard in quarantine has no file and is left out; a runner asks only when no other is missing.
    """
    sources = _sources(instance, instances)
    seqs = {shard: seq for shard, (seq, _) in dataset.listed_shards().items()}
    there = set(seqs).intersection(*(dataset.shards(source.folder) for source in sources))
    return blocks(seqs, shard_digests(dataset, instance, instances, there))


def shard_set(parts: Sequence[Block]) -> str:
    """Return the name of a set of shards in its present state, whatever the blocks' order."""
    return digest({"format": FORMAT, "blocks": sorted(b.name for b in parts)})[:DIGEST_LENGTH]


def read_block(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance], block: Block
) -> pa.Table:
    """Read `shard`, `row`, `image_id` and what the relation reads, by logical name.

    Raises:
        StorageError: The files no longer hold what the block's name says.
    """
    digests = shard_digests(dataset, instance, instances, block.shards)
    if _block(int(block.name[:8]), digests) != block:
        message = (
            f"{dataset.store.url}: shards {block.shards[0]} to {block.shards[-1]} were rewritten "
            f"while {instance.name} was planned; run the same command again"
        )
        raise StorageError(message)
    sources = _sources(instance, instances)
    schema = rows_schema(instance, instances)
    tables = []
    for shard in block.shards:
        arrays: dict[str, pa.ChunkedArray] = {}
        for source in sources:
            wanted = [*source.columns.values()]
            if source.name == layout.IMAGES:
                wanted = list(dict.fromkeys([*(f.name for f in IDENTITY), *wanted]))
            table = read_table(dataset.store, source.path(shard), wanted)
            if source.name == layout.IMAGES:
                arrays.update({f.name: table[f.name] for f in IDENTITY})
            arrays.update({logical: table[disk] for logical, disk in source.columns.items()})
        tables.append(conform(pa.table(arrays), schema))
    return pa.concat_tables(tables)


@dataclass(frozen=True)
class _Source:
    """A file a shard that the relation reads, and its columns: logical name -> name on disk."""

    name: str
    fingerprint: str
    columns: dict[str, str]

    @property
    def folder(self) -> str:
        if self.name == layout.IMAGES:
            return layout.IMAGES
        return layout.instance_folder(self.name, self.fingerprint)

    def path(self, shard: int) -> str:
        return f"{self.folder}/{layout.shard_file(shard)}"


def rows_schema(instance: Instance, instances: Mapping[str, Instance]) -> pa.Schema:
    """Return the schema of the tables that the stage is given."""
    fields = list(IDENTITY)
    for logical in instance.make().reads():
        stage, _, column = logical.partition(".")
        owner = (
            IMAGES if stage == layout.IMAGES else instances[instance.inputs[stage]].make().writes()
        )
        fields.append(owner.field(column).with_name(logical))
    return pa.schema(fields)


def _sources(instance: Instance, instances: Mapping[str, Instance]) -> list[_Source]:
    """Return the files that hold what the relation reads; the images, for identity, always."""
    columns: dict[str, dict[str, str]] = {layout.IMAGES: {_IMAGE_ID: "image_id"}}
    for logical in instance.make().reads():
        name, disk = instance.source_of(logical)
        columns.setdefault(name, {})[logical] = disk
    return [
        _Source(name, "" if name == layout.IMAGES else instances[name].fingerprint, found)
        for name, found in columns.items()
    ]


def _block(place: int, digests: Mapping[int, Mapping[str, str]]) -> Block:
    mask = sum(1 << (shard - place) for shard in digests)
    columns = [[shard, dict(digests[shard])] for shard in sorted(digests)]
    content = digest({"format": FORMAT, "shards": columns})[:DIGEST_LENGTH]
    return Block(f"{place:08d}.{mask:04x}.{content}")
