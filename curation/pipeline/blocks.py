"""The blocks of a relation: which shards it reads together, and how.

A block is a run of consecutive shards of one ingest, named by the content that a relation reads
from them. So one more ingest adds blocks and changes none, and a shard that is read again under
other values makes another block. A large ingest is cut into large blocks, since every two blocks
have a file of edges: see docs/adr/0007-blocks-grow-with-their-ingest.md.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation.dataset import Dataset
from curation.errors import StorageError
from curation.fingerprint import digest
from curation.pipeline.instances import Instance
from curation.tables import conform
from schemas import dataset as layout
from schemas.columns import IDENTITY
from schemas.images import IMAGES

FORMAT = "longtail-blocks-1"

BLOCK_SHARDS = 16
"""Shards of the smallest block: 16k rows, of which a pair is compared in a fraction of a second."""

MAX_BLOCK_SHARDS = 256
"""Shards of the largest block: 262k rows, of which a pair is compared in a minute or so."""

MAX_BLOCKS = 64
"""Blocks that an ingest is cut into before they grow; above 16,384 shards there are more."""

DIGEST_LENGTH = 16
"""Hexadecimal characters of a digest in the name of a block or a shard set."""

_IMAGE_ID = "images.image_id"
_BITS = 4
"""Places that one hexadecimal digit of a mask stands for."""

_SIZES = tuple(
    1 << power for power in range(BLOCK_SHARDS.bit_length() - 1, MAX_BLOCK_SHARDS.bit_length())
)
_MASKS = "|".join(f"[0-9a-f]{{{size // _BITS}}}" for size in _SIZES)
_NAME = re.compile(rf"\d{{8}}\.(?:{_MASKS})\.[0-9a-f]{{{DIGEST_LENGTH}}}")


@dataclass(frozen=True)
class Block:
    """Some consecutive shards of one ingest, the unit in which edges are kept.

    Attributes:
        name: `<first>.<mask>.<digest>`: 8 digits of the first place, hexadecimal digits, 4 for
            each 16 places, whose bit i says that shard first + i takes part (one in quarantine does
            not), and a digest of the columns that the relation reads from them.
    """

    name: str

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.name), self.name

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards' numbers, rising."""
        first, digits, _ = self.name.split(".")
        mask = int(digits, 16)
        return tuple(int(first) + i for i in range(self.num_places) if mask >> i & 1)

    @property
    def num_places(self) -> int:
        """How many shards it has room for."""
        return len(self.name.split(".")[1]) * _BITS


def block_places(num_shards: int) -> int:
    """Return the shards of a block of an ingest that lists `num_shards`: a power of two.

    It depends on the ingest alone, so no later one changes it. As few as make `MAX_BLOCKS` blocks
    do, within `BLOCK_SHARDS` and `MAX_BLOCK_SHARDS`.
    """
    return next((size for size in _SIZES if size * MAX_BLOCKS >= num_shards), MAX_BLOCK_SHARDS)


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
            digests = dataset.files.digests(source.folder, shard)
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
    listed: dict[int, list[int]] = {}
    for shard in sorted(seqs):
        listed.setdefault(seqs[shard], []).append(shard)
    sizes = {seq: block_places(len(shards)) for seq, shards in listed.items()}
    members: dict[tuple[int, int], list[int]] = {}
    for shard in sorted(digests):
        seq = seqs[shard]
        start = listed[seq][0]
        place = start + (shard - start) // sizes[seq] * sizes[seq]
        members.setdefault((place, sizes[seq]), []).append(shard)
    return tuple(
        _block(place, size, {s: digests[s] for s in shards})
        for (place, size), shards in sorted(members.items())
    )


def pair_batches(parts: Sequence[Block]) -> list[tuple[Block, tuple[Block, ...]]]:
    """Return every pair of blocks once, as a block and some of those up to and with it.

    A batch holds others of at most `MAX_BLOCK_SHARDS` shards together, which bounds its time by
    that of two of the largest blocks. Blocks that come later change no batch of earlier ones.
    """
    ordered = sorted(parts, key=lambda block: block.name)
    batches = []
    for position, block in enumerate(ordered):
        others: list[Block] = []
        num_shards = 0
        for other in ordered[: position + 1]:
            num_shards += len(other.shards)
            if others and num_shards > MAX_BLOCK_SHARDS:
                batches.append((block, tuple(others)))
                others, num_shards = [], len(other.shards)
            others.append(other)
        batches.append((block, tuple(others)))
    return batches


def current_blocks(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]
) -> tuple[Block, ...]:
    """Return the blocks of all shards for which every file that the relation reads is there.

    A shard in quarantine has no file and is left out; a runner asks only when no other is missing.
    """
    sources = _sources(instance, instances)
    seqs = {shard: seq for shard, (seq, _) in dataset.listed_shards().items()}
    there = set(seqs).intersection(*(dataset.files.shards(source.folder) for source in sources))
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
    if _block(int(block.name[:8]), block.num_places, digests) != block:
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
            table = dataset.files.read(source.folder, shard, wanted)
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


def _block(place: int, size: int, digests: Mapping[int, Mapping[str, str]]) -> Block:
    mask = sum(1 << (shard - place) for shard in digests)
    columns = [[shard, dict(digests[shard])] for shard in sorted(digests)]
    content = digest({"format": FORMAT, "shards": columns})[:DIGEST_LENGTH]
    return Block(f"{place:08d}.{mask:0{size // _BITS}x}.{content}")
