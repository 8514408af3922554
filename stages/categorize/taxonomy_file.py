"""Taxonomies: trees of categories with the texts that describe them, read from YAML."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from curation.config import Config, parse_yaml, read_text, validate
from curation.errors import ConfigError

SHIPPED = Path(__file__).parent / "taxonomies" / "text_to_image.yaml"
"""Made for the balance of text-to-image corpora."""

OTHER = "other"
"""Path and name of what fits no category."""

MAX_LEVELS = 8
MAX_CHILDREN = 1024
MAX_NODES = 100_000

_ARTICLE = re.compile(r"(a|an|the) (?=\S)")
_ID = re.compile(r"[a-z0-9_]+")

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Template = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$", max_length=200)]
_Templates = Annotated[tuple[_Template, ...], Field(min_length=1, max_length=100)]


class NodeConfig(Config):
    """A category as it stands in the file; a plain text is its name.

    Attributes:
        name: What it is called; a leading article is for the prompts only.
        id: Its part of the path; null for the name in lower case with `_`.
        prompts: Noun phrases that describe it. A leaf without any is described by its name.
        templates: What phrases are put into, in place of `{}`; null for those above.
        children: The categories below; none for a leaf.
    """

    name: _Text
    id: str | None = None
    prompts: Annotated[tuple[_Text, ...], Field(max_length=100)] = ()
    templates: _Templates | None = None
    children: Annotated[tuple["NodeConfig", ...], Field(max_length=MAX_CHILDREN)] = ()

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "children" in value and not value["children"]:
                message = "a node with `children` has some; leave the key out for a leaf"
                raise ValueError(message)
            return value
        if isinstance(value, str):
            return {"name": value}
        message = f"a category is a name or a mapping with `name`, not {value!r}; quote it"
        raise ValueError(message)

    @field_validator("id")
    @classmethod
    def _plain_id(cls, value: str | None) -> str | None:
        if value is not None and not _ID.fullmatch(value):
            message = "an id has lower-case letters, digits and '_' only"
            raise ValueError(message)
        return value

    @field_validator("name")
    @classmethod
    def _one_part(cls, value: str) -> str:
        if "/" in value:
            message = "a name has no '/', which stands between names; say it in `prompts`"
            raise ValueError(message)
        return value


class TaxonomyConfigFile(Config):
    """A taxonomy as it stands in its file.

    Attributes:
        format: 1.
        name: What the taxonomy is called.
        templates: What phrases are put into, in place of `{}`.
        children: The categories of the first level.
    """

    format: Literal[1]
    name: _Text
    templates: _Templates = ("a photo of {}",)
    children: Annotated[tuple[NodeConfig, ...], Field(min_length=2, max_length=MAX_CHILDREN)]


@dataclass(frozen=True)
class Node:
    """A category in its place.

    Attributes:
        path: Ids from the root down, joined by `/`.
        name: Names from the root down, joined by `/`.
        parent: Number of its parent; -1 for the first level.
        texts: Whole texts that describe it; for an inner node perhaps none.
        is_leaf: Whether nothing is below it.
    """

    path: str
    name: str
    parent: int
    texts: tuple[str, ...]
    is_leaf: bool


@dataclass(frozen=True)
class Taxonomy:
    """A tree of categories.

    Attributes:
        name: What it is called.
        nodes: Level by level, siblings side by side and in the file's order.
    """

    name: str
    nodes: tuple[Node, ...]


_Family = tuple[int, Sequence[str], Sequence[NodeConfig]]
"""A parent's number, the templates that hold below it, and its children."""


def read_taxonomy(path: Path) -> Taxonomy:
    """Read and check the file of a taxonomy; see `parse_taxonomy`."""
    return parse_taxonomy(read_text(path), str(path))


def parse_taxonomy(text: str, where: str) -> Taxonomy:
    """Check a taxonomy; `where` names its file in errors.

    Raises:
        ConfigError: It is no taxonomy, has two categories of one id below one parent, one text for
            two leaves, or more than the limits.
    """
    return arrange(validate(TaxonomyConfigFile, parse_yaml(text, where), where), where)


def arrange(file: TaxonomyConfigFile, where: str) -> Taxonomy:
    """Put the nodes of a checked file in order; see `parse_taxonomy`."""
    nodes: list[Node] = []
    level: list[_Family] = [(-1, file.templates, file.children)]
    for _ in range(MAX_LEVELS):
        below: list[_Family] = []
        for parent, templates, children in level:
            above = nodes[parent] if parent >= 0 else None
            for child, id in zip(children, _ids(children, above, where), strict=True):
                own = child.templates or templates
                name = _bare(child.name)
                phrases = child.prompts or (() if child.children else (child.name,))
                node = Node(
                    path=id if above is None else f"{above.path}/{id}",
                    name=name if above is None else f"{above.name}/{name}",
                    parent=parent,
                    texts=_texts(own, phrases),
                    is_leaf=not child.children,
                )
                if child.children:
                    below.append((len(nodes), own, child.children))
                nodes.append(node)
        level = below
        if len(nodes) > MAX_NODES:
            message = f"{where}: more than {MAX_NODES:,} categories"
            raise ConfigError(message)
    if level:
        message = f"{where}: more than {MAX_LEVELS} levels below {nodes[level[0][0]].path}"
        raise ConfigError(message)
    _refuse_twins(nodes, where)
    return Taxonomy(file.name, tuple(nodes))


def _ids(children: Sequence[NodeConfig], above: Node | None, where: str) -> list[str]:
    below = f"below {above.path}" if above is not None else "at the top"
    found: dict[str, str] = {}
    for child in children:
        id = child.id or _slug(child.name)
        if not id:
            message = f"{where}: {child.name!r} {below} gives no id; state one with `id:`"
            raise ConfigError(message)
        if id in found:
            message = (
                f"{where}: {found[id]!r} and {child.name!r} {below} both have the id {id}; leave "
                "one out or state another `id:`"
            )
            raise ConfigError(message)
        if above is None and id == OTHER:
            message = f"{where}: {OTHER!r} at the top is for what fits no category; rename it"
            raise ConfigError(message)
        found[id] = child.name
    return list(found)


def _refuse_twins(nodes: Sequence[Node], where: str) -> None:
    owners: dict[str, str] = {}
    for node in nodes:
        if not node.is_leaf:
            continue
        for text in node.texts:
            if (owner := owners.setdefault(text.casefold(), node.path)) != node.path:
                message = (
                    f"{where}: {owner} and {node.path} are both described by {text!r}; a picture "
                    "could be either"
                )
                raise ConfigError(message)


def _bare(name: str) -> str:
    return _ARTICLE.sub("", name, count=1) if _ARTICLE.match(name) else name


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", _bare(name)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain.replace("'", "")).strip("_")


def _texts(templates: Sequence[str], phrases: Sequence[str]) -> tuple[str, ...]:
    """Put every phrase into every template; a text that comes twice stays once."""
    filled = (template.replace("{}", phrase) for phrase in phrases for template in templates)
    return tuple(dict.fromkeys(filled))
