"""The reasons of all rows, as bits: one a reason, in the order in which they apply."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SUPERSEDED = "superseded"
TOMBSTONED = "tombstoned"
UNREADABLE = "unreadable"
SPLIT_MOVED = "split_moved"
DUPLICATE = "duplicate"
UNSAMPLED = "unsampled"


def pending(instance: str) -> str:
    """Name the reason of rows that an instance has not seen yet."""
    return f"pending:{instance}"


def quarantined(instance: str) -> str:
    """Name the reason of rows of a shard that an instance was given up on."""
    return f"quarantined:{instance}"


def unknown(predicate: str) -> str:
    """Name the reason of rows for which a predicate is null."""
    return f"{predicate}:unknown"


def vocabulary(used: Iterable[str], upstream: Iterable[str], where: Iterable[str]) -> list[str]:
    """List every reason that may apply, the first one to be named first.

    Args:
        used: Instances whose columns the snapshot reads, `images` first.
        upstream: These and all that they are computed from.
        where: Names of the predicates in order.
    """
    names = [SUPERSEDED, TOMBSTONED, UNREADABLE]
    names += [pending(instance) for instance in used]
    names += [quarantined(instance) for instance in upstream]
    for name in where:
        names += [name, unknown(name)]
    return [*names, SPLIT_MOVED, DUPLICATE, UNSAMPLED]


class Reasons:
    """Which reasons apply to which rows.

    Args:
        names: The vocabulary, the first that applies being a row's `reason`.
        num_rows: How many rows there are.
    """

    def __init__(self, names: Sequence[str], num_rows: int) -> None:
        self.names = list(names)
        self._places = {name: place for place, name in enumerate(self.names)}
        self._words = np.zeros((num_rows, (len(self.names) + 63) // 64), np.uint64)

    def __len__(self) -> int:
        return len(self._words)

    def add(self, name: str, mask: NDArray[np.bool_], start: int = 0) -> None:
        """Give the reason `name` to the rows of `mask`, which begins at row `start`."""
        word, bit = divmod(self._places[name], 64)
        part = self._words[start : start + len(mask), word]
        part |= mask.astype(np.uint64) << np.uint64(bit)

    def has(self, name: str) -> NDArray[np.bool_]:
        """Return the rows to which `name` applies."""
        word, bit = divmod(self._places[name], 64)
        return np.asarray((self._words[:, word] >> np.uint64(bit)) & np.uint64(1), bool)

    def none(self) -> NDArray[np.bool_]:
        """Return the rows to which no reason applies."""
        return np.asarray(~self._words.any(axis=1), bool)

    def counts(self) -> dict[str, int]:
        """Return reason -> rows of which it is the first, in the order of the vocabulary."""
        left = np.ones(len(self), bool)
        found = {}
        for name in self.names:
            mine = left & self.has(name)
            if mine.any():
                found[name] = int(mine.sum())
            left &= ~mine
        return found

    def columns(self, start: int, stop: int) -> tuple[pa.Array, pa.Array]:
        """Return the columns `reason` and `reasons` for some rows."""
        words = np.ascontiguousarray(self._words[start:stop].astype("<u8"))
        bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        bits = bits[:, : len(self.names)].astype(bool)
        names = pa.array(self.names, pa.string())
        first = pa.array(bits.argmax(axis=1), pa.int64(), mask=~bits.any(axis=1))
        _, places = np.nonzero(bits)
        offsets = np.concatenate([[0], np.cumsum(bits.sum(axis=1))]).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(places)))
        return names.take(first), lists
