"""Whole-dataset answers on disk: blocks, their edges, and the groups of a set of shards.

A relation is computed in two steps. Edges belong to a pair of blocks, which are runs of consecutive
shards of one ingest, and are made for several pairs in one task. Their file names are digests of
what was read, so an edge file is kept for ever, and one more ingest adds blocks without changing
any. Groups belong to a set of shards and are made anew for each, from all rows and all edges:

    relations/<instance>/<fingerprint>/edges/<a>-<b>.parquet
    relations/<instance>/<fingerprint>/<shard set>/rows-<group>.parquet
    relations/<instance>/<fingerprint>/<shard set>/relation.json      last: the answer is complete

Nothing here knows who runs it. Every function may be repeated: it writes the same bytes again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.errors import ContractError, DatasetError
from curation.fingerprint import pretty_json
from curation.pipeline.blocks import Block, current_blocks, read_block, rows_schema, shard_set
from curation.pipeline.instances import Instance
from curation.pipeline.stage import RelationStage, with_identity
from curation.tables import conform, read_table, write_table
from schemas import dataset as layout
from schemas.columns import IDENTITY

FORMAT = 1


def edges_path(instance: Instance, left: Block, right: Block) -> str:
    """Return where the edges of two blocks lie; of a block with itself where both are the same."""
    folder = layout.relation_folder(instance.name, instance.fingerprint)
    return f"{folder}/edges/{_edges_name(left, right)}"


def rows_path(instance: str, fingerprint: str, name: str, group: int) -> str:
    """Return where a relation's columns for one group of shards lie."""
    return f"{layout.relation_folder(instance, fingerprint)}/{name}/rows-{group:05d}.parquet"


def facts_path(instance: str, fingerprint: str, name: str) -> str:
    """Return the file that says that the groups of a shard set are complete."""
    return f"{layout.relation_folder(instance, fingerprint)}/{name}/relation.json"


def missing_edges(
    dataset: Dataset, instance: Instance, parts: Sequence[Block]
) -> list[tuple[Block, Block]]:
    """Return the pairs of blocks whose edges are not there yet, in a fixed order."""
    folder = layout.relation_folder(instance.name, instance.fingerprint)
    there = set(dataset.store.names(f"{folder}/edges"))
    ordered = sorted(parts, key=_order)
    return [
        (left, right)
        for position, left in enumerate(ordered)
        for right in ordered[position:]
        if _edges_name(left, right) not in there
    ]


def has_groups(dataset: Dataset, instance: Instance, parts: Sequence[Block]) -> bool:
    """Say whether the groups of these blocks are complete."""
    path = facts_path(instance.name, instance.fingerprint, shard_set(parts))
    return dataset.store.exists(path)


def make_edges(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    block: Block,
    others: Sequence[Block],
) -> int:
    """Compute and put the edges between a block and each of others, or within it where they meet.

    The block is read once and each of the others once, one at a time. Every pair is put as soon as
    it is made, so a later try goes on after it.

    Returns:
        The number of edges.

    Raises:
        StorageError: A shard was rewritten since the blocks were made.
        ContractError: The stage returned other columns than it declared.
    """
    stage = _stage(instance)
    rows = read_block(dataset, instance, instances, block)
    num_edges = 0
    for other in others:
        sides: tuple[pa.Table, pa.Table | None]
        if other == block:
            sides = rows, None
        else:
            there = read_block(dataset, instance, instances, other)
            sides = (rows, there) if _order(block) < _order(other) else (there, rows)
        edges = _conform(instance, stage.edges(*sides), stage.edge_schema(), None)
        write_table(dataset.store, edges_path(instance, block, other), edges)
        num_edges += len(edges)
    return num_edges


def make_groups(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    parts: Sequence[Block],
) -> Mapping[str, Any]:
    """Compute and put the groups of a set of shards from its edges, which must all be there.

    Returns:
        The content of `relation.json`.

    Raises:
        DatasetError: Edges are missing.
        StorageError: A shard was rewritten since the blocks were made.
        ContractError: The stage returned other columns or rows than it declared.
    """
    if missing := missing_edges(dataset, instance, parts):
        path = edges_path(instance, *missing[0])
        message = (
            f"{dataset.store.uri(path)}: {len(missing)} edge files of {instance.name} are missing; "
            "run the pipeline again to make them"
        )
        raise DatasetError(message)
    ordered = sorted(parts, key=_order)
    stage = _stage(instance)
    rows = pa.concat_tables(
        [
            rows_schema(instance, instances).empty_table(),
            *(read_block(dataset, instance, instances, block) for block in ordered),
        ]
    )
    result, facts = stage.groups(rows, _edge_tables(dataset, instance, ordered))
    rows = rows.select([f.name for f in IDENTITY])  # the others are not needed again
    result = _conform(instance, result, stage.writes(), len(rows))
    answer = with_identity(rows, result, instance.name)
    name = shard_set(ordered)
    shards = [shard for block in ordered for shard in block.shards]
    for group in sorted({shard // layout.SHARDS_PER_GROUP for shard in shards}):
        inside = _in_group(answer["shard"], group)
        path = rows_path(instance.name, instance.fingerprint, name, group)
        write_table(dataset.store, path, answer.filter(inside))
    content = {
        "format": FORMAT,
        "instance": instance.name,
        "stage": stage.name,
        "fingerprint": instance.fingerprint,
        "shard_set": name,
        "blocks": [block.name for block in ordered],
        "num_rows": len(rows),
        "facts": dict(facts),
    }
    path = facts_path(instance.name, instance.fingerprint, name)
    dataset.store.put(path, pretty_json(content))
    return content


def run_edges(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance], names: Sequence[str]
) -> int:
    """Make the edges of the first block called in `names` with each of the others.

    What is there already, from an earlier try, is left as it is.

    Returns:
        The number of edges that were made.
    """
    block, *others = (Block(name) for name in names)
    missing = [
        other for other in others if not dataset.store.exists(edges_path(instance, block, other))
    ]
    return make_edges(dataset, instance, instances, block, missing) if missing else 0


def run_groups(dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]) -> int:
    """Make the groups of all shards that are there; return how many rows they have."""
    parts = current_blocks(dataset, instance, instances)
    return int(make_groups(dataset, instance, instances, parts)["num_rows"])


def read_facts(dataset: Dataset, instance: str, fingerprint: str, name: str) -> dict[str, Any]:
    """Return the content of `relation.json`; `FileNotFoundError` before it is complete."""
    return dict(json.loads(dataset.store.read(facts_path(instance, fingerprint, name))))


def read_relation_group(
    dataset: Dataset,
    instance: str,
    fingerprint: str,
    name: str,
    group: int,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read columns, by their names on disk, of a relation for a group of 1,000 shards.

    Args:
        dataset: Where it lies.
        instance: Name of the relation's instance.
        fingerprint: Its fingerprint.
        name: The shard set.
        group: Number of the group.
        columns: What to read; null for everything.
    """
    return read_table(dataset.store, rows_path(instance, fingerprint, name, group), columns)


def read_relation(
    dataset: Dataset,
    instance: str,
    fingerprint: str,
    name: str,
    shard: int,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read columns, by their names on disk, of a relation for the rows of one shard, in order.

    It reads the file of the shard's whole group; who wants many shards reads the group once.

    Args:
        dataset: Where it lies.
        instance: Name of the relation's instance.
        fingerprint: Its fingerprint.
        name: The shard set.
        shard: Number of the shard.
        columns: What to read; null for everything.
    """
    wanted = None if columns is None else list(dict.fromkeys(["shard", *columns]))
    group = shard // layout.SHARDS_PER_GROUP
    table = read_relation_group(dataset, instance, fingerprint, name, group, wanted)
    table = table.filter(pc.equal(table["shard"], shard))
    return table if columns is None else table.select(list(columns))


def _edges_name(left: Block, right: Block) -> str:
    """Return the file name of the edges of two blocks, in whichever order."""
    left, right = sorted((left, right), key=_order)
    return f"{left.name}-{right.name}.parquet"


def _edge_tables(
    dataset: Dataset, instance: Instance, ordered: Sequence[Block]
) -> Iterator[pa.Table]:
    for position, left in enumerate(ordered):
        for right in ordered[position:]:
            yield read_table(dataset.store, edges_path(instance, left, right))


def _stage(instance: Instance) -> RelationStage[Any]:
    stage = instance.make()
    assert isinstance(stage, RelationStage), instance.name
    stage.setup()
    return stage


def _conform(
    instance: Instance, table: pa.Table, schema: pa.Schema, num_rows: int | None
) -> pa.Table:
    """Return `table` in the schema that the stage declared, or say how it differs."""
    where = f"stage {instance.stage_type.name}"
    if sorted(table.column_names) != sorted(schema.names):
        message = f"{where}: columns {table.column_names}, expected {schema.names}"
        raise ContractError(message)
    for field in schema:
        if table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            message = f"{where}, column {field.name}: type {found}, expected {field.type}"
            raise ContractError(message)
    if num_rows is not None and len(table) != num_rows:
        message = f"{where}: {num_rows} rows in, {len(table)} rows out"
        raise ContractError(message)
    return conform(table, schema)


def _in_group(shards: pa.ChunkedArray, group: int) -> pa.ChunkedArray:
    size = layout.SHARDS_PER_GROUP
    return pc.and_(pc.greater_equal(shards, group * size), pc.less(shards, (group + 1) * size))


def _order(block: Block) -> str:
    return block.name
