"""Tables to Parquet and back: types, identifiers on disk, digests of logical values."""

import io

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.storage import Store
from curation.tables import (
    IMAGE_ROW_GROUP,
    column_digest,
    conform,
    create_table,
    file_digests,
    from_parquet,
    read_table,
    to_parquet,
    write_table,
)
from schemas.columns import IDENTITY, column, table
from schemas.images import IMAGES

SCHEMA = table(
    "things",
    *IDENTITY,
    column("score", pa.float32(), "A score.", unit="0..100", version=3),
    column("words", pa.list_(pa.string()), "Some words."),
    column("vector", pa.list_(pa.float32(), 2), "Two numbers."),
    column("flag", pa.bool_(), "Yes or no."),
    column("pairs", pa.list_(pa.struct([("a", pa.string()), ("b", pa.int64())])), "Pairs."),
)
IDS = [bytes([n] * 6 + [0x80, n, 0x80] + [n] * 7) for n in range(4)]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def things() -> pa.Table:
    return pa.table(
        {
            "shard": [7] * 4,
            "row": range(4),
            "image_id": IDS,
            "score": [1.5, None, -2.0, 0.0],
            "words": [["a", "é"], [], None, [None, ""]],
            "vector": [[1, 2], None, [3, 4], [5, 6]],
            "flag": [True, False, None, True],
            "pairs": [[{"a": "x", "b": 1}], None, [], [{"a": None, "b": None}]],
        },
        schema=SCHEMA,
    )


def image_rows(num_rows: int) -> pa.Table:
    empty = {name: [None] * num_rows for name in IMAGES.names}
    data = [b"bytes %d" % n for n in range(num_rows)]
    return pa.table({**empty, "row": range(num_rows), "image_bytes": data}, schema=IMAGES)


def test_a_table_comes_back_as_it_was(store):
    """Values, types and the words about each column survive the disk."""
    write_table(store, "t.parquet", things())

    found = read_table(store, "t.parquet")

    assert found.equals(things())
    assert found.schema.equals(SCHEMA)
    assert found.schema.metadata == SCHEMA.metadata
    assert [field.metadata for field in found.schema] == [field.metadata for field in SCHEMA]


def test_columns_come_in_the_order_asked_for(store):
    """A reader names columns and gets just these."""
    write_table(store, "t.parquet", things())

    assert read_table(store, "t.parquet", ["score", "row"]).column_names == ["score", "row"]


def test_row_groups_can_be_read_alone():
    """A slice of an image shard is read without the rest."""
    data = to_parquet(image_rows(150))

    part = from_parquet(io.BytesIO(data), ["row"], row_groups=[1])

    assert part["row"].to_pylist() == list(range(IMAGE_ROW_GROUP, 2 * IMAGE_ROW_GROUP))


def test_identifiers_are_uuids_for_duckdb(store):
    """On disk an identifier is a UUID, which DuckDB joins as a number; in memory 16 bytes."""
    write_table(store, "t.parquet", things())

    rows = duckdb.execute(
        "SELECT typeof(image_id), image_id::VARCHAR FROM read_parquet(?) ORDER BY row",
        [store.path("t.parquet")],
    ).fetchall()

    assert rows[1] == ("UUID", "01010101-0101-8001-8001-010101010101")
    assert read_table(store, "t.parquet").schema.field("image_id").type == pa.binary(16)


def test_image_bytes_are_plain_and_in_small_groups():
    """Image bytes do not compress, and a reader of 64 rows fetches no more than those."""
    metadata = pq.ParquetFile(io.BytesIO(to_parquet(image_rows(150)))).metadata
    group = metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}

    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [64, 64, 22]
    assert columns["image_bytes"].compression == "UNCOMPRESSED"
    assert columns["source_key"].compression == "ZSTD"
    assert not columns["image_bytes"].is_stats_set


def test_the_same_table_gives_the_same_bytes():
    """A file depends on values alone, not on how the table was put together."""
    whole = things()
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)])

    assert to_parquet(pieces) == to_parquet(whole)


def test_digests_are_in_the_footer(store):
    """Readers learn whether values changed without reading them; the bytes have no digest."""
    write_table(store, "t.parquet", things())
    write_table(store, "i.parquet", image_rows(3))

    found = file_digests(store, "t.parquet")

    assert found == {name: column_digest(things()[name]) for name in SCHEMA.names}
    assert "image_bytes" not in file_digests(store, "i.parquet")
    assert b"longtail.digests" not in (read_table(store, "t.parquet").schema.metadata or {})


@pytest.mark.parametrize("name", SCHEMA.names)
def test_equal_values_have_equal_digests(store, name):
    """Chunks, slices and a way over the disk do not matter."""
    whole = things()[name]
    padded = pa.concat_tables([things(), things(), things()]).combine_chunks()[name]
    write_table(store, "t.parquet", things())

    digest = column_digest(whole)

    assert column_digest(whole.combine_chunks()) == digest
    pieces = [piece for n in range(4) for piece in whole.slice(n, 1).chunks]
    assert column_digest(pa.chunked_array(pieces)) == digest
    assert column_digest(padded.slice(4, 4)) == digest
    assert column_digest(read_table(store, "t.parquet")[name]) == digest


def test_what_lies_below_a_null_does_not_matter():
    """Buffers may hold anything where a value is null."""
    valid = pa.py_buffer(np.packbits([1, 0, 1], bitorder="little").tobytes())
    digests = set()
    for garbage in (0, 99):
        values = pa.py_buffer(np.array([1, garbage, 3], dtype="<i4").tobytes())
        digests.add(column_digest(pa.Array.from_buffers(pa.int32(), 3, [valid, values])))
    assert len(digests) == 1

    text = pa.py_buffer(b"abXYcd")
    offsets = pa.py_buffer(np.array([0, 2, 4, 6], dtype="<i4").tobytes())
    strings = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, text])
    assert column_digest(strings) == column_digest(pa.array(["ab", None, "cd"]))

    children = pa.array([1, 2, 7, 7, 3, 4], pa.int32())
    fixed = pa.Array.from_buffers(pa.list_(pa.int32(), 2), 3, [valid], children=[children])
    same = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    assert column_digest(fixed) == column_digest(same)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.array([1, 2]), pa.array([2, 1])),
        (pa.array([1, 2]), pa.array([1, 2, None])),
        (pa.array([0, 1]), pa.array([None, 1])),
        (pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.int64())),
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array(["", "a"]), pa.array([None, "a"])),
        (pa.array(["ab"]), pa.array([b"ab"])),
        (pa.array([[1], [2, 3]]), pa.array([[1, 2], [3]])),
        (pa.array([[], [1]]), pa.array([None, [1]])),
        (pa.array([[1, None]]), pa.array([[None, 1]])),
        (pa.array([True, None]), pa.array([None, True])),
        (pa.array([{"a": 1, "b": None}]), pa.array([{"a": None, "b": 1}])),
        (pa.array([None, {"a": None}]), pa.array([{"a": None}, None])),
        (pa.array([b"ab", None], pa.binary(2)), pa.array([None, b"ab"], pa.binary(2))),
        (pa.array([], pa.int32()), pa.array([], pa.string())),
    ],
)
def test_other_values_have_other_digests(left, right):
    """Order, nulls, lengths, borders between values, nesting and type all count."""
    assert column_digest(left) != column_digest(right)


def test_an_empty_column_has_a_digest():
    """A shard of no rows is a table as any other, with or without chunks."""
    empty = pa.chunked_array([], type=pa.string())

    assert column_digest(empty) == column_digest(pa.array([], pa.string()))
    assert from_parquet(io.BytesIO(to_parquet(SCHEMA.empty_table()))).equals(SCHEMA.empty_table())


def test_conform_orders_casts_and_refuses():
    """A table takes the form of its schema, or an error says why not."""
    loose = pa.table({"b": pa.array([1, 2], pa.int64()), "a": ["x", "y"]})
    schema = pa.schema([("a", pa.string()), ("b", pa.int32())])

    assert conform(loose, schema).schema == schema
    with pytest.raises(KeyError):
        conform(loose.drop_columns(["a"]), schema)
    with pytest.raises(pa.ArrowInvalid):
        conform(loose.set_column(0, "b", pa.array([1, 2**40])), schema)


def test_of_two_creations_the_first_stands(store):
    """The second writer learns that it was not the first, and nothing is replaced."""
    assert create_table(store, "a.parquet", things())
    first = store.read("a.parquet")

    assert not create_table(store, "a.parquet", things().slice(0, 1))
    assert store.read("a.parquet") == first


BULKY = table(
    "features",
    *IDENTITY,
    column("latent", pa.large_binary(), "Large.", bulk=True),
    column("features", pa.list_(pa.field("element", pa.large_binary())), "Several.", bulk=True),
    column("tokens", pa.int32(), "Small."),
)


def test_bulk_columns_are_read_a_row_group_at_a_time(store):
    """A group holds about a megabyte of the largest of them, uncompressed; digests are kept."""
    values = [bytes([n]) * 300_000 for n in range(4)] * 3
    columns = [
        pa.array([0] * 12, pa.int32()),
        pa.array(range(12), pa.int32()),
        pa.array(IDS * 3, pa.binary(16)),
        pa.array(values, pa.large_binary()),
        pa.array([[value[:10], b""] for value in values], BULKY.field("features").type),
        pa.array(range(12), pa.int32()),
    ]
    written = pa.Table.from_arrays(columns, schema=BULKY)

    write_table(store, "bulk.parquet", written)

    with store.open("bulk.parquet") as file:
        footer = pq.ParquetFile(file).metadata
        assert [footer.row_group(n).num_rows for n in range(4)] == [3, 3, 3, 3]
        assert footer.row_group(0).column(3).compression == "UNCOMPRESSED"
        assert footer.row_group(0).column(3).statistics is None
        third = from_parquet(file, ["latent", "features"], [2])
    assert third.equals(written.select(["latent", "features"]).slice(6, 3))
    assert set(file_digests(store, "bulk.parquet")) == set(BULKY.names)
