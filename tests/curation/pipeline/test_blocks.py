"""Blocks: runs of shards of one ingest, named by what a relation reads from them."""

from curation.pipeline.blocks import Block, blocks, shard_set


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
