"""Bytes of rows, from the shard or from where they were left."""

import hashlib

import pyarrow as pa
import pytest

from curation.errors import ConfigError
from curation.ingest.folder import FolderConfig
from curation.ingest.load import LOAD_COLUMNS, check_references, load_bytes, reading_protocols
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.work_list import freeze_lists, shard_rows

FILE = ("file",)


@pytest.fixture
def images(lake, write, dataset, source):
    """Two files of the lake as rows, by reference or with their bytes."""
    write(lake, {b"a%": b"1", b"b\xff": b""})
    list(freeze_lists(dataset, source))
    rows = shard_rows(dataset, 0, 0, 0)

    def make(store: str) -> pa.Table:
        return make_image_shard(rows, source.model_copy(update={"store": store}), Tombstones())

    return make


def test_stored_bytes_come_as_they_are(images, lake):
    """Without looking at the source, which may be gone."""
    table = images("bytes")
    (lake / "a%").unlink()

    assert load_bytes(table.select(LOAD_COLUMNS), ()) == [b"1", b""]


def test_files_left_in_place_are_read(images):
    """Names that are no text and names with `%` included."""
    assert load_bytes(images("reference"), FILE) == [b"1", b""]


def test_rows_without_bytes_give_their_reason(images):
    """The stored error, whatever it is."""
    table = images("bytes")
    errors = pa.array(["forgotten: the image was forgotten on request", None])
    index = table.schema.get_field_index("source_error")
    table = table.set_column(index, table.schema.field(index), errors)

    assert load_bytes(table, FILE) == ["forgotten: the image was forgotten on request", b""]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"2", "changed: the file differs from what was listed"),
        (b"", "changed: the file differs from what was listed"),
        (None, "unavailable: the source could not be read"),
    ],
)
def test_a_file_that_differs_is_not_given(images, lake, data, expected):
    """Only the bytes that the dataset knows are the image."""
    table = images("reference")
    (lake / "a%").unlink()
    if data is not None:
        (lake / "a%").write_bytes(data)

    assert load_bytes(table, FILE) == [expected, b""]


def test_a_protocol_that_is_not_allowed_is_refused(images):
    """A dataset from elsewhere cannot make this machine read what its user did not allow."""
    with pytest.raises(ConfigError, match=r"'file' is not among source\.protocols \(s3\)"):
        load_bytes(images("reference"), ("s3",))


def test_a_part_of_a_file_is_read(images, lake):
    """An offset and the row's size name a member of an archive."""
    table = images("reference").slice(0, 1)
    (lake / "a%").write_bytes(b"0123456789")
    for name, value in (
        ("source_offset", 3),
        ("source_length", 4),
        ("num_bytes", 4),
        ("content_sha256", hashlib.sha256(b"3456").digest()),
    ):
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array([value], field.type))

    assert load_bytes(table, FILE) == [b"3456"]


def test_objects_left_in_place_are_read(memory, images):
    """Through the URL that the row keeps."""
    memory.pipe_file("/bucket/d/a b%", b"1")
    table = images("reference").slice(0, 1)
    index = table.schema.get_field_index("source_uri")
    uris = pa.array(["memory:///bucket/d/a b%"])
    table = table.set_column(index, table.schema.field(index), uris)

    assert load_bytes(table, ("memory",)) == [b"1"]
    memory.rm_file("/bucket/d/a b%")
    assert load_bytes(table, ("memory",)) == ["unavailable: the source could not be read"]


def test_without_a_source_the_usual_protocols_are_read(images, source):
    """A pipeline that works on what is there reads what an ordinary source may."""
    assert load_bytes(images("reference"), reading_protocols(None)) == [b"1", b""]
    assert reading_protocols(source.model_copy(update={"protocols": ("abfs",)})) == ("abfs",)


def test_originals_out_of_reach_are_refused_before_anything_starts(memory, dataset, lake, write):
    """What an ingest left in place must be readable by the pipeline that comes after it."""
    memory.pipe_file("/bucket/a", b"1")
    left = FolderConfig(name="left", roots=("memory://bucket",), store="reference")
    list(freeze_lists(dataset, left))
    check_references(dataset, None)
    check_references(dataset, left)
    other = FolderConfig(name="other", roots=(str(lake),), protocols=("file",))

    with pytest.raises(
        ConfigError,
        match=r"source 'left' were left at memory://bucket, .* by file only; add 'memory' to sour",
    ):
        check_references(dataset, other)


def test_copied_originals_need_no_protocol(memory, dataset, lake):
    """Only originals that were left in place are read again."""
    memory.pipe_file("/bucket/a", b"1")
    list(freeze_lists(dataset, FolderConfig(name="copied", roots=("memory://bucket",))))

    check_references(dataset, FolderConfig(name="o", roots=(str(lake),), protocols=("file",)))
