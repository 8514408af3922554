"""Where images come from and what they are: sources, formats, colour, licences, splits."""

from dataclasses import dataclass

from curation import duck
from curation.report.source import Source

SHOWN = 10


@dataclass(frozen=True)
class Share:
    """One value of a column: its rows, their bytes, and how many are kept."""

    value: str
    num_rows: int
    num_bytes: int
    num_kept: int


@dataclass(frozen=True)
class Origin:
    """The values of one column, the most frequent first.

    Attributes:
        title: What it is.
        values: At most `SHOWN`.
        has_more: Whether there are further values.
    """

    title: str
    values: tuple[Share, ...]
    has_more: bool


@dataclass(frozen=True)
class Totals:
    """Sums over all rows: how many were taken in, and the bytes of their originals."""

    num_rows: int
    num_bytes: int
    kept_bytes: int


def count_totals(source: Source) -> Totals:
    """Add up rows and bytes."""
    (row,) = source.ask(
        "SELECT count(r.shard) AS n, coalesce(sum(r.num_bytes), 0)::BIGINT AS b, "
        f"coalesce(sum(r.num_bytes) FILTER (WHERE {source.kept}), 0)::BIGINT AS k {source.scope}"
    )
    return Totals(row["n"], row["b"], row["k"])


def count_origins(source: Source) -> list[Origin]:
    """Count by source, format, colour profile, channels and licence, where something is known."""
    columns = [("Source", "source_name"), ("Licence", "license")]
    for title, name in (
        ("Format", "format"),
        ("Channels", "mode"),
        ("Colour profile", "color_profile"),
    ):
        column = source.column("inspect", name)
        if column is not None:
            columns.append((title, column))
    found = []
    for title, name in columns:
        column = f"r.{duck.quoted(name)}"
        rows = source.ask(
            f"SELECT {column} AS value, count(*) AS n, "
            "coalesce(sum(r.num_bytes), 0)::BIGINT AS b, "
            f"count(*) FILTER (WHERE {source.kept}) AS k "
            f"{source.scope} AND {column} IS NOT NULL GROUP BY value ORDER BY n DESC, value"
            f" LIMIT {SHOWN + 1}"
        )
        if rows:
            values = tuple(Share(r["value"], r["n"], r["b"], r["k"]) for r in rows[:SHOWN])
            found.append(Origin(title, values, len(rows) > SHOWN))
    return found
