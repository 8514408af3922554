"""What there are histograms of, counted into fine bins in one scan."""

from collections.abc import Sequence
from dataclasses import dataclass

from curation import duck
from curation.report.scales import Scale, choose_scale
from curation.report.source import Source
from schemas import dataset as layout


@dataclass(frozen=True)
class Measure:
    """What a histogram is of.

    Attributes:
        name: Column on disk, or the name of what is derived from columns.
        doc: What it is.
        unit: Its unit.
        sql: Expression over `r`.
        scale: Its bins.
    """

    name: str
    doc: str
    unit: str
    sql: str
    scale: Scale


@dataclass(frozen=True)
class Counts:
    """Fine bin -> rows, for all rows and for those kept."""

    all: dict[int, int]
    kept: dict[int, int]


def find_measures(source: Source) -> list[Measure]:
    """List what there are histograms of: numbers with a unit, and sizes derived from two."""
    found = []
    width, height = source.column("inspect", "width"), source.column("inspect", "height")
    if width is not None and height is not None:
        wide, tall = f"r.{duck.quoted(width)}::DOUBLE", f"r.{duck.quoted(height)}::DOUBLE"
        found = [
            Measure("area_mp", "Width times height.", "MP", f"{wide} * {tall} / 1e6", Scale("log")),
            Measure(
                "aspect_ratio",
                "Width over height.",
                "",
                f"{wide} / nullif({tall}, 0)",
                Scale("log"),
            ),
        ]
    tables = [layout.IMAGES, *(instance.name for instance in source.instances)]
    for table in tables:
        for field in source.tables.tables[table].schema:
            facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            unit = facts.get("unit", "")
            scale = choose_scale(field.type, unit)
            if scale is not None and not field.name.startswith("source_"):
                column = f"r.{duck.quoted(field.name)}"
                found.append(Measure(field.name, facts.get("doc", ""), unit, column, scale))
    return found


def count_measures(source: Source, measures: Sequence[Measure]) -> dict[str, Counts]:
    """Count every measure's bins in one scan."""
    if not measures:
        return {}
    bins = ", ".join(f"{m.scale.sql(m.sql)} AS b{i}" for i, m in enumerate(measures))
    names = [f"b{i}" for i in range(len(measures))]
    sets = ", ".join(f"({name})" for name in names)
    # A column takes part in a grouping set where GROUPING is 0.
    which = " + ".join(f"{i} * (1 - grouping({name}))" for i, name in enumerate(names))
    counted = source.ask(
        f"SELECT {which} AS measure, coalesce({', '.join(names)}) AS bin, count(*) AS num_all, "
        "count(*) FILTER (WHERE kept) AS num_kept "
        f"FROM (SELECT {source.kept} AS kept, {bins} {source.scope}) "
        f"GROUP BY GROUPING SETS ({sets}) ORDER BY measure, bin"
    )
    found: dict[str, Counts] = {}
    for row in counted:
        if row["bin"] is not None:
            counts = found.setdefault(measures[int(row["measure"])].name, Counts({}, {}))
            counts.all[row["bin"]] = row["num_all"]
            if row["num_kept"]:
                counts.kept[row["bin"]] = row["num_kept"]
    return found
