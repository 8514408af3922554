"""DuckDB for our own queries: Arrow tables, and nothing else."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from curation import duck
from curation.errors import QueryError


def test_reads_registered_arrow_tables():
    """A table is read under the name that it was given, and the connection can be used again."""
    with duck.connect() as connection:
        connection.register("t", pa.table({"a": [1, 2, 3]}))

        assert duck.query(connection, "SELECT sum(a) AS s FROM t").to_pylist() == [{"s": 6}]
        assert duck.query(connection, "SELECT max(a) AS m FROM t").to_pylist() == [{"m": 3}]


def test_sees_no_python_variable_and_no_file(tmp_path):
    """Only what was registered can be read, whatever stands in the caller's frame."""
    variable = pa.table({"a": [1]})
    file = tmp_path / "a.csv"
    file.write_text("a\n1\n")

    with duck.connect() as connection:
        with pytest.raises(QueryError, match="Table with name variable does not exist"):
            duck.query(connection, "SELECT * FROM variable")
        with pytest.raises(QueryError, match="disabled by configuration"):
            duck.query(connection, f"SELECT * FROM read_csv('{file}')")
        with pytest.raises(QueryError, match="locked"):
            duck.query(connection, "SET threads = 2")
    assert len(variable) == 1


def test_spills_where_it_is_told_and_cleans_up(tmp_path):
    """A sort larger than the memory limit goes through the folder given for it."""
    numbers = pa.table({"a": pa.array(range(2_000_000))})
    text = "SELECT max(r) AS m FROM (SELECT row_number() OVER (ORDER BY hash(a), a) AS r FROM t)"

    with duck.connect(48 << 20, 1, tmp_path) as connection:
        connection.register("t", numbers)
        assert duck.query(connection, text).to_pylist() == [{"m": 2_000_000}]
    with duck.connect(48 << 20) as connection:
        connection.register("t", numbers)
        with pytest.raises(QueryError, match="memory"):
            duck.query(connection, text)

    assert list(tmp_path.iterdir()) == []


def test_times_are_utc():
    """The machine's time zone decides nothing."""
    with duck.connect() as connection:
        table = duck.query(connection, "SELECT TIMESTAMPTZ '2026-01-01' = '2026-01-01 00:00Z' AS u")

    assert table.to_pylist() == [{"u": True}]


def test_an_open_connection_is_closed_by_with():
    """The interpreter's exit can hang on an open connection, so `with` must close it."""
    with duck.connect() as connection:
        pass

    with pytest.raises(duckdb.Error, match="closed"):
        connection.sql("SELECT 1")


def test_the_syntax_tree_is_that_of_one_select():
    """Other modules check expressions on the same tree."""
    tree = duck.syntax_tree("SELECT a + 1 FROM t")

    (statement,) = tree["statements"]
    assert statement["node"]["from_table"]["table_name"] == "t"
    with pytest.raises(QueryError, match="the SQL is wrong"):
        duck.syntax_tree("SELECT FROM WHERE")


def test_memory_and_threads_are_those_of_the_machine():
    """The defaults are positive and no more than the machine has."""
    assert duck.machine_memory_bytes() > 1 << 20
    assert duck.machine_threads() >= 1


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("explain select 1", "explain select 1"),
        ("-- why\nEXPLAIN  ANALYZE\nFROM t", "EXPLAIN  ANALYZE FROM t"),
        ("/* a */ SELECT 1;", "SELECT 1;"),
    ],
)
def test_explain_is_checked_without_its_first_word(text, runs):
    """What is explained is checked as a statement of its own, and then runs under EXPLAIN."""
    assert duck.parse(text, ["t"]).text == runs


def test_a_statement_says_what_it_reads():
    """Tables by name; columns by every word, or all of them where some are not named."""
    named = duck.parse("SELECT A.x FROM t AS a WHERE y > 1", ["t", "u"]).uses
    starred = duck.parse("SELECT * FROM t JOIN u USING (x)", ["t", "u"]).uses

    assert (sorted(named.tables), sorted(starred.tables)) == (["t"], ["t", "u"])
    assert [named.may_read(column) for column in ("X", "y", "z")] == [True, True, False]
    assert starred.may_read("z")


INTERRUPTED = """
import os, signal, sys, threading
from curation import duck

signal.signal(signal.SIGINT, signal.default_int_handler)
statement = duck.parse(sys.argv[1], [])
for delay_s in (0.02, 0.1, 0.2, 0.3, 0.4):
    timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with duck.confined(statement, views={}, threads=3) as result:
            result.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        # All of it before the first row; and row by row, while the result is read.
        "SELECT sum(hash(a.i * b.i) % 7) FROM range(1000000) a(i), range(1000000) b(i)",
        "SELECT a.i FROM range(1000000) a(i), range(1000000) b(i) WHERE hash(a.i * b.i) = 1",
    ],
)
def test_ctrl_c_ends_a_query_on_several_threads(text):
    """DuckDB may forget that it was interrupted; the query must end every time, not mostly."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, text],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["interrupted"] * 5, "")
