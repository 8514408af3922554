"""Duplicate groups: how many of which size, and which are shown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from curation import duck
from curation.report.draws import Place, draw_ids
from curation.report.source import Source
from curation.snapshot import reasons as why

LARGEST_SHOWN = 4
DRAWN_SHOWN = 8
MEMBERS_SHOWN = 6
_SIZES = (
    ("2", 2, 2),
    ("3", 3, 3),
    ("4 or 5", 4, 5),
    ("6 to 10", 6, 10),
    ("11 to 100", 11, 100),
    ("101 or more", 101, None),
)


@dataclass(frozen=True)
class Member:
    """A row of a duplicate group.

    Attributes:
        place: Where it lies.
        method: `exact` or `perceptual`; empty where the relation does not say.
        distance: Bits to the nearest row that it is linked to; null where it does not say.
        reason: Why the snapshot leaves it out; null where it does not.
        is_representative: Whether it stands for the group among the survivors.
    """

    place: Place
    method: str
    distance: int | None
    reason: str | None
    is_representative: bool


@dataclass(frozen=True)
class DuplicateGroup:
    """A group with its first members; `is_large` marks those chosen for their size."""

    name: str
    num_rows: int
    members: tuple[Member, ...]
    is_large: bool


@dataclass(frozen=True)
class DuplicateFacts:
    """Counts of duplicates.

    Attributes:
        num_groups: Groups of two or more rows.
        num_rows: Rows in them.
        sizes: (label, groups) by size.
        links: (method, distance in bits, rows), in order.
    """

    num_groups: int
    num_rows: int
    sizes: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, int | None, int], ...]


def count_duplicates(source: Source) -> DuplicateFacts | None:
    """Count groups; null where nothing looked for duplicates."""
    column = source.column("dedup", "group")
    if column is None:
        return None
    counted = source.ask(
        f"SELECT n, count(*) AS num_groups FROM ({_sizes(source, column)}) GROUP BY n ORDER BY n"
    )
    sizes = []
    for label, low, high in _SIZES:
        found = sum(row["num_groups"] for row in counted if low <= row["n"] <= (high or row["n"]))
        if found:
            sizes.append((label, found))
    return DuplicateFacts(
        sum(row["num_groups"] for row in counted),
        sum(row["num_groups"] * row["n"] for row in counted),
        tuple(sizes),
        tuple(_links(source)),
    )


def choose_groups(source: Source) -> list[DuplicateGroup]:
    """Choose the largest groups and a few drawn ones, and read their first members."""
    column = source.column("dedup", "group")
    if column is None:
        return []
    sizes = _sizes(source, column)
    largest = source.ask(f'SELECT * FROM ({sizes}) ORDER BY n DESC, "group" LIMIT {LARGEST_SHOWN}')
    counts = {str(row["group"]): int(row["n"]) for row in largest}
    names = source.stream(f'SELECT "group" AS image_id FROM ({sizes})')
    drawn = [name for name in draw_ids(names, LARGEST_SHOWN + DRAWN_SHOWN) if name not in counts]
    if drawn := drawn[:DRAWN_SHOWN]:
        found = source.ask(f'SELECT * FROM ({sizes}) WHERE "group" IN ({_listed(drawn)})')
        sized = {str(row["group"]): int(row["n"]) for row in found}
        counts.update((name, sized[name]) for name in drawn)
    members = _read_members(source, column, counts) if counts else {}
    large = {str(row["group"]) for row in largest}
    return [
        DuplicateGroup(name, num_rows, members[name], name in large)
        for name, num_rows in counts.items()
    ]


def _sizes(source: Source, column: str) -> str:
    """Return the query for `group` and `n` of every group of two or more rows."""
    group = f"r.{duck.quoted(column)}"
    return (
        f'SELECT g::VARCHAR AS "group", n FROM (SELECT {group} AS g, count(*) AS n '
        f"{source.scope} AND {group} IS NOT NULL GROUP BY g HAVING count(*) > 1)"
    )


def _links(source: Source) -> Iterator[tuple[str, int | None, int]]:
    method, distance = source.column("dedup", "method"), source.column("dedup", "distance")
    if method is None or distance is None:
        return
    method, distance = f"r.{duck.quoted(method)}", f"r.{duck.quoted(distance)}"
    rows = source.ask(
        f"SELECT {method} AS method, {distance} AS distance, count(*) AS n "
        f"{source.scope} AND {method} IS NOT NULL GROUP BY ALL ORDER BY ALL"
    )
    yield from ((row["method"], row["distance"], row["n"]) for row in rows)


def _read_members(
    source: Source, column: str, names: Iterable[str]
) -> dict[str, tuple[Member, ...]]:
    """Read the first members of some groups, the representative first, then the nearest."""
    group = f"r.{duck.quoted(column)}::VARCHAR"
    found: dict[str, Any] = {}
    for key in ("method", "distance"):
        name = source.column("dedup", key)
        found[key] = "NULL" if name is None else f"r.{duck.quoted(name)}"
    reason = "NULL::VARCHAR" if source.manifest is None else "d.reason"
    is_first = "false"
    if source.manifest is not None:
        # Whoever came as far as sampling survived dedup, and is the only one of its group.
        is_first = f"(d.kept OR {reason} = {duck.text_literal(why.UNSAMPLED)})"
    ranked = (
        f'SELECT {group} AS "group", r.shard AS shard, r.row AS row, {found["method"]} AS method, '
        f"{found['distance']} AS distance, {reason} AS reason, {is_first} AS is_first, "
        f"row_number() OVER (PARTITION BY {group} ORDER BY {is_first} DESC, "
        f"{found['distance']}, r.shard, r.row) AS place "
        f"{source.scope} AND {group} IN ({_listed(names)})"
    )
    rows = source.ask(f"SELECT * FROM ({ranked}) WHERE place <= {MEMBERS_SHOWN} ORDER BY ALL")
    members: dict[str, list[Member]] = {}
    for row in sorted(rows, key=lambda row: (row["group"], row["place"])):
        members.setdefault(row["group"], []).append(
            Member(
                Place(row["shard"], row["row"]),
                row["method"] or "",
                row["distance"],
                row["reason"],
                bool(row["is_first"]),
            )
        )
    return {name: tuple(entries) for name, entries in members.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(duck.text_literal(name) for name in names)
