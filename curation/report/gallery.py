"""The pictures of a report: kept by category, left out by reason, duplicates by group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from curation import duck
from curation.pixels import PixelSpec
from curation.report.categories import UNKNOWN, Categories
from curation.report.draws import Place, draw_rows
from curation.report.duplicates import DuplicateGroup, choose_groups
from curation.report.funnel import Funnel, Step
from curation.report.source import Source
from curation.report.thumbnails import CHIP, PICTURE
from curation.report.tiles import Tile, TileMaker
from curation.snapshot import reasons as why
from curation.snapshot.expressions import parse_expression

KEPT_SHOWN = 36
PER_REASON = 14
MAX_REASONS = 24
"""Reasons with pictures: a snapshot may have any number of predicates."""

PER_CATEGORY = 4


@dataclass(frozen=True)
class Excluded:
    """Examples of what one step left out."""

    step: Step
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Duplicates:
    """A duplicate group and its first members, its representative before the others."""

    group: DuplicateGroup
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Gallery:
    """All pictures.

    Attributes:
        kept: From the largest category to the smallest; of all images where there is no snapshot.
        excluded: In the order of the funnel.
        duplicates: The largest groups first, then drawn ones.
        chips: Category path -> small squares.
    """

    kept: tuple[Tile, ...]
    excluded: tuple[Excluded, ...]
    duplicates: tuple[Duplicates, ...]
    chips: Mapping[str, tuple[Tile, ...]]


@dataclass
class _Choice:
    """Which rows are shown where."""

    kept: list[tuple[str, Place]] = field(default_factory=list)
    excluded: list[tuple[Step, list[Place]]] = field(default_factory=list)
    duplicates: list[DuplicateGroup] = field(default_factory=list)
    chips: dict[str, list[Place]] = field(default_factory=dict)

    def wanted(self) -> dict[Place, set[PixelSpec]]:
        """Return place -> the sizes in which it is shown."""
        found: dict[Place, set[PixelSpec]] = {}
        pictures = [place for _, place in self.kept]
        pictures += [place for _, places in self.excluded for place in places]
        pictures += [member.place for group in self.duplicates for member in group.members]
        for place in pictures:
            found.setdefault(place, set()).add(PICTURE)
        for places in self.chips.values():
            for place in places:
                found.setdefault(place, set()).add(CHIP)
        return found


def make_gallery(source: Source, funnel: Funnel | None, categories: Categories | None) -> Gallery:
    """Draw rows, read what is known of them, and make their thumbnails."""
    choice = _choose(source, funnel, categories)
    wanted = choice.wanted()
    makers = TileMaker(source, wanted)
    excluded = []
    for step, places in choice.excluded:
        columns = _columns(source, step)
        tiles = [makers.tile(place, makers.values(place, columns)) for place in places]
        if step.reason == why.UNSAMPLED and not step.sql:
            paths = [makers.category(place) for place in places]
            tiles = [_told(t, path, categories) for t, path in zip(tiles, paths, strict=True)]
        excluded.append(Excluded(step, tuple(tiles)))
    return Gallery(
        tuple(
            _told(makers.tile(place, makers.usual(place)), path, categories)
            for path, place in choice.kept
        ),
        tuple(excluded),
        tuple(_duplicates(makers, group) for group in choice.duplicates),
        {
            path: tuple(makers.tile(place, (), CHIP) for place in places)
            for path, places in choice.chips.items()
        },
    )


def _told(tile: Tile, path: str, categories: Categories | None) -> Tile:
    """Return a tile that says its category, where the report has categories."""
    if categories is None or not path:
        return tile
    return replace(tile, category=categories.names.full(path), category_path=path)


def _choose(source: Source, funnel: Funnel | None, categories: Categories | None) -> _Choice:
    choice = _Choice()
    by_category = _draw_kept(source, categories)
    if categories is not None:
        choice.chips = {
            c.path: by_category.get(c.path, [])[:PER_CATEGORY] for c in categories.shown
        }
    choice.kept = _round_robin(
        by_category, [c.path for c in categories.shown] if categories else []
    )
    if funnel is not None:
        steps = {step.reason: step for step in funnel.steps if step.removed}
        drawn = _draw_excluded(source)
        for reason in list(steps)[:MAX_REASONS]:
            unknown = drawn.get(why.unknown(reason), [])
            places = (drawn.get(reason, []) + unknown)[:PER_REASON]
            if places:
                choice.excluded.append((steps[reason], places))
    choice.duplicates = choose_groups(source)
    return choice


def _draw_kept(source: Source, categories: Categories | None) -> dict[str, list[Place]]:
    """Draw kept images, or any without a snapshot, of the categories that are listed."""
    if source.manifest is not None:
        path, rows = "d.category_path", f"{source.decided} AND d.kept"
        columns = "d.image_id, d.shard, d.row"
    else:
        column = source.column("categorize", "path")
        path = "NULL::VARCHAR" if column is None else f"r.{duck.quoted(column)}"
        rows, columns = source.scope, "r.image_id, r.shard, r.row"
    unknown = duck.text_literal(UNKNOWN)
    listed = ""
    if categories is None:
        path = unknown
    else:
        # `animal/` holds the images that lie at `animal` itself.
        shown = {c.path.removesuffix("/") for c in categories.shown}
        names = ", ".join(duck.text_literal(name) for name in sorted(shown))
        path = f"coalesce({path}, {unknown})"
        listed = f" AND {path} IN ({names})"
    drawn = draw_rows(
        source.stream(f'SELECT {path} AS "group", {columns} {rows}{listed}'), KEPT_SHOWN
    )
    if categories is not None:
        itself = {c.path.removesuffix("/"): c.path for c in categories.shown}
        drawn = {itself[name]: places for name, places in drawn.items()}
    return drawn


def _draw_excluded(source: Source) -> dict[str, list[Place]]:
    return draw_rows(
        source.stream(
            'SELECT d.reason AS "group", d.image_id, d.shard, d.row '
            f"{source.decided} AND d.reason IS NOT NULL"
        ),
        PER_REASON,
    )


def _round_robin(
    by_category: Mapping[str, list[Place]], order: Iterable[str]
) -> list[tuple[str, Place]]:
    """Take one image of each category, then a second one, and sort by category again."""
    names = [name for name in (*order, UNKNOWN) if name in by_category]
    names = list(dict.fromkeys(names))
    if len(names) > KEPT_SHOWN:
        names = [names[number * len(names) // KEPT_SHOWN] for number in range(KEPT_SHOWN)]
    depth = max((len(by_category[name]) for name in names), default=0)
    turns = [
        (turn, position, name, by_category[name][turn])
        for turn in range(depth)
        for position, name in enumerate(names)
        if turn < len(by_category[name])
    ]
    chosen = sorted(turns[:KEPT_SHOWN], key=lambda entry: (entry[1], entry[0]))
    return [(name, place) for _, _, name, place in chosen]


def _columns(source: Source, step: Step) -> tuple[str, ...]:
    """Return the columns whose values say why a step left a row out."""
    if not step.sql:
        usual = {
            why.DUPLICATE: (("dedup", "method"), ("dedup", "distance")),
            why.UNSAMPLED: (("aesthetic", "score"),),
        }.get(step.reason, ())
        columns = [source.column(*names) for names in usual]
        return tuple(column for column in columns if column is not None)
    known = source.tables.tables["rows"].schema.names
    return tuple(sorted(parse_expression(step.reason, step.sql, known, step.reason).columns))


def _duplicates(makers: TileMaker, group: DuplicateGroup) -> Duplicates:
    tiles = []
    for member in group.members:
        facts = [*makers.size(member.place)]
        if member.method:
            bits = "" if member.distance is None else f", {member.distance} bits"
            facts.append(("link", "same bytes" if member.method == "exact" else f"alike{bits}"))
        if member.reason not in (None, why.DUPLICATE, why.UNSAMPLED):
            facts.append(("out", str(member.reason)))
        badge = "representative" if member.is_representative else ""
        tiles.append(makers.tile(member.place, tuple(facts), badge=badge))
    return Duplicates(group, tuple(tiles))
