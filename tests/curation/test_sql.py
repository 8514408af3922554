"""What a user's SQL sees, and everything that it is refused."""

import itertools
import json
import uuid

import numpy as np
import pyarrow as pa
import pytest

from curation.dataset import Dataset
from curation.errors import QueryError, UsageError
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.instances import Registry
from curation.pipeline.stage import Shard, with_identity
from curation.sql import open_tables
from curation.tables import conform, write_table
from schemas import dataset as layout
from schemas.columns import IDENTITY, column, table
from tests.curation.small_dataset import (
    ERROR,
    PIPELINE,
    REGISTRY,
    SizeConfig,
    SizeStage,
    image_id,
    make_small_dataset,
    tree_digest,
)

_numbers = itertools.count()


@pytest.fixture(params=["local", "pattern", "memory"])
def tables(request, tmp_path):
    """The tables of a local dataset, one whose path looks like a pattern, and a remote one."""
    url = {
        "local": tmp_path / "small",
        "pattern": tmp_path / "a[1]" / "x=1",
        "memory": f"memory://sql-{next(_numbers)}",
    }[request.param]
    return open_tables(make_small_dataset(url), REGISTRY)


def rows_of(tables, text):
    with tables.query(text) as result:
        return result.read().to_pylist()


def test_identifiers_are_compared_wherever_the_files_are(tables):
    """Filters and joins reach what reads the files, which compares no UUIDs if it is not DuckDB."""
    (first, *_), count = rows_of(tables, "SELECT image_id FROM rows ORDER BY 1"), 12

    one = rows_of(tables, f"SELECT shard FROM rows WHERE image_id = '{first['image_id']}'::UUID")
    more = rows_of(
        tables,
        "SELECT count(*) AS n FROM rows a JOIN images b ON a.image_id = b.image_id "
        f"WHERE a.image_id >= '{first['image_id']}'::UUID",
    )

    assert len(one) == 1
    assert more == [{"n": count}]


def test_offers_images_rows_instances_and_snapshots(tables):
    """Every instance is a table, and rows holds all their columns without the image bytes."""
    assert list(tables.tables) == ["images", "rows", "size", "score", "decisions", "snapshots"]
    assert "image_bytes" not in tables.tables["rows"].schema.names
    assert tables.tables["rows"].schema.names[-4:] == [
        "size_width",
        "size_error",
        "score_value",
        "score_error",
    ]


def test_rows_joins_every_instance_by_shard_and_row(tables):
    """Each image row stands once, beside the values that its stages gave it."""
    found = rows_of(
        tables, "SELECT shard, row, size_width, score_value FROM rows WHERE shard < 2 ORDER BY ALL"
    )

    assert found == [
        {"shard": s, "row": r, "size_width": 100 * (r + 1), "score_value": 20.0 * r}
        for s in range(2)
        for r in range(4)
    ]


def test_a_shard_that_an_instance_lacks_is_null_in_rows(tables):
    """Rows are never lost because a stage is not finished."""
    found = rows_of(
        tables, "SELECT shard, count(*) n, count(score_value) v FROM rows GROUP BY ALL ORDER BY ALL"
    )

    assert found == [
        {"shard": 0, "n": 4, "v": 4},
        {"shard": 1, "n": 4, "v": 4},
        {"shard": 2, "n": 4, "v": 0},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM rows ORDER BY shard, row",
        "SELECT r FROM rows AS r ORDER BY shard, row",
        "SELECT COLUMNS('^score_') FROM rows ORDER BY shard, row",
        "SELECT #19 FROM rows ORDER BY shard, row",
        "FROM rows AS r(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, s, t) ORDER BY a, b",
        "SELECT rows.SCORE_VALUE FROM rows ORDER BY shard, row",
        "SELECT count(*) FROM rows NATURAL JOIN score",
    ],
)
def test_leaving_instances_out_of_the_join_changes_no_answer(tmp_path, text):
    """Whichever way columns are asked for, the answer is that of the whole join."""
    tables = open_tables(make_small_dataset(tmp_path / "small"), REGISTRY)
    whole = "WITH rows AS (SELECT * FROM rows) "

    assert rows_of(tables, text) == rows_of(tables, whole + text)
    assert rows_of(tables, text)


def test_an_instance_that_is_not_named_is_not_read(tmp_path):
    """A question about one stage does not open the files of another."""
    dataset = make_small_dataset(tmp_path / "small")
    tables = open_tables(dataset, REGISTRY)
    for path in (tmp_path / "small" / "score").rglob("*.parquet"):
        path.write_bytes(b"not Parquet")

    assert rows_of(tables, "SELECT max(size_width) AS w FROM rows") == [{"w": 400}]
    with pytest.raises(QueryError, match="the SQL is wrong"):
        rows_of(tables, "SELECT max(score_value) FROM rows")


def test_identifiers_are_uuids(tables):
    """An image_id is written and read in the usual notation."""
    text = str(uuid.UUID(bytes=image_id(1, 2)))

    found = rows_of(tables, f"SELECT image_id, source_key FROM images WHERE image_id = '{text}'")

    assert found == [{"image_id": text, "source_key": "s1/r2.png"}]


def test_decisions_and_snapshots_tell_why_rows_are_out(tables):
    """The question that snapshots are for is one query."""
    assert rows_of(
        tables,
        "SELECT snapshot_id, reason, count(*) AS n FROM decisions WHERE NOT kept GROUP BY ALL",
    ) == [{"snapshot_id": "0123456789abcdef", "reason": "odd", "n": 6}]
    assert rows_of(tables, "SELECT snapshot_id, num_rows, num_kept FROM snapshots") == [
        {"snapshot_id": "0123456789abcdef", "num_rows": 12, "num_kept": 6}
    ]


def test_an_instance_without_files_is_an_empty_table(tmp_path):
    """Before a stage has run, its table is there, with its columns and no row."""
    missing = [(shard, "score") for shard in range(3)]
    tables = open_tables(
        make_small_dataset(tmp_path / "small", missing=missing, snapshot=None), REGISTRY
    )

    with tables.query("FROM score") as result:
        found = result.read()
    assert found.column_names == ["shard", "row", "image_id", "score_value", "score_error"]
    assert (len(found), found.schema.field("score_value").type) == (0, pa.float32())
    assert rows_of(tables, "SELECT count(*) AS n FROM decisions") == [{"n": 0}]
    assert rows_of(tables, "SELECT count(*) AS n, count(score_value) AS v FROM rows") == [
        {"n": 12, "v": 0}
    ]


VECTOR = table(
    "vector",
    column("whole", pa.list_(pa.field("element", pa.float16()), 2), "Two numbers."),
    column("half", pa.float16(), "One number."),
    ERROR,
)


class VectorStage(SizeStage):
    """Writes types that DuckDB reads from files and not from Arrow."""

    name = "vector"

    def writes(self):
        return VECTOR

    def process(self, shard):
        halves = pa.array([np.float16(0.5)] * len(shard), pa.float16())
        whole = pa.FixedSizeListArray.from_arrays(pa.concat_arrays([halves, halves]), 2)
        return pa.table(
            [whole.cast(VECTOR[0].type), halves, pa.nulls(len(shard), pa.string())], VECTOR
        )


@pytest.mark.parametrize("url", ["{tmp}/data", "memory://halves"])
def test_half_floats_can_be_asked_for_wherever_the_files_lie(tmp_path, url):
    """Types are the same whether DuckDB opens the files or Arrow does, or there are none."""
    dataset = Dataset.open_or_create(url.format(tmp=tmp_path))
    registry: Registry = {**REGISTRY, "vector": VectorStage}
    text = f"name: a\ndataset: {dataset.store.url}\nstages: {{vector: {{}}}}\n"
    dataset.store.put("pipelines/a.yaml", text.encode())
    query = "SELECT typeof(vector_whole) AS w, vector_whole[2] + vector_half AS s FROM vector"
    tables = open_tables(dataset, registry)
    assert rows_of(tables, query) == []
    assert rows_of(tables, "SELECT typeof(max(vector_whole)) AS w FROM vector") == [
        {"w": "FLOAT[]"}
    ]

    (instance,) = applied_instances(dataset, applied_pipelines(dataset)["a"], registry)
    rows = pa.table(
        {"shard": [0, 0], "row": [0, 1], "image_id": pa.array([bytes(16)] * 2, pa.binary(16))}
    )
    rows = conform(rows, pa.schema(IDENTITY))
    made = with_identity(rows, VectorStage(SizeConfig()).process(Shard(0, rows)), "vector")
    name = layout.instance_path("vector", instance.fingerprint, 0)
    write_table(dataset.store, name, made)

    assert rows_of(open_tables(dataset, registry), query) == [{"w": "FLOAT[]", "s": 1.0}] * 2


def test_a_dataset_before_any_pipeline_has_its_images(tmp_path):
    """What was taken in can be asked for at once."""
    tables = open_tables(Dataset.open_or_create(str(tmp_path / "new")), REGISTRY)

    assert list(tables.tables) == ["images", "rows", "decisions", "snapshots"]
    assert rows_of(tables, "SELECT count(*) AS n FROM rows") == [{"n": 0}]


def test_two_pipelines_must_be_told_apart(tmp_path):
    """With several pipelines a name is asked for, and a wrong one gets the nearest."""
    dataset = make_small_dataset(tmp_path / "small")
    text = PIPELINE.format(url=dataset.store.url).replace("scale: 2", "scale: 3")
    dataset.store.put("pipelines/other.yaml", text.replace("name: small", "name: other").encode())

    with pytest.raises(UsageError, match="choose one with --pipeline: other, small"):
        open_tables(dataset, REGISTRY)
    with pytest.raises(UsageError, match=r"no pipeline 'othr' \(did you mean other\?\)"):
        open_tables(dataset, REGISTRY, "othr")
    other = open_tables(dataset, REGISTRY, "other")
    assert rows_of(other, "SELECT count(*) AS n FROM score") == [{"n": 0}]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("FROM images", 12),
        ("TABLE images", 12),
        ("VALUES (1), (2)", 2),
        ("DESCRIBE score", 5),
        ("SUMMARIZE score", 5),
        ("WITH a AS (FROM size) SELECT * FROM a WHERE row = 0", 3),
        ("WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 5) FROM n", 5),
        ("FROM (PIVOT size ON row IN (0, 1) USING count(size_width) GROUP BY shard)", 3),
        ("UNPIVOT (SELECT shard, row FROM size) ON shard, row", 24),
        ("SELECT i FROM range(3) t(i)", 3),
        ("SELECT DISTINCT size_width FROM main.size QUALIFY rank() OVER (ORDER BY row) < 99", 4),
        ("SELECT list_transform([row], lambda x: x + 1) FROM size LIMIT 2", 2),
        ("EXPLAIN SELECT * FROM rows", 1),
        ("/* why */ EXPLAIN ANALYZE FROM rows -- so", 1),
        ("SELECT ';' AS a; ", 1),
        ("SELECT sum(size_width), avg(score_value), histogram(row) FROM rows", 1),
    ],
)
def test_answers_everything_that_only_reads(tables, text, rows):
    """One SELECT in any of DuckDB's shapes, or EXPLAIN of one, is answered."""
    assert len(rows_of(tables, text)) == rows


REFUSED = {
    "nothing": "",
    "comment": "-- nothing",
    "two": "SELECT 1; SELECT 2",
    "select_then_copy": "SELECT 1; COPY images TO '{out}'",
    "copy": "COPY images TO '{out}'",
    "copy_over_shard": "COPY (SELECT 1) TO '{shard}' (FORMAT csv, USE_TMP_FILE false)",
    "copy_into_dataset": "COPY images TO '{dataset}/new.parquet'",
    "cte_copy": "WITH a AS (COPY images TO '{out}') SELECT * FROM a",
    "cte_copy_over_shard": "WITH a AS (COPY (SELECT 1) TO '{shard}' (FORMAT csv, "
    "USE_TMP_FILE false)) SELECT * FROM a",
    "cte_copy_deep": "SELECT (WITH a AS (COPY (SELECT 1) TO '{shard}' (FORMAT csv, "
    "USE_TMP_FILE false)) SELECT count(*) FROM a)",
    "cte_copy_in_union": "SELECT 1 UNION (WITH a AS (COPY images TO '{shard}') SELECT 1 FROM a)",
    "cte_copy_materialized": "WITH a AS MATERIALIZED (COPY images TO '{shard}') FROM a",
    "cte_insert": "WITH a AS (INSERT INTO images VALUES (1) RETURNING *) FROM a",
    "cte_update": "WITH a AS (UPDATE images SET row = 1 RETURNING *) FROM a",
    "cte_delete": "WITH a AS (DELETE FROM images RETURNING *) FROM a",
    "explain_copy": "EXPLAIN COPY images TO '{out}'",
    "explain_analyze_copy": "EXPLAIN ANALYZE COPY images TO '{out}'",
    "explain_analyze_cte_copy": "EXPLAIN ANALYZE WITH a AS (COPY images TO '{shard}') FROM a",
    "explain_options": "EXPLAIN (ANALYZE) COPY images TO '{out}'",
    "explain_comment": "EXPLAIN /* x */ ANALYZE /* y */ COPY images TO '{out}'",
    "describe_copy": "DESCRIBE (COPY images TO '{out}')",
    "create_table": "CREATE TABLE t AS SELECT 1",
    "create_view": "CREATE OR REPLACE VIEW images AS SELECT 1",
    "create_macro": "CREATE MACRO f(x) AS x",
    "create_function": "CREATE FUNCTION f(x) AS x",
    "create_secret": "CREATE SECRET s (TYPE s3)",
    "create_type": "CREATE TYPE t AS ENUM ('a')",
    "drop": "DROP VIEW images",
    "alter": "ALTER VIEW images RENAME TO x",
    "comment_on": "COMMENT ON VIEW images IS 'x'",
    "insert": "INSERT INTO images VALUES (1)",
    "update": "UPDATE images SET row = 1",
    "delete": "DELETE FROM images",
    "merge": "MERGE INTO images USING size ON true WHEN MATCHED THEN DELETE",
    "truncate": "TRUNCATE images",
    "attach": "ATTACH '{out}' AS other",
    "attach_shard": "ATTACH '{shard}' AS other",
    "detach": "DETACH memory",
    "connect": "CONNECT 'x'",
    "copy_database": "COPY FROM DATABASE memory TO other",
    "export": "EXPORT DATABASE '{dataset}/x'",
    "import": "IMPORT DATABASE '{dataset}'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "update_extensions": "UPDATE EXTENSIONS",
    "set": "SET threads = 1",
    "set_external": "SET enable_external_access = true",
    "set_variable": "SET VARIABLE a = 1",
    "reset": "RESET threads",
    "pragma": "PRAGMA version",
    "pragma_function": "PRAGMA enable_profiling",
    "call": "CALL pragma_version()",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "analyze": "ANALYZE",
    "use": "USE memory",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "prepare": "PREPARE a AS SELECT 1",
    "execute": "EXECUTE a",
    "deallocate": "DEALLOCATE a",
    "show_tables": "SHOW TABLES",
    "show_databases": "SHOW DATABASES",
    "pivot_of_unknown_values": "PIVOT size ON row USING count(*)",
    "parameter": "SELECT ?",
    "named_parameter": "SELECT $a",
    "read_csv": "SELECT * FROM read_csv('{secret}')",
    "read_csv_scalar_position": "SELECT (SELECT max(column0) FROM read_csv('{secret}'))",
    "read_text": "SELECT * FROM read_text('{secret}')",
    "read_blob": "SELECT * FROM read_blob('{secret}')",
    "read_json": "SELECT * FROM read_json('{secret}')",
    "read_parquet": "SELECT * FROM read_parquet('{elsewhere}')",
    "parquet_scan": "SELECT * FROM parquet_scan('{elsewhere}')",
    "parquet_scan_shard": "SELECT * FROM parquet_scan('{shard}')",
    "parquet_metadata": "SELECT * FROM parquet_metadata('{elsewhere}')",
    "read_duckdb": "SELECT * FROM read_duckdb('{secret}')",
    "sniff_csv": "SELECT * FROM sniff_csv('{secret}')",
    "glob": "SELECT * FROM glob('/*')",
    "named_file": "SELECT * FROM '{elsewhere}'",
    "named_file_quoted": 'SELECT * FROM "{elsewhere}"',
    "named_text_file": "SELECT * FROM '{secret}'",
    "named_url": "SELECT * FROM 'https://example.com/a.parquet'",
    "named_file_shadowed": 'SELECT * FROM "{elsewhere}" WHERE EXISTS '
    '(WITH "{elsewhere}" AS (SELECT 1) FROM "{elsewhere}")',
    "python_variable": "SELECT * FROM python_variable",
    "python_variable_shadowed": "SELECT * FROM python_variable WHERE EXISTS "
    "(WITH python_variable AS (SELECT 1) FROM python_variable)",
    "own_source": "SELECT * FROM _source_0",
    "getenv": "SELECT getenv('HOME')",
    "current_setting": "SELECT current_setting('temp_directory')",
    "getvariable": "SELECT getvariable('a')",
    "write_log": "SELECT write_log('x')",
    "sleep": "SELECT sleep_ms(1)",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "which_secret": "SELECT * FROM which_secret('s3://a', 's3')",
    "settings": "SELECT * FROM duckdb_settings()",
    "extensions": "SELECT * FROM duckdb_extensions()",
    "logs": "SELECT * FROM duckdb_logs()",
    "enable_logging": "SELECT * FROM enable_logging(storage_path = '{dataset}')",
    "checkpoint_function": "SELECT * FROM checkpoint()",
    "query": "SELECT * FROM query('FROM images')",
    "query_copy": "FROM query('WITH a AS (COPY images TO ''{shard}'') FROM a')",
    "query_table": "SELECT * FROM query_table('images')",
    "serialized": "SELECT * FROM json_execute_serialized_sql('{{}}')",
    "arrow_scan": "SELECT * FROM arrow_scan(1, 2, 3)",
    "pandas_scan": "SELECT * FROM pandas_scan(1)",
    "import_function": "SELECT * FROM import_database('{dataset}')",
    "lateral_function": "SELECT * FROM images, read_text(source_key)",
    "join_function": "SELECT * FROM images JOIN read_text('{secret}') t ON true",
    "information_schema": "SELECT * FROM information_schema.tables",
    "catalog": "SELECT * FROM system.main.duckdb_tables",
    "pg_catalog": "SELECT * FROM pg_catalog.pg_class",
    "unknown_view": "SELECT * FROM duckdb_tables",
    "at": "SELECT * FROM images AT (VERSION => 1)",
    "syntax": "SELEC 1",
    "open_string": "SELECT 'a",
    "deep": "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "nul": "SELECT 1 \0; COPY images TO '{out}'",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset to ask, another one beside it, and a secret; shared, since nothing may change."""
    folder = tmp_path_factory.mktemp("place")
    make_small_dataset(folder / "small")
    make_small_dataset(folder / "other")
    (folder / "secret.txt").write_text("the secret\n")
    return folder


@pytest.mark.parametrize("name", list(REFUSED))
def test_refuses_everything_else_and_changes_nothing(place, name):
    """Writing, other files, settings and several statements are refused; no byte changes."""
    python_variable = pa.table({"a": [1]})
    text = REFUSED[name].format(
        dataset=place / "small",
        shard=place / "small" / layout.images_path(0),
        elsewhere=place / "other" / layout.images_path(0),
        out=place / "out.parquet",
        secret=place / "secret.txt",
    )
    tables = open_tables(Dataset.open(str(place / "small")), REGISTRY)
    before = tree_digest(place)

    with pytest.raises(QueryError) as caught, tables.query(text) as result:
        result.read()

    assert tree_digest(place) == before
    assert "the secret" not in str(caught.value)
    assert len(python_variable) == 1


def test_refusal_does_not_rest_on_the_statement_alone(tmp_path):
    """Even a statement that slipped through the check opens no file that is not a view's."""
    from curation import duck
    from curation.confine import Uses

    (tmp_path / "secret.txt").write_text("the secret\n")
    for text in (
        f"SELECT * FROM read_text('{tmp_path}/secret.txt')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/out.duckdb'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "INSTALL httpfs",
    ):
        slipped = duck.Statement(text, Uses(frozenset(), None))
        with pytest.raises(QueryError), duck.confined(slipped, views={}) as result:
            result.read()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "SELECT * FROM imagse",
            "there is no table 'imagse' (did you mean images?); the tables are images, rows, size,",
        ),
        (
            "SELECT size_widht FROM rows",
            'Referenced column "size_widht" not found in FROM clause (did you mean size_width?)',
        ),
        (
            "SELECT * FORM rows",
            'syntax error at or near "rows", in: SELECT * FORM rows',
        ),
        (
            "COPY rows TO 'x'",
            "COPY is refused: expected one SELECT, or EXPLAIN of one; nothing was changed",
        ),
        ("SELECT 1; SELECT 2", "expected one SELECT or EXPLAIN, found 2 statements"),
        (
            # One row: with more, DuckDB's threads race for which of them is named.
            "SELECT source_key::INTEGER FROM images WHERE source_key = 's0/r0.png'",
            "Could not convert string 's0/r0.png' to INT32",
        ),
    ],
)
def test_a_wrong_statement_gets_one_sentence(tmp_path, text, sentence):
    """The sentence has DuckDB's words and the nearest name."""
    tables = open_tables(make_small_dataset(tmp_path / "small"), REGISTRY)

    with pytest.raises(QueryError) as caught:
        rows_of(tables, text)

    assert str(caught.value).removeprefix("the SQL is wrong: ").startswith(sentence)
    assert "\n" not in str(caught.value)


def test_shows_the_groups_of_the_shards_that_there_are(tmp_path):
    """Of several relation answers, that of all present shards is shown, and a stale one says so."""
    from tests.curation.relation_dataset import RELATION_REGISTRY, add_relation

    dataset = make_small_dataset(tmp_path / "small")
    add_relation(dataset, {"old": [0, 1], "new": [0, 1, 2]})
    tables = open_tables(dataset, RELATION_REGISTRY, "related")

    assert rows_of(tables, "SELECT DISTINCT dup_group AS g FROM dup") == [{"g": "new"}]
    assert rows_of(tables, "SELECT count(dup_group) AS n FROM rows") == [{"n": 12}]

    older = make_small_dataset(tmp_path / "older")
    add_relation(older, {"old": [0, 1]})
    tables = open_tables(older, RELATION_REGISTRY, "related")
    assert "stale: 1 newer shards" in tables.tables["dup"].doc
    assert rows_of(tables, "SELECT count(*) AS n, count(dup_group) AS g FROM rows") == [
        {"n": 12, "g": 8}
    ]


def test_snapshot_rows_are_json_text(tmp_path):
    """The whole manifest can be asked with DuckDB's JSON functions."""
    tables = open_tables(make_small_dataset(tmp_path / "small"), REGISTRY)

    (row,) = rows_of(tables, "SELECT manifest FROM snapshots")

    assert json.loads(row["manifest"])["conservation"]["kept"] == 6
    assert rows_of(tables, "SELECT manifest->>'num_draws' AS k FROM snapshots") == [{"k": "6"}]
