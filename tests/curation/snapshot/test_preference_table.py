"""Tables of preferences, as people bring them."""

import json
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import SnapshotError, UsageError
from curation.snapshot.preference_table import read_preference_table
from curation.storage import Store

A, B = bytes(range(16)), bytes(range(16, 32))
ROW = {"prompt": " a cat ", "winner": A.hex(), "loser": str(uuid.UUID(bytes=B))}


def write(path, *rows):
    """Write rows as JSONL, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def values(pairs):
    return [(p.prompt, p.winner, p.loser, p.source, p.margin, p.pair_id) for p in pairs]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_says_the_same(tmp_path, ending):
    """Ids are UUIDs or digits; what is optional may be empty; other columns are left alone."""
    rows = [
        {**ROW, "source": "jane", "margin": "0.5", "pair_id": B.hex(), "other": "x"},
        {**ROW, "source": "", "margin": "", "pair_id": "", "other": "x"},
    ]
    path = tmp_path / f"pairs.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        write(path, *rows)
    else:
        between = {"csv": ",", "tsv": "\t"}[ending]
        lines = [between.join(row) for row in ([*rows[0]], *(r.values() for r in rows))]
        path.write_text("\n".join(lines) + "\n")

    found = read_preference_table(str(path))

    assert values(found) == [("a cat", A, B, "jane", 0.5, B), ("a cat", A, B, None, None, None)]
    first = 2 if ending in ("csv", "tsv") else 1
    assert [pair.where[1] for pair in found] == [first, first + 1]


def test_parquet_may_hold_ids_as_bytes_or_uuids(tmp_path):
    """And margins as numbers; a folder is read in the order of its files' names."""
    plain = pa.table({"prompt": ["x"], "winner": [A], "loser": [B], "margin": [2]})
    ids = [pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i], pa.binary(16))) for i in (B, A)]
    folder = tmp_path / "pairs"
    folder.mkdir()
    pq.write_table(
        pa.table({"prompt": ["y"], "winner": ids[0], "loser": ids[1]}), folder / "2.parquet"
    )
    pq.write_table(plain, folder / "1.parquet")
    (folder / "notes.txt").write_text("not a table")

    found = read_preference_table(str(folder))

    assert values(found) == [("x", A, B, None, 2.0, None), ("y", B, A, None, None, None)]


def test_a_table_may_lie_on_any_store():
    """A URL is read as a path is, a folder too."""
    store = Store("memory://preferences")
    store.put("table/pairs.jsonl", json.dumps(ROW).encode())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: [value] for name, value in ROW.items()}), sink)
    store.put("folder/part.parquet", sink.getvalue().to_pybytes())

    one = read_preference_table("memory://preferences/table/pairs.jsonl")
    other = read_preference_table("memory://preferences/folder/")

    assert values(one) == values(other) == [("a cat", A, B, None, None, None)]


def test_images_may_be_named_by_keys(tmp_path):
    """For one side or both."""
    row = {"prompt": "x", "winner_key": "d0/a.png", "loser": B.hex()}

    (found,) = read_preference_table(write(tmp_path / "p.jsonl", row))

    assert (found.winner, found.loser) == ("d0/a.png", B)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "x", "winner": A.hex()}, "row 2: there is no 'loser' or 'loser_key'"),
        ({**ROW, "winner": None}, "row 2: says no winner"),
        ({**ROW, "winner": "0" * 31}, "row 2: winner '0+' is no id; expected a UUID, 32"),
        ({**ROW, "loser": "g" * 32}, "row 2: loser 'g+' is no id"),
        ({**ROW, "loser": 7}, "row 2: loser '7' is no id"),
        ({**ROW, "pair_id": "mine"}, "row 2: pair_id 'mine' is no id"),
        ({**ROW, "prompt": 3}, "row 2: prompt is 3; expected text"),
        ({**ROW, "prompt": "\ud800"}, "row 2: prompt has half a character"),
        ({**ROW, "source": ["a"]}, "row 2: source is .'a'.; expected text"),
        ({**ROW, "margin": -1}, "row 2: margin is -1; expected a number from 0 on"),
        ({**ROW, "margin": "nan"}, "row 2: margin is 'nan'"),
        ({**ROW, "margin": True}, "row 2: margin is True"),
        ({**ROW, "margin": 10**400}, "row 2: margin is 1000"),
        ({**ROW, "winner_key": "a"}, "row 2: has both 'winner' and 'winner_key'"),
    ],
)
def test_a_wrong_row_is_refused_by_its_number(tmp_path, row, sentence):
    """One sentence, with the file, the row and what stands there."""
    path = write(tmp_path / "p.jsonl", ROW, row)

    with pytest.raises(SnapshotError, match=rf"p\.jsonl, {sentence}"):
        read_preference_table(path)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("p.csv", b"prompt,winer,loser\nx,y,z\n", r"no 'winner'.*\(did you mean winer\?\)"),
        ("p.csv", b"prompt,winner,loser\nx,y\n", "line 2: 2 fields, and the header has 3"),
        ("p.csv", b"prompt,winner,loser\n", "no pair is in the table"),
        ("p.jsonl", b"[1]\n", "line 1: no JSON object"),
        ("p.jsonl", b"\xff\n", "line 1: not UTF-8"),
        ("p.parquet", b"PAR1", "cannot be read as Parquet"),
        ("p.txt", b"x", "the format is not known"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, data, sentence):
    """Before anything is decided."""
    (tmp_path / name).write_bytes(data)

    with pytest.raises(UsageError, match=sentence):
        read_preference_table(str(tmp_path / name))


def test_a_table_that_is_not_there_is_refused(tmp_path):
    """And so are a folder without Parquet and a column of another type."""
    with pytest.raises(SnapshotError, match="there is no such table"):
        read_preference_table(str(tmp_path / "p.jsonl"))
    with pytest.raises(SnapshotError, match=r"has no \.parquet file"):
        read_preference_table(str(tmp_path))
    pq.write_table(
        pa.table({"prompt": ["x"], "winner": [1.5], "loser": ["y"]}), tmp_path / "p.parquet"
    )
    with pytest.raises(SnapshotError, match="'winner' is double; expected text"):
        read_preference_table(str(tmp_path / "p.parquet"))
