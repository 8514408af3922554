"""Which rows are current: of every place in a source, the latest that counts."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

READABLE = 0
UNREADABLE = 1
TRANSIENT = 2
"""A passing trouble, or a row that was never taken in: it supersedes no readable row."""
VANISHED = 3
"""The end of a place, from the list of a `sync` ingest."""


@dataclass(frozen=True)
class Events:
    """What happened at the places of all sources: rows, and places that vanished.

    Attributes:
        place: `>u8`, (N, 2), hash of source name, key and ordinal.
        seq: (N,), number of the ingest.
        shard: (N,), with `row` the order within an ingest; any value for `VANISHED`.
        row: (N,).
        kind: (N,), `READABLE`, `UNREADABLE`, `TRANSIENT` or `VANISHED`.
    """

    place: NDArray[np.uint64]
    seq: NDArray[np.int32]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    kind: NDArray[np.uint8]


def hash_places(
    names: Iterable[str], keys: Iterable[str], ordinals: Iterable[int]
) -> NDArray[np.uint64]:
    """Hash where each row came from; 128 bits, so that keys need not be held."""
    data = b"".join(
        hashlib.blake2b(f"{ordinal}\0{name}\0{key}".encode(), digest_size=16).digest()
        for name, key, ordinal in zip(names, keys, ordinals, strict=True)
    )
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)


def find_current(events: Events) -> NDArray[np.bool_]:
    """Say for each event whether it is the current row of its place.

    The latest (seq, shard, row) is, except that a transient row never supersedes a readable one; a
    vanished place has none.
    """
    first, second = events.place[:, 0], events.place[:, 1]
    order = np.lexsort((events.row, events.shard, events.seq, second, first))
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
    bounds = np.append(np.flatnonzero(starts), len(order))
    lengths = np.diff(bounds)
    current = np.zeros(len(order), bool)
    alone = order[bounds[:-1][lengths == 1]]
    current[alone] = events.kind[alone] != VANISHED
    for group in np.flatnonzero(lengths > 1):
        latest = -1
        for event in order[bounds[group] : bounds[group + 1]]:
            if events.kind[event] == VANISHED:
                latest = -1
            elif latest < 0 or events.kind[event] != TRANSIENT or events.kind[latest] != READABLE:
                latest = int(event)
        if latest >= 0:
            current[latest] = True
    return current
