"""Expressions are one value over one row; everything else is refused in a sentence."""

import pytest

from curation.errors import SnapshotError
from curation.snapshot.expressions import collapse_whitespace, parse_expression

KNOWN = ["inspect_width", "inspect_height", "source_key", "metadata", "ocr_words", "taken_at"]


def parse(text):
    """Check `text` as a predicate called `p`."""
    return parse_expression("p", text, KNOWN, "snapshot.where.p")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("inspect_width >= 512 AND inspect_height >= 512", {"inspect_width", "inspect_height"}),
        ("Inspect_Width BETWEEN 1 AND 2", {"inspect_width"}),
        ("source_key LIKE 'a%' OR source_key ~ '^b'", {"source_key"}),
        ("metadata->>'$.camera' = 'x'", {"metadata"}),
        ("CASE WHEN inspect_width > 1 THEN true ELSE false END", {"inspect_width"}),
        (
            "len(list_filter(ocr_words, lambda w: len(w) > inspect_width)) > 3",
            {"ocr_words", "inspect_width"},
        ),
        ("[w for w in ocr_words if w <> 'x'] <> []", {"ocr_words"}),
        ("nullif(inspect_width, inspect_height) IS NULL", {"inspect_width", "inspect_height"}),
        ("split_part(source_key, '/', 1) = 'a'", {"source_key"}),
        ("TRY_CAST(source_key AS INTEGER) > 3", {"source_key"}),
        ("source_key COLLATE nocase IN ('a', 'b;--')", {"source_key"}),
        ("true", set()),
    ],
)
def test_plain_expressions_pass_and_name_their_columns(text, columns):
    """What computes a value from a row is allowed."""
    assert parse(text).columns == columns


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1=1) ; DROP TABLE rows; SELECT (1", "expected one SQL expression"),
        ("1=1) ; DROP", "expected one SQL expression"),
        ("1=1); SELECT (1", "more than that"),
        ("true) FROM rows WHERE (true", "expected one SQL expression"),
        ("1) UNION SELECT (1", "more than that"),
        ("1) FROM range(3) AS rows --", "comments are refused"),
        ("true /* x */", "comments are refused"),
        ("true, false) FROM rows; COPY rows TO ('x'", "expected one SQL expression"),
        ("inspect_width > 1 AS x", "expected one SQL expression"),
        ("", "found nothing"),
        ("  \n ", "found nothing"),
        ("EXISTS (SELECT 1)", "a subquery is refused"),
        ("inspect_width IN (SELECT 1)", "a subquery is refused"),
        ("inspect_width = (FROM rows)", "a subquery is refused"),
        ("TABLE rows", "a subquery is refused"),
        ("count(*) > 1", "is refused"),
        ("max(inspect_width) > 1", r"max\(\), which reads or makes many rows"),
        ("sum(inspect_width) OVER () > 1", "a window function is refused"),
        ("row_number() OVER () > 1", "a window function is refused"),
        ("unnest(ocr_words) = 'a'", r"unnest\(\), which reads or makes many rows"),
        ("read_text('/etc/passwd') = 'a'", r"read_text\(\), which reads or makes many rows"),
        ("random() > 0.5", r"random\(\), which may give another value"),
        ("RANDOM() > 0.5", r"random\(\), which may give another value"),
        ("uuid()::VARCHAR > 'a'", r"uuid\(\), which may give another value"),
        ("taken_at < now()", r"now\(\), which may give another value"),
        ("taken_at < today()", r"today\(\), which may give another value"),
        ("taken_at < ago(INTERVAL 1 DAY)", r"ago\(\), which may give another value"),
        ("taken_at < current_date", "no column current_date"),
        ("taken_at < current_timestamp", "no column current_timestamp"),
        ("nextval('s') > 1", "which may give another value"),
        ("current_setting('threads') = '1'", "which may give another value"),
        ("getvariable('x') = 1", "which may give another value"),
        ("pg_sleep(10) IS NULL", "which may give another value"),
        ("* IS NULL", "is refused"),
        ("COLUMNS('inspect_.*') > 1", "`[*]` is refused"),
        ("#1 > 2", "a column by number is refused"),
        ("? > 2", "a parameter is refused"),
        ("$1 > 2", "is refused"),
        ("$$a  b$$ = source_key", "is refused"),
        ("e'a\\'  b' = source_key", "strings are refused"),
        ("source_key.lower() = 'a'", "is refused"),
        ("rows.inspect_width > 1", "no column rows.inspect_width"),
        ("inspect_widht > 1", r"no column inspect_widht \(did you mean inspect_width\?\)"),
        ("lowerr(source_key) = 'a'", r"did you mean lower\?"),
        ("len(list_filter(ocr_words, lambda w: v > 1)) > 3", "no column v"),
        ("DEFAULT", "is refused"),
    ],
)
def test_everything_else_is_refused(text, sentence):
    """Injection, many rows, side doors and draws of luck are refused before anything runs."""
    with pytest.raises(SnapshotError, match=sentence) as caught:
        parse(text)

    assert str(caught.value).startswith("snapshot.where.p: ")


@pytest.mark.parametrize(
    ("text", "collapsed"),
    [
        (" a\n  >\t1 ", "a > 1"),
        ("a = 'x  y'  AND  \"b  c\" > 1", "a = 'x  y' AND \"b  c\" > 1"),
        ("a = 'it''s  so'   AND b", "a = 'it''s  so' AND b"),
        ("a = 'e'   AND  b", "a = 'e' AND b"),
    ],
)
def test_whitespace_collapses_outside_quotes_only(text, collapsed):
    """Layout is no difference between two snapshots, the inside of a string is."""
    assert collapse_whitespace(text, "x") == collapsed
