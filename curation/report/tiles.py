"""One image on the page: its thumbnail, where it comes from, and what is known of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation import duck
from curation.ingest.load import reading_protocols
from curation.pixels import PixelSpec
from curation.report.captions import Caption, find_captions, read_captions
from curation.report.draws import Place
from curation.report.source import Source
from curation.report.thumbnails import PICTURE, Thumbnail, make_thumbnails
from curation.report.wording import number


@dataclass(frozen=True)
class Tile:
    """One image on the page.

    Attributes:
        key: Where it comes from, below the source's root.
        picture: The thumbnail; null where there is none.
        note: Why there is none.
        facts: Name -> value, worded, for what stands below it.
        badge: A word that sets it apart from its neighbours; empty for none.
        captions: Texts that describe it.
        category: Name of its category; empty where it is not shown.
        category_path: Its path.
    """

    key: str
    picture: Thumbnail | None
    note: str
    facts: tuple[tuple[str, str], ...] = ()
    badge: str = ""
    captions: tuple[Caption, ...] = ()
    category: str = ""
    category_path: str = ""

    @property
    def words(self) -> str:
        """What stands for the picture where it is not seen: what describes it, or its name."""
        return self.captions[0].text if self.captions else self.key


class TileMaker:
    """Makes tiles from what was read of the rows that are shown."""

    def __init__(self, source: Source, wanted: Mapping[Place, Collection[PixelSpec]]) -> None:
        self._source = source
        self._decoders = [i for i in source.instances if i.make().pixels() is not None]
        self._pixel_errors = {f"{instance.name}_error" for instance in self._decoders}
        self._short = {
            f.name: f.name.removeprefix(f"{instance.name}_")
            for instance in source.instances
            for f in source.tables.tables[instance.name].schema
            if f.name.startswith(f"{instance.name}_")
        }
        self._captions = find_captions(source)
        self._rows = self._read(wanted)
        fit = {place: specs for place, specs in wanted.items() if not self._trouble(place)}
        protocols = reading_protocols(source.pipeline.source if source.pipeline else None)
        self._thumbnails = make_thumbnails(source.dataset, fit, protocols)

    def _read(self, wanted: Iterable[Place]) -> dict[Place, dict[str, Any]]:
        """Read all columns of a few hundred rows but vectors."""
        places = sorted(wanted)
        if not places:
            return {}
        schema = self._source.tables.tables["rows"].schema
        names = [f.name for f in schema if not hasattr(f.type, "list_size")]
        columns = ", ".join(
            [*(f"r.{duck.quoted(n)}" for n in names), f"{self._decoded()} AS decoded"]
        )
        numbers = ", ".join(str(place.shard << 32 | place.row) for place in places)
        rows = self._source.ask(
            f"SELECT {columns} FROM rows AS r "
            f"WHERE (r.shard::BIGINT << 32 | r.row::BIGINT) IN ({numbers})"
        )
        return {Place(row["shard"], row["row"]): row for row in rows}

    def _decoded(self) -> str:
        """Return SQL that says whether some stage gave a row values after seeing its pixels."""
        columns = [
            f"r.{duck.quoted(f.name)} IS NOT NULL"
            for instance in self._decoders
            for f in self._source.tables.tables[instance.name].schema
            if f.name in self._short and f.name not in self._pixel_errors
        ]
        return f"({' OR '.join(columns)})" if columns else "false"

    def _trouble(self, place: Place) -> str:
        """Say why a row is not decoded for the report; empty where it is."""
        row = self._rows.get(place)
        if row is None:
            return "it was never taken in"
        errors = [row["source_error"], *(row.get(name) for name in sorted(self._pixel_errors))]
        found = [str(error) for error in errors if error is not None]
        return found[0] if found else "" if row["decoded"] else "no stage has decoded it"

    def tile(
        self,
        place: Place,
        facts: Iterable[tuple[str, str]],
        spec: PixelSpec = PICTURE,
        badge: str = "",
    ) -> Tile:
        """Return the tile of a row."""
        key = str(self._rows.get(place, {}).get("source_key") or "")
        picture = self._thumbnails.get((place, spec), self._trouble(place))
        captions = tuple(read_captions(self._captions, self._rows.get(place, {})))
        if isinstance(picture, str):
            return Tile(key, None, picture, tuple(facts), badge, captions)
        return Tile(key, picture, "", tuple(facts), badge, captions)

    def values(self, place: Place, columns: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Return columns and their values."""
        row = self._rows.get(place, {})
        return tuple(
            (self._short.get(column, column), _word(row.get(column)))
            for column in columns
            if column not in self._pixel_errors  # where it has a value, it stands for the picture
        )

    def size(self, place: Place) -> tuple[tuple[str, str], ...]:
        """Return the size of an image, where `inspect` knows it."""
        names = [self._source.column("inspect", name) for name in ("width", "height")]
        row = self._rows.get(place, {})
        width, height = (row.get(name or "") for name in names)
        return () if width is None else (("", f"{width} \N{MULTIPLICATION SIGN} {height}"),)

    def category(self, place: Place) -> str:
        """Return the path of a row's category; empty without one."""
        column = self._source.column("categorize", "path")
        return str(self._rows.get(place, {}).get(column or "") or "")

    def usual(self, place: Place) -> tuple[tuple[str, str], ...]:
        """Return size and score."""
        score = self._source.column("aesthetic", "score")
        row = self._rows.get(place, {})
        scored = () if score is None else ((self._short[score], _word(row.get(score))),)
        return (*self.size(place), *scored)


def _word(value: Any) -> str:
    """Return a value in a few characters."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return number(value)
    return str(value)
