"""The columns that `categorize` reads, as arrays and words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.categorize.names import words_of, words_of_key

VECTOR = "embed.vector"
KEY = "images.source_key"
NAME_COLUMNS = {"source_key": KEY, "alt_text": "images.alt_text", "caption": "caption.captions"}
"""Where words of names come from -> the column that has them."""


def words_of_rows(table: pa.Table, columns: Sequence[str]) -> list[set[str]]:
    """Return for each row the words that its texts in `columns` have."""
    found: list[set[str]] = [set() for _ in range(len(table))]
    for column in columns:
        for words, value in zip(found, table[column].to_pylist(), strict=True):
            words |= _words_in(column, value)
    return found


def vectors_of(column: pa.ChunkedArray) -> NDArray[np.float16]:
    """Return a column of vectors without nulls as (rows, dimension)."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate([np.zeros(0, np.float16), *chunks])
    return flat.reshape(len(column), column.type.list_size)


def _words_in(column: str, value: Any) -> set[str]:
    if value is None:
        return set()
    if isinstance(value, list):
        return {word for caption in value for word in words_of(caption["text"] or "")}
    return words_of_key(value) if column == KEY else words_of(value)
