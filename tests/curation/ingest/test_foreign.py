"""Parquet files of others: nothing in them runs, and what is broken says so."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import UsageError
from curation.ingest import foreign
from curation.ingest.foreign import TableError, check_plain, is_plain, open_table
from curation.ingest.local_root import LocalRoot
from curation.ingest.texts import to_json


class HostileType(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type as a library might register it, that runs what a file tells it to."""

    ran: list[bytes] = []

    def __init__(self):
        super().__init__(pa.binary(), "longtail.hostile")

    def __arrow_ext_serialize__(self):
        return b"payload"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        cls.ran.append(serialized)
        return cls()


@pytest.fixture
def hostile():
    """The type is registered, as Ray's are in a worker."""
    pa.register_extension_type(HostileType())
    HostileType.ran.clear()
    yield HostileType
    pa.unregister_extension_type("longtail.hostile")


@pytest.fixture
def root(tmp_path):
    return LocalRoot(str(tmp_path))


def read(root, name, columns):
    with open_table(root, name) as (_, table):
        batches = list(table.batches(columns, range(len(table.group_rows))))
        return table.schema, [row for batch in batches for row in batch.to_pylist()]


def test_no_extension_type_is_made(hostile, tmp_path, root):
    """Pyarrow itself would run the type's own code; here its values are plain bytes."""
    column = pa.ExtensionArray.from_storage(HostileType(), pa.array([b"1", b"2"]))
    pq.write_table(pa.table({"x": column, "y": [1, 2]}), tmp_path / "t.parquet")
    hostile.ran.clear()
    pq.read_table(tmp_path / "t.parquet")
    assert hostile.ran
    hostile.ran.clear()

    schema, rows = read(root, b"t.parquet", ["x", "y"])

    assert hostile.ran == []
    assert schema.field("x").type == pa.binary()
    assert rows == [{"x": b"1", "y": 1}, {"x": b"2", "y": 2}]


def test_logical_types_stay_plain(tmp_path, root):
    """A UUID is sixteen bytes, not an extension type."""
    ids = pa.array([bytes(16)], pa.uuid())
    pq.write_table(pa.table({"id": ids}), tmp_path / "t.parquet")

    schema, _ = read(root, b"t.parquet", ["id"])

    assert schema.field("id").type == pa.binary(16)
    with pytest.raises(UsageError, match=r"source\.key_column names 'id', which is fixed_size_bin"):
        check_plain(schema, "id", "source.key_column", "t.parquet")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"PAR1", "truncated"),
        (b"noise" * 100, "undecodable"),
        (b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1", "undecodable"),
        (b"PAR1" + bytes(100) + b"\x10\0\0\0PAR1", "undecodable"),
    ],
    ids=["empty", "cut", "noise", "footer too long", "footer of zeros"],
)
def test_a_broken_file_says_how(tmp_path, root, data, code):
    """Without taking the memory that it states."""
    (tmp_path / "t.parquet").write_bytes(data)

    with pytest.raises(TableError) as caught, open_table(root, b"t.parquet"):
        pass
    assert caught.value.code == code


def test_broken_pages_are_undecodable(tmp_path, root):
    """Data that does not unpack is no trouble of the store."""
    pq.write_table(pa.table({"x": [b"abc" * 999] * 50}), tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:200] = random.Random(1).randbytes(196)
    (tmp_path / "t.parquet").write_bytes(data)

    with pytest.raises(TableError) as caught:
        read(root, b"t.parquet", ["x"])
    assert caught.value.code == "undecodable"


def test_text_that_is_no_utf8_is_undecodable(tmp_path, root):
    """It is found where it is read, not where somebody looks at it."""
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    pq.write_table(pa.table({"x": text}), tmp_path / "t.parquet")

    with pytest.raises(TableError):
        read(root, b"t.parquet", ["x"])


def test_large_row_groups_are_read_in_small_parts(tmp_path, root, monkeypatch):
    """Memory follows the batch, for what is read as for what is decoded."""
    values = [random.Random(n).randbytes(100_000) for n in range(200)]
    settings = {"use_dictionary": False, "write_batch_size": 8}  # else all is one page
    pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet", **settings)
    reads = []
    blanked_read = foreign._Blanked.read

    def noted(self, size=-1):
        reads.append(size)
        return blanked_read(self, size)

    monkeypatch.setattr(foreign._Blanked, "read", noted)
    with open_table(root, b"t.parquet") as (_, table):
        sizes = [len(batch) for batch in table.batches(["x"], [0])]

    assert max(sizes) == 64
    assert sum(sizes) == 200
    assert max(reads) < 8 << 20 < sum(map(len, values))


def test_plain_types_are_what_json_can_hold():
    """And nothing whose reading could be a choice."""
    plain = [pa.int8(), pa.string(), pa.float32(), pa.timestamp("us"), pa.decimal128(9, 2)]
    plain += [pa.list_(pa.string()), pa.struct([("a", pa.bool_())]), pa.null()]
    other = [pa.binary(), pa.list_(pa.binary()), pa.map_(pa.string(), pa.int8()), pa.binary(4)]
    other += [pa.list_(pa.timestamp("ns"))]

    assert all(is_plain(kind) for kind in plain)
    assert not any(is_plain(kind) for kind in other)


def test_every_time_can_be_written(tmp_path, root):
    """Nanoseconds, and years that Python does not have."""
    columns = {
        "ns": pa.array([1], pa.timestamp("ns")),
        "far": pa.array([2**60], pa.timestamp("us", "UTC")),
        "day": pa.array([2**30], pa.date32()),
        "time": pa.array([1], pa.time64("ns")),
        "half": pa.array([1.5], pa.float16()),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")

    with open_table(root, b"t.parquet") as (_, table):
        (row,) = [row for b in table.batches(list(columns), [0]) for row in foreign.to_rows(b)]
    assert row["ns"] == "1970-01-01 00:00:00.000000001"
    assert row["time"] == "00:00:00.000000001"
    assert isinstance(row["far"], str)
    assert isinstance(row["day"], str)
    assert json.loads(to_json(row) or "")["half"] == 1.5


def test_fields_of_one_name_are_undecodable(tmp_path, root):
    """No value of ours could hold both."""
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    pq.write_table(pa.table({"x": twice}), tmp_path / "t.parquet")

    with open_table(root, b"t.parquet") as (_, table):
        (batch,) = table.batches(["x"], [0])
        with pytest.raises(TableError):
            foreign.to_rows(batch)
