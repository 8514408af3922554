"""The only module that opens DuckDB: for our own queries, and confined for users'.

`connect` gives a database in memory that reads registered Arrow tables and nothing else. `confined`
runs one statement of a user: checked on its syntax tree, on a connection that can open only the
files named to it, with its configuration locked.
"""

import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from curation.config import nearest
from curation.confine import Uses, check_tree
from curation.errors import QueryError

T = TypeVar("T")

BATCH_ROWS = 16384
"""Rows in a batch of a result."""

_MEMORY_SHARE = 2
"""DuckDB's limit is the machine's memory divided by this: Arrow, Python and others need some."""

_INTERRUPT_EVERY_S = 0.05

_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(explain(?:\s+analyze)?)\b", re.IGNORECASE | re.DOTALL
)


def connect(
    memory_limit_bytes: int | None = None, threads: int = 1, spill: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that can read registered Arrow tables and no file.

    Use it in a `with`: a connection left open can hang the interpreter's exit in DuckDB 2.0.0.
    Results stream: read one whole (`.sql(...).to_arrow_table()`) before the next query.

    Args:
        memory_limit_bytes: What DuckDB may hold; null for half of the machine's.
        threads: More than one makes float aggregates differ from run to run.
        spill: Folder for what does not fit; null to fail instead.
    """
    connection = _open(memory_limit_bytes, threads, spill)
    _lock(connection, [])
    return connection


def query(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """Run a query of ours and return its whole result, so that the connection is free again.

    Raises:
        QueryError: DuckDB's words, in a sentence.
    """
    with _explained(()):
        result: pa.Table = _interruptibly(connection, lambda: connection.sql(text).to_arrow_table())
    return result


@dataclass(frozen=True)
class Statement:
    """A user's statement that passed every check.

    Attributes:
        text: What will run.
        uses: What it reads.
    """

    text: str
    uses: Uses


def parse(text: str, offered: Collection[str]) -> Statement:
    """Check that `text` is exactly one SELECT, or EXPLAIN of one, over the offered tables.

    `FROM x`, `VALUES`, `WITH`, `TABLE x`, `DESCRIBE x` and `SUMMARIZE x` are SELECTs too.

    Raises:
        QueryError: It is not; or it reads other tables, or writes.
    """
    prefix = ""
    if match := _EXPLAIN.match(text):
        # EXPLAIN ANALYZE runs its statement, so that one is checked like any other.
        prefix, text = f"{match[1]} ", text[match.end() :]
    with _explained(()):
        statements = duckdb.extract_statements(text)
    if len(statements) != 1:
        message = f"expected one SELECT or EXPLAIN, found {len(statements)} statements"
        raise QueryError(message)
    try:
        kind = statements[0].type.name
    except ValueError:  # CONNECT and others, for which the binding has no name
        kind = "this statement"
    if kind == "MULTI":
        message = "PIVOT needs its values here, as in PIVOT x ON a IN (1, 2) USING count(*)"
        raise QueryError(message)
    if kind != "SELECT":
        raise _refused(kind)
    query = statements[0].query.strip()
    return Statement(prefix + query, check_tree(syntax_tree(query), offered))


def syntax_tree(query: str) -> dict[str, Any]:
    """Return the syntax tree of one SELECT, as `json_serialize_sql` gives it.

    Raises:
        QueryError: It is no SELECT, wrong, or nested too deeply.
    """
    with connect() as connection:
        connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query])
        (text,) = connection.fetchall()[0]
    try:
        tree: dict[str, Any] = json.loads(text)
    except RecursionError as error:
        message = "the SQL is nested too deeply"
        raise QueryError(message) from error
    if tree["error"]:
        message = f"the SQL is wrong: {tree.get('error_message', 'it is no SELECT')}"
        raise QueryError(message)
    return tree


class Result:
    """The answer to a statement, as a stream of Arrow batches.

    Identifiers are text and 128-bit integers are decimals without fraction, so every reader of
    Arrow takes it.

    Attributes:
        schema: Its columns.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, reader: Any, known: Collection[str]
    ) -> None:
        self.schema: pa.Schema = reader.schema
        self._connection = connection
        self._reader = reader
        self._known = known

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, once.

        Raises:
            QueryError: A value did not fit, or memory ran out, on the way.
        """
        while True:
            with _explained(self._known):
                batch = _interruptibly(self._connection, lambda: next(self._reader, None))
            if batch is None:
                return
            yield batch

    def read(self) -> pa.Table:
        """Return what is left, whole."""
        return pa.Table.from_batches(list(self.batches()), schema=self.schema)


@contextmanager
def confined(
    statement: Statement,
    *,
    views: Mapping[str, str],
    files: Sequence[str] = (),
    sources: Mapping[str, Any] | None = None,
    known: Collection[str] = (),
    memory_limit_bytes: int | None = None,
    threads: int | None = None,
) -> Iterator[Result]:
    """Run a checked statement where it can reach nothing but what is named here.

    Args:
        statement: From `parse`.
        views: Table name -> SELECT of ours, over `files` and `sources`.
        files: Local paths that the views read; nothing else can be opened.
        sources: Name -> Arrow table or dataset, for what is not a local file.
        known: Names of columns, for hints in errors.
        memory_limit_bytes: What DuckDB may hold; null for half of the machine's or container's.
        threads: Null for the machine's or container's cores.

    Raises:
        QueryError: DuckDB's words, in a sentence.
    """
    threads = threads or machine_threads()
    with (
        tempfile.TemporaryDirectory(prefix="longtail-sql-") as spill,
        _open(memory_limit_bytes, threads, Path(spill)) as connection,
    ):
        with _explained(known):
            for name, source in (sources or {}).items():
                connection.register(name, source)
        _lock(connection, files)
        with _explained(known):
            for name, view in views.items():
                connection.execute(f"CREATE VIEW {quoted(name)} AS {view}")
                connection.fetchall()
            reader = _interruptibly(
                connection, lambda: connection.sql(statement.text).to_arrow_reader(BATCH_ROWS)
            )
        yield Result(connection, reader, known)


def quoted(name: str) -> str:
    """Return `name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: str) -> str:
    """Return `value` as a SQL string."""
    return "'" + value.replace("'", "''") + "'"


def parquet_scan(files: Sequence[str]) -> str:
    """Return the SQL that reads exactly these files; folder names such as `a=1` add no column."""
    listed = ", ".join(text_literal(file) for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def machine_memory_bytes() -> int:
    """Return the memory of the machine, or of the container where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
        text = _read(f"/sys/fs/cgroup/{name}")
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def machine_threads() -> int:
    """Return the cores that this process may use, or the container's share where that is less."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _open(
    memory_limit_bytes: int | None, threads: int, spill: Path | None
) -> duckdb.DuckDBPyConnection:
    memory = memory_limit_bytes or machine_memory_bytes() // _MEMORY_SHARE
    return duckdb.connect(
        ":memory:",
        config={
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{max(memory >> 20, 1)}MiB",
            # Otherwise a name in SQL finds the variables of our own Python frames.
            "python_enable_replacements": "false",
            "temp_directory": str(spill) if spill else "",
            "threads": str(threads),
        },
    )


def _lock(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Shut every door but `files`, for good."""
    if files:
        listed = ", ".join(text_literal(file) for file in files)
        connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _interruptibly(connection: duckdb.DuckDBPyConnection, call: Callable[[], T]) -> T:
    """Return what `call` returns; Ctrl-C ends the query that it runs, and then raises as ever.

    The call gets a thread of its own, so the signal reaches Python and not DuckDB: on several
    threads DuckDB 2.0.0 forgets an interruption while it cancels, and waits for a query that goes
    on. Here it is told again until the query has ended.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            outcome.set_exception(error)

    thread = threading.Thread(target=work, name="longtail-duckdb", daemon=True)
    try:
        thread.start()
        return outcome.result()
    except KeyboardInterrupt:
        # Not `is_alive`: Python 3.11 takes a thread for ended whose `join` was interrupted.
        while thread.ident is not None and not outcome.done():
            try:
                connection.interrupt()
                wait([outcome], _INTERRUPT_EVERY_S)
            except KeyboardInterrupt:
                continue  # an impatient user; the query ends all the same
        raise


@contextmanager
def _explained(known: Collection[str]) -> Iterator[None]:
    """Turn DuckDB's errors into sentences."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _wrong(error, known) from error


def _refused(kind: str) -> QueryError:
    message = f"{kind} is refused: expected one SELECT, or EXPLAIN of one; nothing was changed"
    return QueryError(message)


def _wrong(error: Exception, known: Collection[str]) -> QueryError:
    """Put DuckDB's words in a sentence, with the nearest column that there is."""
    words = str(error)
    line = re.search(r"\n\nLINE \d+: (.*)", words)
    # Behind these follow long lists of overloads or columns, and a drawing of the place.
    words = re.split(r"\n\nLINE|\n\s*Candidate (?:functions|bindings)|\n\nHint", words)[0]
    words = re.sub(r"^(?:\w+ )*Error: ", "", words)
    words = " ".join(words.split()).rstrip("!.")
    hint = ""
    if name := re.search(r'column (?:named )?"(.+?)"', words):
        hint = nearest(name[1].rsplit(".", 1)[-1], sorted(known))
    near = f", in: {line[1].strip()}" if line else ""
    return QueryError(f"the SQL is wrong: {words}{hint}{near}")
