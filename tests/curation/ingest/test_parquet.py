"""Images in Parquet columns."""

import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.config import validate
from curation.dataset import Dataset
from curation.errors import ConfigError, UsageError
from curation.ingest import foreign
from curation.ingest.entries import START
from curation.ingest.parquet import ParquetConfig, ParquetSource
from curation.ingest.work_list import freeze_lists
from tests.fakes.lake import TIME_NS

HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def source(lake):
    return ParquetConfig(name="lake", roots=(str(lake),))


@pytest.fixture
def put(lake):
    """Write columns as a Parquet file."""

    def write(columns, name="t.parquet", **settings):
        pq.write_table(pa.table(columns), lake / name, **settings)
        os.utime(lake / name, ns=(TIME_NS, TIME_NS))

    return write


def with_settings(source, **settings):
    return validate(ParquetConfig, {**source.model_dump(exclude_unset=True), **settings}, "source")


def test_rows_are_named_by_row_group_and_row(put, source, rows_of):
    """In numeric order, which is byte order."""
    put({"image": [b"%d" % n for n in range(25)]}, row_group_size=12)

    rows = rows_of(source)

    assert [row["image_bytes"] for row in rows] == [b"%d" % n for n in range(25)]
    assert [rows[n]["source_key"] for n in (0, 11, 12, 24)] == [
        "t.parquet!000000/00000000",
        "t.parquet!000000/00000011",
        "t.parquet!000001/00000000",
        "t.parquet!000002/00000000",
    ]
    assert {row["source_uri"] for row in rows} == {f"file://{source.roots[0]}/t.parquet"}


def test_rows_can_be_named_by_a_column(put, source, rows_of):
    """Texts and numbers; repeats get ordinals, and a row without a key says so."""
    put({"image": [b"0", b"1", b"2", b"3", b"4"], "id": ["b", "a", None, "b", "a/ü"]})
    keyed = with_settings(source, key_column="id")

    rows = rows_of(keyed)

    assert [
        (r["source_key"], r["source_ordinal"], r["image_bytes"], r["source_error"]) for r in rows
    ] == [
        ("t.parquet!", 0, None, "missing_input: id is null"),
        ("t.parquet!a", 0, b"1", None),
        ("t.parquet!a/ü", 0, b"4", None),
        ("t.parquet!b", 0, b"0", None),
        ("t.parquet!b", 1, b"3", None),
    ]
    put({"image": [b"0"], "id": [7]})
    assert [row["source_key"] for row in rows_of(keyed)] == ["t.parquet!7"]


def test_named_columns_become_texts_and_metadata(put, source, rows_of):
    """Others are not read; numbers that are not finite become null."""
    put(
        {
            "image": [b"0", b"1"],
            "text": ["a cat", None],
            "rights": ["CC0", ""],
            "score": [float("nan"), 0.5],
            "tags": [["x"], None],
            "other": [b"\xff", b"\xff"],
        }
    )
    named = with_settings(
        source, caption_column="text", license_column="rights", metadata_columns=["score", "tags"]
    )

    assert [(r["alt_text"], r["license"], r["metadata"]) for r in rows_of(named)] == [
        ("a cat", "CC0", '{"score":null,"tags":["x"]}'),
        (None, None, '{"score":0.5,"tags":null}'),
    ]


def test_images_in_structs_come_as_bytes_or_from_their_path(put, lake, write, source, rows_of):
    """The form that Hugging Face writes; paths start at the file's own folder."""
    (lake / "data").mkdir()
    write(lake, {b"data/in/a.jpg": b"of a path", b"top.jpg": b"top"})
    images = [
        {"bytes": b"held", "path": "name.jpg"},
        {"bytes": None, "path": "in/a.jpg"},
        {"bytes": None, "path": f"{lake}/top.jpg"},
        {"bytes": None, "path": "in/none.jpg"},
        {"bytes": None, "path": "../top.jpg"},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": None, "path": "x\0y"},
        {"bytes": None, "path": None},
        None,
    ]
    put({"image": pa.array(images, HF)}, "data/t.parquet")

    rows = rows_of(source)

    assert [row["image_bytes"] or row["source_error"].split(":")[0] for row in rows] == [
        *(b"held", b"of a path", b"top", "missing"),
        *("outside", "outside", "outside", "missing_input", "missing_input"),
    ]
    assert rows[1]["source_uri"] == f"file://{lake}/data/in/a.jpg"


def test_a_link_out_of_the_root_is_not_followed(put, lake, tmp_path, source, rows_of):
    """A path of a row names nothing outside."""
    (tmp_path / "secret").write_bytes(b"secret")
    (lake / "a.jpg").symlink_to(tmp_path / "secret")
    put({"image": pa.array([{"bytes": None, "path": "a.jpg"}], HF)})

    assert (
        rows_of(source)[0]["source_error"] == "outside: the source names a place outside of itself"
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"image_column": "imag"},
            r"source\.image_column names 'imag', and the file has no column .* \(did you mean im",
        ),
        (
            {"image_column": "text"},
            r"source\.image_column names 'text', which is string; expected binary, or struct<bytes",
        ),
        (
            {"metadata_columns": ["image"]},
            r"source\.metadata_columns names 'image', which is binary; expected times, text",
        ),
        ({"key_column": "id"}, r"source\.key_column names 'id', and the file has no column"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(put, source, rows_of, settings, sentence):
    """Before anything is taken in."""
    put({"image": [b"1"], "text": ["x"]})

    with pytest.raises(UsageError, match=sentence):
        rows_of(with_settings(source, **settings))


def test_a_broken_file_is_a_row(put, lake, source, rows_of):
    """Beside the rows of the others."""
    put({"image": [b"1"]}, "b.parquet")
    data = (lake / "b.parquet").read_bytes()
    (lake / "a.parquet").write_bytes(b"")
    (lake / "c.parquet").write_bytes(data[:-4])

    assert [(row["source_key"], row["source_error"]) for row in rows_of(source)] == [
        ("a.parquet!", "empty: the file has no bytes"),
        ("b.parquet!000000/00000000", None),
        ("c.parquet!", "truncated: the parquet data ends too early"),
    ]


def test_a_large_image_is_not_kept(put, source, rows_of):
    """Its size is known when it is read."""
    put({"image": [b"12345", b"1234"]})

    rows = rows_of(with_settings(source, max_file_bytes=4))

    assert [row["source_error"] for row in rows] == [
        "too_large: 5 bytes are more than the limit of 4",
        None,
    ]


def test_shards_are_cut_by_the_size_that_the_footer_tells(put, source, tmp_path):
    """A listing does not read images, and still fills shards."""
    images = [os.urandom(100_000) for _ in range(40)]
    put({"image": images}, row_group_size=10)
    dataset = Dataset.open_or_create(str(tmp_path / "ds"), max_shard_bytes=1 << 20)

    lists = list(freeze_lists(dataset, source))

    assert lists[-1].shards.stop == 4


def test_only_the_row_groups_of_a_shard_are_read(put, source, dataset, make_shards, monkeypatch):
    """Here one group of three for each shard of three rows."""
    put({"image": [b"%d" % n for n in range(9)]}, row_group_size=3)
    list(freeze_lists(dataset, source))
    groups = []
    batches = foreign.ForeignTable.batches

    def noted(self, columns, numbers):
        groups.append(list(numbers))
        return batches(self, columns, numbers)

    monkeypatch.setattr(foreign.ForeignTable, "batches", noted)
    make_shards(dataset, source)

    assert groups == [[0], [1], [2]]


def test_rows_far_from_the_order_of_their_keys_are_refused(put, source, dataset):
    """Every shard would read every row group; sorted by the column, also as numbers, it is fine."""
    names = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(12_000)]
    keyed = with_settings(source, key_column="id")
    put({"image": [b"x"] * len(names), "id": names}, row_group_size=1000)

    with pytest.raises(UsageError, match=r"t\.parquet: .*'id'.* read 12 times each.*sorted by it"):
        list(freeze_lists(dataset, keyed))

    for ids in (sorted(names), list(range(len(names)))):
        put({"image": [b"x"] * len(ids), "id": ids}, row_group_size=1000)
        (part,) = ParquetSource(keyed).entries(START)
        assert sum(1 for _ in part.entries()) == len(ids)


def test_references_are_refused():
    """There is no range of bytes that is an image."""
    with pytest.raises(
        ConfigError, match=r"source\.store: an image in a Parquet file has no range"
    ):
        validate(ParquetConfig, {"name": "x", "roots": ["a"], "store": "reference"}, "source")
