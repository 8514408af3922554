"""Image shards from listed files: untouched bytes, and a reason where there are none."""

import hashlib
import os

import pyarrow as pa
import pytest

from curation.errors import UsageError
from curation.ingest import make_shard
from curation.ingest.identity import image_id
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.work_list import freeze_lists, shard_rows
from schemas.images import IMAGES

LATER_NS = 1_800_000_000_000_000_000
CHANGED = "changed: the file differs from what was listed"


@pytest.fixture
def listed(dataset, source):
    """Freeze the lake and return the lines of its first shard."""

    def freeze(source=source) -> pa.Table:
        list(freeze_lists(dataset, source))
        return shard_rows(dataset, 0, 0, 0)

    return freeze


def test_files_are_stored_untouched(lake, write, source, listed):
    """Every column of every row, for an image, an empty file and a name that is no text."""
    contents = {b"a.jpg": b"\xff\xd8 not looked at", b"d/empty": b"", b"e\xff": b"x"}
    write(lake, contents)

    table = make_image_shard(listed(), source, Tombstones())

    assert table.schema.equals(IMAGES, check_metadata=True)
    assert table.to_pylist() == [
        {
            "shard": 0,
            "row": row,
            "image_id": image_id("lake", key, 0, hashlib.sha256(data).digest()),
            "source_name": "lake",
            "source_key": text,
            "source_ordinal": 0,
            "source_uri": f"file://{lake}/{text}",
            "source_offset": None,
            "source_length": None,
            "content_sha256": hashlib.sha256(data).digest(),
            "num_bytes": len(data),
            "alt_text": None,
            "license": None,
            "metadata": None,
            "source_error": None,
            "image_bytes": data,
        }
        for row, (text, (key, data)) in enumerate(
            zip(["a.jpg", "d/empty", "e%FF"], contents.items(), strict=True)
        )
    ]


def test_a_shard_is_made_alike_by_anybody(lake, write, source, listed):
    """Twice the same table."""
    write(lake, {b"a": b"1", b"b": b"2"})
    rows = listed()

    one = make_image_shard(rows, source, Tombstones())

    assert one.equals(make_image_shard(rows, source, Tombstones()))


def test_files_may_be_left_in_place(lake, write, source, listed):
    """By reference everything is known but the bytes."""
    write(lake, {b"a": b"1", b"b": b"2"})
    rows = listed()
    stored = make_image_shard(rows, source, Tombstones())

    left = make_image_shard(rows, source.model_copy(update={"store": "reference"}), Tombstones())

    assert left["image_bytes"].to_pylist() == [None, None]
    assert left.drop_columns("image_bytes").equals(stored.drop_columns("image_bytes"))


@pytest.mark.parametrize("change", ["size", "time", "gone", "folder", "outside", "parent"])
def test_a_file_that_differs_is_changed(lake, write, source, listed, tmp_path, change):
    """The row has no bytes and no hash, and its neighbours are as ever."""
    write(lake, {b"a/b": b"1", b"c": b"2"})
    rows = listed()
    match change:
        case "size":
            write(lake, {b"a/b": b"longer"})
        case "time":
            write(lake, {b"a/b": b"1"}, LATER_NS)
        case "gone":
            (lake / "a" / "b").unlink()
        case "folder":
            (lake / "a" / "b").unlink()
            (lake / "a" / "b").mkdir()
        case "outside":
            write(tmp_path, {b"secret": b"1"})
            (lake / "a" / "b").unlink()
            (lake / "a" / "b").symlink_to(tmp_path / "secret")
        case "parent":
            (lake / "a" / "b").unlink()
            (lake / "a").rmdir()
            write(lake, {b"a": b"1"})

    table = make_image_shard(rows, source, Tombstones())

    assert table["source_error"].to_pylist() == [CHANGED, None]
    assert table["image_bytes"].to_pylist() == [None, b"2"]
    assert table["content_sha256"][0].as_py() is None
    assert table["num_bytes"].to_pylist() == [None, 1]
    assert table["image_id"][0].as_py() == image_id("lake", b"a/b", 0, None)


def test_a_changed_file_is_listed_again(lake, write, dataset, source, ingest, lines):
    """What was `changed` when read is `changed` for the next ingest, which then has it."""
    write(lake, {b"a": b"1", b"b": b"2"})
    lists = list(freeze_lists(dataset, source))
    write(lake, {b"a": b"longer"})
    ingest(dataset, source)
    ingest(dataset, source)

    assert [frozen.seq for frozen in lists] == [0]
    assert lines(dataset, 1)[0] == [("a", "changed")]
    assert dataset.read_images(0)["source_error"].to_pylist() == [CHANGED, None]
    assert dataset.read_images(1)["image_bytes"].to_pylist() == [b"longer"]


def test_a_file_that_cannot_be_read_is_unavailable(lake, write, source, listed):
    """Here because the system refuses its name; a permission that is missing is the same."""
    write(lake, {b"a": b"1", b"b": b"2"})
    rows = listed()
    key = "x" * 300  # longer than a file system takes
    column = rows.schema.get_field_index("key")
    rows = rows.set_column(column, rows.schema.field(column), pa.array([key, "b"]))
    uris = pa.array([f"file://{lake}/{key}", f"file://{lake}/b"])
    rows = rows.set_column(rows.schema.get_field_index("uri"), rows.schema.field("uri"), uris)

    table = make_image_shard(rows, source, Tombstones())

    assert table["source_error"].to_pylist() == [
        "unavailable: the source could not be read",
        None,
    ]


def test_a_large_file_is_not_read(lake, write, source, listed):
    """Its size is known, its content is not."""
    write(lake, {b"a": b"12345", b"b": b"1234"})
    small = source.model_copy(update={"max_file_bytes": 4})

    table = make_image_shard(listed(small), small, Tombstones())

    assert table["source_error"].to_pylist() == [
        "too_large: 5 bytes are more than the limit of 4",
        None,
    ]
    assert table["num_bytes"].to_pylist() == [5, 4]
    assert table["content_sha256"][0].as_py() is None


def test_a_file_of_unknown_size_may_turn_out_large(lake, write, source, listed):
    """The limit holds when it is opened."""
    write(lake, {b"a": b"12345"})
    rows = listed()
    index = rows.schema.get_field_index("num_bytes")
    rows = rows.set_column(index, rows.schema.field(index), pa.array([None], pa.int64()))
    small = source.model_copy(update={"max_file_bytes": 4})

    table = make_image_shard(rows, small, Tombstones())

    assert table["source_error"].to_pylist() == ["too_large: 5 bytes are more than the limit of 4"]


def test_a_raised_limit_does_not_burst_the_memory(lake, write, source, listed, monkeypatch):
    """A shard listed with unread files is refused when they are to be read after all."""
    write(lake, {b"a": b"12345", b"b": b"12345"})
    rows = listed(source.model_copy(update={"max_file_bytes": 4}))
    monkeypatch.setattr(make_shard, "MAX_READ_BYTES", 9)

    with pytest.raises(UsageError, match=r"shard 0: 10 bytes to read are more than 9; it was list"):
        make_image_shard(rows, source, Tombstones())


def test_images_that_are_larger_than_planned_do_not_burst_the_memory(
    lake, write, source, listed, monkeypatch
):
    """Where listing did not know their sizes; those that fit are taken."""
    write(lake, {b"a": b"12345", b"b": b"12345", b"c": b"1234"})
    rows = listed()
    index = rows.schema.get_field_index("num_bytes")
    rows = rows.set_column(index, rows.schema.field(index), pa.nulls(3, pa.int64()))
    monkeypatch.setattr(make_shard, "MAX_READ_BYTES", 9)

    table = make_image_shard(rows, source, Tombstones())

    assert table["source_error"].to_pylist() == [
        None,
        "too_large: 5 bytes are more than the limit of 4",
        None,
    ]


def test_a_lost_root_is_no_error_of_rows(lake, write, source, listed):
    """The shard fails, to be made when the mount is back."""
    write(lake, {b"a": b"1"})
    rows = listed()
    lake.rename(lake.with_name("elsewhere"))

    with pytest.raises(UsageError, match="no such folder; mount it"):
        make_image_shard(rows, source, Tombstones())


def test_a_lake_that_moved_after_listing_is_found(lake, write, source, listed):
    """Lines name the old place; the files are read below the roots of today."""
    write(lake, {b"a": b"1", b"b": b"2"})
    rows = listed()
    before = make_image_shard(rows, source, Tombstones())
    moved = lake.rename(lake.with_name("elsewhere"))
    other = lake.with_name("other")
    write(other, {b"b": b"2"})
    (moved / "b").unlink()
    roots = (str(moved), str(other))

    after = make_image_shard(rows, source.model_copy(update={"roots": roots}), Tombstones())

    assert after["source_uri"].to_pylist() == [f"file://{moved}/a", f"file://{other}/b"]
    assert after.drop_columns("source_uri").equals(before.drop_columns("source_uri"))


def test_nothing_outside_the_roots_is_read(lake, write, source, listed, tmp_path):
    """A line whose URI names another file does not get it."""
    write(lake, {b"a": b"1"})
    write(tmp_path, {b"secret": b"2"})
    rows = listed()
    uri = pa.array([f"file://{tmp_path}/secret"])
    rows = rows.set_column(rows.schema.get_field_index("uri"), rows.schema.field("uri"), uri)

    table = make_image_shard(rows, source, Tombstones())

    assert table["image_bytes"].to_pylist() == [b"1"]
    assert table["source_uri"].to_pylist() == [f"file://{lake}/a"]


@pytest.mark.parametrize("by", ["image_id", "content"])
def test_forbidden_files_are_not_stored(lake, write, source, listed, by):
    """By place or by content; the hash stays, the bytes do not."""
    write(lake, {b"a": b"1", b"b": b"2"})
    rows = listed()
    content = hashlib.sha256(b"1").digest()
    if by == "image_id":
        tombstones = Tombstones(image_ids=frozenset([image_id("lake", b"a", 0, content)]))
    else:
        tombstones = Tombstones(contents=frozenset([content]))

    table = make_image_shard(rows, source, tombstones)

    assert table["source_error"].to_pylist() == ["tombstoned: a tombstone forbids this image", None]
    assert table["image_bytes"].to_pylist() == [None, b"2"]
    assert table["content_sha256"][0].as_py() == content


def test_the_words_of_a_forbidden_image_are_withheld_too(lake, write, source, listed):
    """A caption names people as well as a picture shows them."""
    facts = b'{"license": "CC0", "name": "JANE DOE"}'
    write(lake, {b"a.jpg": b"1", b"a.txt": b"JANE DOE", b"a.json": facts})
    rows = listed()
    texts = ["alt_text", "license", "metadata"]
    forbidden = Tombstones(contents=frozenset([hashlib.sha256(b"1").digest()]))

    (free,) = make_image_shard(rows, source, Tombstones()).select(texts).to_pylist()
    (kept,) = make_image_shard(rows, source, forbidden).select(texts).to_pylist()

    assert all(free.values())
    assert kept == dict.fromkeys(texts)


def test_a_root_on_a_store_gives_the_same_rows(memory, lake, write, source, listed):
    """Only where the bytes were read from differs."""
    write(lake, {b"a": b"1", b"d/e": b""})
    local = make_image_shard(listed(), source, Tombstones())
    for key in ("a", "d/e"):
        memory.pipe_file(f"/bucket/{key}", (lake / key).read_bytes())
    there = source.model_copy(update={"roots": ("memory://bucket",)})
    rows = listed_elsewhere(memory, there)

    remote = make_image_shard(rows, there, Tombstones())

    assert remote["source_uri"].to_pylist() == ["memory:///bucket/a", "memory:///bucket/d/e"]
    assert remote.drop_columns("source_uri").equals(local.drop_columns("source_uri"))


def listed_elsewhere(memory, source):
    """Freeze a source into a dataset that lives in memory too."""
    from curation.dataset import Dataset

    dataset = Dataset.open_or_create("memory://ds")
    list(freeze_lists(dataset, source))
    return shard_rows(dataset, 0, 0, 0)


def test_hard_links_and_times_do_not_matter(lake, write, source, listed):
    """The same bytes at two places are two rows with one hash and two ids."""
    write(lake, {b"a": b"1"})
    os.link(lake / "a", lake / "b")

    table = make_image_shard(listed(), source, Tombstones())

    assert len(set(table["content_sha256"].to_pylist())) == 1
    assert len(set(table["image_id"].to_pylist())) == 2
