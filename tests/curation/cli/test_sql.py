"""`longtail sql`: results as a table, CSV, JSON and Parquet."""

import csv
import io
import json
import uuid

import pyarrow.parquet as pq
import pytest

from curation.tables import write_table
from schemas import dataset as layout
from tests.curation.cli.cli_runs import longtail
from tests.curation.small_dataset import (
    image_id,
    images_table,
    make_bare_dataset,
    tree_digest,
)

IDENTITY = "SELECT image_id, row, 'a'::BLOB AS bytes, source_key FROM images ORDER BY shard, row"


@pytest.fixture
def dataset(tmp_path):
    """A dataset whose stages are those of the registry, which is to say none."""
    make_bare_dataset(tmp_path / "small")
    return tmp_path / "small"


def test_prints_a_table_that_people_can_read(dataset, capsys):
    """Identifiers and bytes are text, and in a pipe nothing is cut off."""
    ran = longtail(capsys, "sql", dataset, IDENTITY)

    assert (ran.code, ran.err) == (0, "")
    header, _, first, *_ = ran.out.splitlines()
    assert header.split() == ["image_id", "row", "bytes", "source_key"]
    assert first.split() == [str(uuid.UUID(bytes=image_id(0, 0))), "0", "61", "s0/r0.png"]
    assert "\x1b" not in ran.out


def test_a_long_table_stops_and_says_so(dataset, capsys):
    """What is left out is said where it does not get into the data."""
    ran = longtail(capsys, "sql", dataset, "SELECT i FROM range(500) t(i)")

    assert ran.out.splitlines()[-1].strip() == "99"
    assert ran.err == "only the first 100 rows are shown; --format csv prints all\n"


def test_hostile_text_cannot_move_the_cursor(dataset, capsys):
    """A file name with escape sequences is shown as its escapes, without markup."""
    text = "SELECT chr(27) || '[2J' || chr(8238) || '[red]x[/red]' AS name"

    ran = longtail(capsys, "sql", dataset, text)

    assert ran.out.splitlines()[-1].strip() == r"\x1b[2J\u202e[red]x[/red]"


def test_csv_has_every_row_and_no_rounding(dataset, capsys):
    """Null is empty, bytes are hexadecimal, lists are JSON."""
    text = "SELECT 0.1::DOUBLE + 0.2 AS f, NULL AS n, 'a,\"b' AS s, '\\xFF'::BLOB AS b, [1, 2] AS l"

    ran = longtail(capsys, "sql", dataset, text, "--format", "csv")

    assert list(csv.reader(io.StringIO(ran.out))) == [
        ["f", "n", "s", "b", "l"],
        ["0.30000000000000004", "", 'a,"b', "ff", "[1, 2]"],
    ]


def test_json_is_one_array(dataset, capsys):
    """Whole decimals are numbers, structs are objects, NaN is null."""
    text = (
        "SELECT sum(row) AS total, {'a': max(image_id)} AS s, 'nan'::DOUBLE AS nan, "
        "DATE '2026-01-02' AS d FROM images WHERE shard = 0 AND row = 0"
    )

    ran = longtail(capsys, "sql", dataset, text, "--format", "json")

    assert json.loads(ran.out) == [
        {
            "total": 0,
            "s": {"a": str(uuid.UUID(bytes=image_id(0, 0)))},
            "nan": None,
            "d": "2026-01-02",
        }
    ]


def test_json_of_no_row_is_an_empty_array(dataset, capsys):
    """Whoever reads it need not know whether there were rows."""
    ran = longtail(capsys, "sql", dataset, "FROM images LIMIT 0", "--format", "json")

    assert json.loads(ran.out) == []


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_writes_a_file_by_its_name(dataset, tmp_path, capsys, suffix):
    """The result goes whole to the file, and nothing else is left beside it."""
    output = tmp_path / f"out.{suffix}"

    ran = longtail(capsys, "sql", dataset, IDENTITY, "--output", output)

    assert (ran.code, ran.out) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "small"]
    text = output.read_text(errors="replace")
    rows = {
        "csv": lambda: len(list(csv.DictReader(io.StringIO(text)))),
        "json": lambda: len(json.loads(text)),
        "parquet": lambda: pq.read_table(output).num_rows,
    }[suffix]()
    assert rows == 12


def test_a_failed_query_leaves_the_old_file(dataset, tmp_path, capsys):
    """A conversion that fails on the way does not leave half a result."""
    output = tmp_path / "out.csv"
    output.write_text("old")

    ran = longtail(capsys, "sql", dataset, "SELECT source_key::INT FROM images", "-o", output)

    assert ran.code == 2
    assert ran.err.startswith("error: the SQL is wrong: Could not convert string")
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "small"]


def test_never_writes_inside_a_dataset(dataset, tmp_path, capsys):
    """Neither directly, nor through a link, nor over a shard."""
    (tmp_path / "link").symlink_to(dataset)
    before = tree_digest(dataset)

    for output in (
        dataset / "out.csv",
        dataset / "images" / "out.csv",
        tmp_path / "link" / "out.csv",
        dataset / layout.images_path(0),
    ):
        ran = longtail(capsys, "sql", dataset, "SELECT 1", "-o", output, "--format", "csv")
        assert ran.code == 2
        assert "is a dataset; name a file outside it" in ran.err

    assert tree_digest(dataset) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "parquet"], "--format parquet: name a file with --output"),
        (["-o", "out.txt"], "--output out.txt: say --format csv, json or parquet"),
        (["-o", "out", "--format", "table"], "--output out: say --format csv, json or parquet"),
        (["-o", "/no/such/folder/out.csv"], "cannot be written: No such file or directory"),
    ],
)
def test_says_what_is_wrong_with_the_output(dataset, capsys, arguments, sentence):
    """A format that cannot be is refused before anything is asked."""
    ran = longtail(capsys, "sql", dataset, "SELECT 1", *arguments)

    assert ran.code in (1, 2)
    assert ran.out == ""
    assert sentence in ran.err


def test_explain_prints_the_plan(dataset, capsys):
    """The plan stands as DuckDB draws it."""
    ran = longtail(capsys, "sql", dataset, "EXPLAIN SELECT source_key FROM rows")

    assert "Read Parquet" in ran.out
    assert "explain_key" not in ran.out


def test_a_hostile_column_name_is_escaped_too(dataset, capsys):
    """Names of columns come from the statement, which may have been pasted."""
    ran = longtail(capsys, "sql", dataset, 'SELECT 1 AS "\x1b[31m"')

    assert ran.out.splitlines()[0].strip() == r"\x1b[31m"


def test_a_new_shard_is_seen_by_the_next_query(dataset, capsys):
    """There is no state but the files."""
    from curation.dataset import Dataset

    write_table(Dataset.open(str(dataset)).store, layout.images_path(3), images_table(3))

    ran = longtail(capsys, "sql", dataset, "SELECT count(*) AS n FROM rows", "--format", "csv")

    assert ran.out == "n\n16\n"
