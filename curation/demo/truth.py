"""What is known about the files of a corpus and about pairs of them, as two tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from curation.demo.drawing.photographs import Box
from curation.demo.windows import iou

_POSITIVE = 0.9
_NEGATIVE = 0.5


@dataclass(frozen=True, kw_only=True)
class FileTruth:
    """All that is known about one file; the columns of `truth.parquet` say what each means.

    `box` is the part of the original that the file shows, `window` the part of the photograph.
    """

    path: str
    kind: str
    category_path: str | None
    source: str
    num_bytes: int
    content_sha256: str
    box: Box
    copy_of: str | None = None
    edit: str | None = None
    iou: float | None = None
    template: str | None = None
    detail: str | None = None
    expect_error: str | None = None
    format: str | None = None
    size: tuple[int, int] | None = None
    photograph: str | None = None
    window: Box | None = None


def _field(name: str, type: pa.DataType, doc: str) -> pa.Field:
    return pa.field(name, type, metadata={"doc": doc})


TRUTH = pa.schema(
    [
        _field("path", pa.string(), "Key of the file below images/, as ingest stores it."),
        _field("kind", pa.string(), "unique, exact_copy, near_copy, hard_negative, broken or odd."),
        _field("category", pa.string(), "Leaf of category_path."),
        _field(
            "category_path",
            pa.string(),
            "What the picture shows, in two levels; null for broken files.",
        ),
        _field("source", pa.string(), "The original; equal for an original and all its copies."),
        _field("copy_of", pa.string(), "Path of the file that this one was made from."),
        _field("edit", pa.string(), "What was done to a near copy."),
        _field("iou", pa.float64(), "Overlap with copy_of, in the original's frame."),
        _field("expect_error", pa.string(), "Code that a reader must arrive at; null if readable."),
        _field("detail", pa.string(), "What is odd or broken about the file."),
        _field("template", pa.string(), "Equal for hard negatives of one layout."),
        _field("format", pa.string(), "Format of the bytes, whatever the name says."),
        _field("width", pa.int32(), "Pixels, upright."),
        _field("height", pa.int32(), "Pixels, upright."),
        _field("num_bytes", pa.int64(), "Size of the file."),
        _field("content_sha256", pa.string(), "SHA-256 of the bytes, hexadecimal."),
        _field("photograph", pa.string(), "The photograph that the picture shows most of all."),
        _field(
            "window",
            pa.list_(pa.float64(), 4),
            "Left, top, right, bottom of the part shown, as shares of the photograph.",
        ),
    ]
)

PAIRS = pa.schema(
    [
        _field("path_a", pa.string(), "The path that sorts first."),
        _field("path_b", pa.string(), "The other path."),
        _field(
            "relation",
            pa.string(),
            "exact (same bytes), near (same original), same_photograph (two originals whose "
            "windows in one photograph overlap), same_template (hard negatives).",
        ),
        _field("iou", pa.float64(), "Overlap in the original, or in the photograph; null if none."),
        _field("duplicate_edits", pa.bool_(), "Whether nothing but duplicate edits lies between."),
        _field(
            "label",
            pa.string(),
            "positive: a duplicate. ambiguous: count it neither way. negative: none, and so is "
            "every pair that the table does not hold.",
        ),
    ]
)


def truth_table(files: Iterable[FileTruth]) -> pa.Table:
    """Return one row a file, in the order of the paths."""
    rows = [
        {
            "path": file.path,
            "kind": file.kind,
            "category": file.category_path.rpartition("/")[2] if file.category_path else None,
            "category_path": file.category_path,
            "source": file.source,
            "copy_of": file.copy_of,
            "edit": file.edit,
            "iou": file.iou,
            "expect_error": file.expect_error,
            "detail": file.detail,
            "template": file.template,
            "format": file.format,
            "width": file.size[0] if file.size else None,
            "height": file.size[1] if file.size else None,
            "num_bytes": file.num_bytes,
            "content_sha256": file.content_sha256,
            "photograph": file.photograph,
            "window": list(file.window) if file.window else None,
        }
        for file in sorted(files, key=lambda file: file.path)
    ]
    return pa.Table.from_pylist(rows, TRUTH)


def pairs_table(files: Iterable[FileTruth]) -> pa.Table:
    """Return every pair of readable files that have something to do with each other.

    A pair of one original is positive from IoU 0.9 on, ambiguous from 0.5 on, negative below. Two
    originals that show one photograph are never positive, and ambiguous from IoU 0.5 on. A readable
    file without partner is in no pair.
    """
    readable = sorted(
        (file for file in files if file.expect_error is None), key=lambda file: file.path
    )
    rows = [*_of_one_source(readable), *_of_one_photograph(readable), *_of_one_template(readable)]
    rows.sort(key=lambda row: (row["path_a"], row["path_b"]))
    return pa.Table.from_pylist(rows, PAIRS)


_Row = dict[str, str | float | bool | None]


def _row(one: FileTruth, two: FileTruth, relation: str, overlap: float | None, label: str) -> _Row:
    return {
        "path_a": one.path,
        "path_b": two.path,
        "relation": relation,
        "iou": overlap,
        "duplicate_edits": relation in ("exact", "near"),
        "label": label,
    }


def _of_one_source(files: list[FileTruth]) -> Iterator[_Row]:
    groups = defaultdict[str, list[FileTruth]](list)
    for file in files:
        groups[file.source].append(file)
    for group in groups.values():
        for one, two in combinations(group, 2):
            if one.content_sha256 == two.content_sha256:
                yield _row(one, two, "exact", 1.0, "positive")
                continue
            overlap = iou(one.box, two.box)
            label = "ambiguous" if overlap >= _NEGATIVE else "negative"
            yield _row(one, two, "near", overlap, "positive" if overlap >= _POSITIVE else label)


def _of_one_photograph(files: list[FileTruth]) -> Iterator[_Row]:
    groups = defaultdict[str, list[tuple[FileTruth, Box]]](list)
    for file in files:
        if file.photograph and file.window:
            groups[file.photograph].append((file, file.window))
    for group in groups.values():
        for (one, one_window), (two, two_window) in combinations(group, 2):
            overlap = iou(one_window, two_window)
            if overlap > 0 and one.source != two.source:
                label = "ambiguous" if overlap >= _NEGATIVE else "negative"
                yield _row(one, two, "same_photograph", overlap, label)


def _of_one_template(files: list[FileTruth]) -> Iterator[_Row]:
    groups = defaultdict[str, list[FileTruth]](list)
    for file in files:
        if file.template:
            groups[file.template].append(file)
    for group in groups.values():
        for one, two in combinations(group, 2):
            yield _row(one, two, "same_template", None, "negative")
