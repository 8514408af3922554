"""Blocks: runs of shards of one ingest, named by what a relation reads from them."""

import pytest

from curation.pipeline.blocks import (
    MAX_BLOCK_SHARDS,
    Block,
    block_places,
    blocks,
    pair_batches,
    shard_set,
)


def cut(seqs):
    """Cut shards, each of which is read under values of its own."""
    return blocks(seqs, {shard: {"a": f"{shard}"} for shard in seqs})


def test_blocks_are_runs_of_sixteen_shards_of_one_ingest():
    """A block never spans two ingests, and the last of an ingest may be short."""
    seqs = {shard: int(shard >= 20) for shard in range(40)}

    found = blocks(seqs, {shard: {"a": f"{shard}"} for shard in seqs})

    assert [block.shards for block in found] == [
        tuple(range(16)),
        tuple(range(16, 20)),
        tuple(range(20, 36)),
        tuple(range(36, 40)),
    ]
    assert [Block(block.name) for block in found] == list(found)


def test_a_shard_out_of_quarantine_changes_its_own_block_only():
    """A shard's place among those listed decides its block, whichever others take part."""
    seqs = dict.fromkeys(range(40), 0)
    digests = {shard: {"a": f"{shard}"} for shard in seqs}

    whole = blocks(seqs, digests)
    without = blocks(seqs, {shard: d for shard, d in digests.items() if shard not in (0, 5)})

    assert without[0].shards == (1, 2, 3, 4, *range(6, 16))
    assert without[0] != whole[0]
    assert without[1:] == whole[1:]


def test_a_block_s_name_follows_the_columns_that_are_read():
    """Another value in a column read is another block, and another shard set."""
    seqs = dict.fromkeys(range(3), 0)
    before = blocks(seqs, {shard: {"a": "x"} for shard in seqs})
    after = blocks(seqs, {**{shard: {"a": "x"} for shard in seqs}, 1: {"a": "y"}})

    assert before != after
    assert shard_set(before) != shard_set(after)
    assert shard_set(before + after) == shard_set(after + before)


@pytest.mark.parametrize(
    ("num_shards", "places", "num_blocks"),
    [(1, 16, 1), (1024, 16, 64), (1025, 32, 33), (10_000, 256, 40), (20_000, 256, 79)],
)
def test_a_large_ingest_has_large_blocks(num_shards, places, num_blocks):
    """Up to 16,384 shards make 64 blocks at most; a name tells its shards, whatever the size."""
    found = cut(dict.fromkeys(range(num_shards), 0))

    assert block_places(num_shards) == places
    assert len(found) == num_blocks
    assert {block.num_places for block in found} == {places}
    assert [s for block in found for s in Block(block.name).shards] == list(range(num_shards))
    assert all(len(f"{block.name}-{block.name}.parquet") < 256 for block in found)


def test_a_large_ingest_changes_no_block_of_another():
    """What is kept for ever stays valid whatever comes after it."""
    before = {shard: int(shard >= 40) for shard in range(50)}
    after = before | dict.fromkeys(range(50, 2050), 2)

    assert cut(after)[: len(cut(before))] == cut(before)
    assert {block.num_places for block in cut(after)} == {16, 32}


def test_batches_hold_every_pair_once_and_few_shards():
    """A block meets itself and those before it, at most two of the largest blocks at a time."""
    parts = cut({shard: shard // 10 for shard in range(1000)})

    batches = pair_batches(parts[::-1])

    pairs = [(block, other) for block, others in batches for other in others]
    assert len(pairs) == len(set(pairs)) == 100 * 101 // 2
    assert all(other.name <= block.name for block, other in pairs)
    sizes = [sum(len(other.shards) for other in others) for _, others in batches]
    assert max(sizes) <= MAX_BLOCK_SHARDS
    assert len(batches) == 250


def test_a_block_more_changes_no_batch():
    """Charge sheets of batches hold when a later ingest comes."""
    seqs = {shard: shard // 10 for shard in range(300)}
    before = pair_batches(cut(seqs))

    after = pair_batches(cut(seqs | {300: 30}))

    assert after[: len(before)] == before
    assert [len(others) for _, others in after[len(before) :]] == [25, 6]


def test_the_largest_blocks_meet_one_at_a_time():
    """A batch is never empty, and never holds two blocks of 256."""
    batches = pair_batches(cut(dict.fromkeys(range(1024 * 16), 0)))

    assert len(batches) == 64 * 65 // 2
    assert {len(others) for _, others in batches} == {1}
