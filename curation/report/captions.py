"""Captions: found by what columns are, so that any stage that writes some is shown."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.report.source import Source
from schemas import dataset as layout

LONGEST_CAPTION = 700
_WORDS = ("caption", "captions")
"""A column is called so, or a stage whose columns of text are captions."""

_FACTS = (
    "error",
    "finish_reason",
    "language",
    "model",
    "revision",
    "status",
    "structured",
    "variant",
)
"""Columns of a captioner that say something of a caption and are none."""


@dataclass(frozen=True)
class Caption:
    """A text that describes an image; `label` names its kind, empty where there is one only."""

    label: str
    text: str


@dataclass(frozen=True)
class CaptionColumn:
    """A column that holds captions: text, or a list of structures with a field `text`."""

    name: str
    label: str


def find_captions(source: Source) -> tuple[CaptionColumn, ...]:
    """Find the columns that hold captions.

    These are lists of structures that have a field `text` (as snapshots write them), columns of
    text that are called captions, and the texts of a stage that is called so; and the alternative
    text that came with the files.
    """
    found = [
        CaptionColumn(field.name, field.name.replace("_", " "))
        for instance in source.instances
        for field in source.tables.tables[instance.name].schema
        if field.name.startswith(f"{instance.name}_")
        and _is_caption(
            instance.stage_type.name, field.name.removeprefix(f"{instance.name}_"), field.type
        )
    ]
    if "alt_text" in source.tables.tables[layout.IMAGES].schema.names:
        found.append(CaptionColumn("alt_text", "alt text"))
    return tuple(found)


def read_captions(columns: tuple[CaptionColumn, ...], row: Mapping[str, Any]) -> list[Caption]:
    """Return the captions of a row, in the order of the columns."""
    found = []
    for column in columns:
        for label, text in _texts(row.get(column.name)):
            found.append(Caption(label or column.label, text.strip()))
    return [caption for caption in found if caption.text]


def _is_caption(stage: str, name: str, kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = {field.name: field.type for field in kind.value_type}
        return "text" in fields and _is_text(fields["text"])
    parts = name.split("_")
    called = any(word in parts for word in _WORDS) or any(w in stage.split("_") for w in _WORDS)
    return _is_text(kind) and called and parts[-1] not in _FACTS and name not in _FACTS


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield (label, text)."""
    if isinstance(value, str):
        yield "", value
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("text"), str):
            facts = [entry.get(name) for name in ("variant", "language")]
            yield ", ".join(str(fact) for fact in facts if fact), entry["text"]
