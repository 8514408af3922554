"""What it costs to reach rows of a foreign table in an order that is not its own."""

import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.ingest.table_rows import MeanBytes, times_read
from schemas.dataset import MAX_SHARD_BYTES, MAX_SHARD_ROWS

GROUPS = [MAX_SHARD_ROWS] * 20
NUM_ROWS = sum(GROUPS)


def test_rows_in_the_order_of_the_file_read_each_group_once():
    """The same where a portion begins in the middle of a group, but for its neighbours."""
    assert times_read(GROUPS, range(NUM_ROWS), MAX_SHARD_ROWS) == 1
    assert times_read([1000] * 20, range(20_000), MAX_SHARD_ROWS) < 2.1


def test_rows_in_no_order_read_every_group_with_every_portion():
    """Twenty portions of twenty groups."""
    rows = list(range(NUM_ROWS))
    random.Random(0).shuffle(rows)

    assert times_read(GROUPS, rows, MAX_SHARD_ROWS) == 20


def test_a_file_of_few_rows_is_read_once_in_any_order():
    """However many groups it has: all its rows are in one portion."""
    assert times_read([10] * 100, reversed(range(1000)), MAX_SHARD_ROWS) == 1


@pytest.mark.parametrize("groups", [[], [0], [0, 3, 0]])
def test_groups_without_rows_cost_nothing(groups):
    """They are neither read nor counted."""
    assert times_read(groups, range(sum(groups)), 1) == (1 if sum(groups) else 0)


@pytest.mark.parametrize(
    ("image_bytes", "num_rows", "expected"),
    [(10, 40, MAX_SHARD_ROWS), (1 << 20, 40, MAX_SHARD_BYTES >> 20)],
)
def test_shards_of_large_images_have_fewer_rows(tmp_path, image_bytes, num_rows, expected):
    """As the footer tells, within some hundredths."""
    images = [os.urandom(image_bytes) for _ in range(num_rows)]
    table = pa.table({"image": pa.array(images, pa.binary())})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30)

    found = MeanBytes(pq.read_metadata(tmp_path / "t.parquet"), "image").shard_rows()

    assert expected * 0.98 <= found <= expected
