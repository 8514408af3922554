"""Lists of paths with what others say of them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.config import validate
from curation.errors import ConfigError, UsageError
from curation.ingest import sorted_runs
from curation.ingest.folder import FolderConfig
from curation.ingest.lists import ListConfig


@pytest.fixture
def make(lake, write, tmp_path):
    """Write three images and a list; return the source of it."""
    write(lake, {b"a.jpg": b"1", b"d/b.jpg": b"22", b"caf\xe9.jpg": b"333"})

    def source(content, name="list.jsonl", **settings):
        if isinstance(content, str):
            content = content.encode()
        (tmp_path / name).write_bytes(content)
        section = {"name": "lake", "roots": [str(lake)], "lists": [str(tmp_path / name)]}
        return validate(ListConfig, section | settings, "source")

    return source


def jsonl(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def test_rows_are_files_with_what_the_list_says(make, rows_of):
    """The rest of the columns is metadata, and the order of the list does not matter."""
    source = make(
        jsonl(
            {"path": "d/b.jpg", "text": "b", "rights": "CC0", "n": 1},
            {"path": "a.jpg", "text": None, "tags": ["x"]},
        ),
        caption_column="text",
        license_column="rights",
    )

    names = ("source_key", "alt_text", "license", "metadata", "image_bytes")
    assert [tuple(row[name] for name in names) for row in rows_of(source)] == [
        ("a.jpg", None, None, '{"tags":["x"]}', b"1"),
        ("d/b.jpg", "b", "CC0", '{"n":1}', b"22"),
    ]


def test_ids_are_those_of_the_folder(make, lake, rows_of):
    """The same file under the same source name is the same image."""
    listed = rows_of(make(jsonl({"path": "a.jpg"}, {"path": "d/b.jpg"}, {"path": "caf\udce9.jpg"})))
    folder = rows_of(FolderConfig(name="lake", roots=(str(lake),)))

    assert [row["image_id"] for row in listed] == [row["image_id"] for row in folder]


def test_every_path_is_a_row_and_none_leads_out(make, lake, tmp_path, rows_of):
    """Outside, missing, a folder, too long, a link that leaves: a reason each, and never a byte."""
    (tmp_path / "secret").write_bytes(b"secret")
    (lake / "link.jpg").symlink_to(tmp_path / "secret")
    paths = ["../secret", "/etc/passwd", f"{tmp_path}/secret", "link.jpg", "none.jpg", "d", "a\0b"]
    paths += ["x" * 300, "d/b.jpg/c", "\ud800", f"{lake}/a.jpg", "http://x/y.jpg"]
    rows = rows_of(make(jsonl(*({"path": path} for path in paths))))

    found = {row["source_key"]: (row["source_error"] or "").split(":")[0] for row in rows}
    assert found == {
        "../secret": "outside",
        "/etc/passwd": "outside",
        f"{tmp_path}/secret": "outside",
        "link.jpg": "outside",
        "a\0b": "outside",
        "http://x/y.jpg": "outside",
        "none.jpg": "missing",
        "d": "missing",
        "x" * 300: "missing",
        "d/b.jpg/c": "missing",
        "%ED%A0%80": "missing",
        "a.jpg": "",
    }
    assert {row["image_bytes"] for row in rows} == {None, b"1"}


def test_a_missing_file_that_comes_is_listed_again(make, lake, write, dataset, ingest, lines):
    """And one that goes."""
    source = make(jsonl({"path": "a.jpg"}, {"path": "late.jpg"}))
    ingest(dataset, source)
    write(lake, {b"late.jpg": b"late"})
    (lake / "a.jpg").unlink()
    ingest(dataset, source)

    assert lines(dataset, 1)[0] == [("a.jpg", "changed"), ("late.jpg", "changed")]
    errors = dataset.read_images(1)["source_error"].to_pylist()
    assert errors == ["missing: no file is at the place that the source names", None]
    assert ingest(dataset, source) == []


def test_a_new_caption_is_a_change(make, dataset, ingest, lines):
    """The other rows stay."""
    rows = [{"path": "a.jpg", "t": "one"}, {"path": "d/b.jpg", "t": "two"}]
    ingest(dataset, make(jsonl(*rows), caption_column="t"))
    rows[1]["t"] = "three"
    ingest(dataset, make(jsonl(*reversed(rows)), caption_column="t"))

    assert lines(dataset, 1)[0] == [("d/b.jpg", "changed")]


def test_repeats_get_ordinals_in_the_order_of_the_lists(make, tmp_path, rows_of):
    """However a path is written, and whatever list it is in."""
    source = make(jsonl({"path": "a.jpg", "t": "0"}, {"path": "./a.jpg", "t": "1"}))
    (tmp_path / "b.csv").write_text("path,t\na.jpg,2\n")
    both = source.model_copy(
        update={"lists": (*source.lists, str(tmp_path / "b.csv")), "caption_column": "t"}
    )

    assert [(row["source_ordinal"], row["alt_text"]) for row in rows_of(both)] == [
        (0, "0"),
        (1, "1"),
        (2, "2"),
    ]


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.jsonl", "l.parquet"])
def test_every_format_says_the_same(make, tmp_path, rows_of, name):
    """With a byte order mark, Windows line ends, and text in other alphabets."""
    mark = b"\xef\xbb\xbf"
    match name.rpartition(".")[2]:
        case "csv":
            data = mark + 'path,t\r\na.jpg,"é, ""x""\r\ny"\r\n\r\nd/b.jpg,\r\n'.encode()
        case "tsv":
            data = mark + 'path\tt\r\na.jpg\t"é, ""x""\r\ny"\r\nd/b.jpg\t\r\n'.encode()
        case "jsonl":
            rows = [{"path": "a.jpg", "t": 'é, "x"\r\ny'}, {"path": "d/b.jpg", "t": ""}]
            data = mark + "\r\n\r\n".join(json.dumps(row) for row in rows).encode()
        case _:
            table = pa.table({"path": ["a.jpg", "d/b.jpg"], "t": ['é, "x"\r\ny', ""]})
            pq.write_table(table, tmp_path / "made")
            data = (tmp_path / "made").read_bytes()

    assert [
        (r["source_key"], r["alt_text"]) for r in rows_of(make(data, name, caption_column="t"))
    ] == [
        ("a.jpg", 'é, "x"\r\ny'),
        ("d/b.jpg", None),
    ]


def test_a_caption_may_be_long(make, rows_of):
    """Longer than what Python's reader of CSV takes by itself."""
    caption = "y" * 200_000

    (row,) = rows_of(make(f"path,t\na.jpg,{caption}\n".encode(), "l.csv", caption_column="t"))

    assert row["alt_text"] == caption


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("l.jsonl", b'{"path": "a.jpg"}\n{"path": ', r"l\.jsonl, line 2: no JSON object; correct"),
        ("l.jsonl", b'{"path": "a.jpg"}\n\n["a.jpg"]', r"l\.jsonl, line 3: no JSON object"),
        ("l.jsonl", b"[" * 100_000, r"l\.jsonl, line 1: no JSON object"),
        ("l.jsonl", b'{"path": "caf\xe9"}', r"l\.jsonl, line 1: not UTF-8"),
        ("l.jsonl", b'{"file": "a.jpg"}', r"l\.jsonl, line 1: no path in 'path'"),
        ("l.jsonl", b'{"path": 5}', r"l\.jsonl, line 1: no path in 'path'"),
        ("l.csv", b"path,t\na.jpg\n", r"l\.csv, line 2: 1 fields, and the header has 2"),
        ("l.csv", b"file,t\na.jpg,x\n", r"l\.csv, line 1: source\.path_column names 'path', and"),
        ("l.csv", b"path,path\n", r"l\.csv, line 1: the header names a column twice"),
        ("l.csv", b'path,t\na.jpg,"x\n', r"l\.csv, line 2: malformed"),
        ("l.csv", b"path,t\n,x\n", r"l\.csv, line 2: no path in 'path'"),
        ("l.csv", b"path,t\nx,caf\xe9\n", r"l\.csv, line 2: not UTF-8"),
        ("l.parquet", b"PAR1", r"l\.parquet: cannot be read as Parquet \(truncated\); make the l"),
    ],
)  # fmt: skip
def test_a_malformed_list_is_refused_with_its_line(make, dataset, ingest, name, data, sentence):
    """Before anything is frozen: a line without a path would be a row without a key."""
    with pytest.raises(UsageError, match=sentence):
        ingest(dataset, make(data, name))

    assert dataset.store.files("ingest") == []


def test_a_list_that_is_not_there_is_refused(make, dataset, ingest, tmp_path):
    """And one whose name says no format, before it is opened."""
    source = make("", "l.jsonl")
    gone = source.model_copy(update={"lists": (f"{tmp_path}/none.jsonl",)})

    with pytest.raises(UsageError, match=r"none\.jsonl: no such list; correct source\.lists"):
        ingest(dataset, gone)
    with pytest.raises(ConfigError, match=r"l\.txt: the format is not known.*\.jsonl, \.ndjson"):
        ingest(dataset, source.model_copy(update={"lists": (f"{tmp_path}/l.txt",)}))


def test_long_lists_are_sorted_in_runs(make, lake, write, rows_of, monkeypatch):
    """Through temporary files, to the same rows."""
    write(lake, {b"%02d.jpg" % n: b"%d" % n for n in range(30)})
    order = [(n * 7) % 30 for n in range(30)]
    source = make(jsonl(*({"path": f"{n:02d}.jpg", "n": n} for n in order)))
    expected = rows_of(source)
    monkeypatch.setattr(sorted_runs, "RUN_ROWS", 10)

    assert rows_of(source) == expected
    assert [row["image_bytes"] for row in expected] == [b"%d" % n for n in range(30)]


def test_metadata_can_be_chosen(make, rows_of):
    """Named columns only; none of them is none."""
    row = {"path": "a.jpg", "x": 1, "y": 2}

    assert rows_of(make(jsonl(row), metadata_columns=["y"]))[0]["metadata"] == '{"y":2}'
    assert rows_of(make(jsonl(row), metadata_columns=[]))[0]["metadata"] is None


def test_an_empty_list_is_an_empty_source(make, dataset, ingest):
    """Nothing is listed, and nothing breaks."""
    assert ingest(dataset, make("")) == []
