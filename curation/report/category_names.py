"""What categories are called, where the categorizer names them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curation import duck
from curation.pipeline.instances import Instance
from curation.report.source import Source

_NAME = "name"
"""What a categorizer calls its column of names."""


@dataclass(frozen=True)
class CategoryNames:
    """The names of categories; a category without one is called by its path.

    Attributes:
        by_path: Path -> name from the root down, of inner nodes too.
    """

    by_path: Mapping[str, str] = field(default_factory=dict)

    def full(self, path: str) -> str:
        """Return the name from the root down."""
        # `animal/` holds the images that lie at `animal` itself.
        return self.by_path.get(path.removesuffix("/"), path)

    def own(self, path: str) -> str:
        """Return the last part of the name: what tells a category from its siblings."""
        place = path.removesuffix("/")
        name = self.by_path.get(place, "")
        if name.count("/") != place.count("/"):
            return name or place.rpartition("/")[2]
        return name.rpartition("/")[2].strip() or place.rpartition("/")[2]

    def title(self, path: str) -> str:
        """Return the name and the path, as far as they differ."""
        name = self.full(path)
        return path if name == path else f"{name} ({path})"


def read_names(source: Source) -> CategoryNames:
    """Read the names that belong to the paths of a report.

    They are none where the categorizer writes none, and where it has computed its columns anew
    since the snapshot: the same path may be another category then.
    """
    path = source.column("categorize", "path")
    owner = None if path is None else _owner(source, path)
    if path is None or owner is None or _has_changed(source, owner):
        return CategoryNames()
    name = f"{owner.name}_{_NAME}"
    schema = source.tables.tables[owner.name].schema
    if name not in schema.names or not pa.types.is_string(schema.field(name).type):
        return CategoryNames()
    path, name = f"r.{duck.quoted(path)}", f"r.{duck.quoted(name)}"
    rows = source.ask(
        f"SELECT {path} AS path, min({name}) AS name FROM rows AS r "
        f"WHERE {path} IS NOT NULL AND trim({name}) <> '' GROUP BY 1 ORDER BY 1"
    )
    return CategoryNames(_with_inner((row["path"], row["name"]) for row in rows))


def _with_inner(leaves: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name the nodes above the leaves too, by the beginning of a name that is as deep as its path.

    Parents come before their children, so that a node's own name counts.
    """
    found: dict[str, str] = {}
    for path, name in leaves:
        found.setdefault(path, name)
        nodes, words = path.split("/"), name.split("/")
        if len(nodes) == len(words):
            for depth in range(1, len(nodes)):
                found.setdefault("/".join(nodes[:depth]), "/".join(words[:depth]))
    return found


def _owner(source: Source, column: str) -> Instance | None:
    for instance in source.instances:
        if column in source.tables.tables[instance.name].schema.names:
            return instance
    return None


def _has_changed(source: Source, instance: Instance) -> bool:
    if source.manifest is None:
        return False
    parent = source.manifest.content.parents.get(instance.name)
    now = instance.fingerprint if instance.is_ready else ""
    return parent is not None and parent.fingerprint is not None and parent.fingerprint != now
