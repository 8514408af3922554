"""Large values of single rows, read by row groups.

A shard's file holds a row group for each megabyte or so, so a value costs about its own size to
read. Footers and what was read last are kept, within bounds.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.dataset import Dataset
from curation.tables import from_parquet
from schemas import dataset as paths

_FOOTERS = 16
"""Footers that are kept: one of 1,024 row groups takes 8 MB in memory and 7 ms to read."""
_READERS = 8
"""Row groups that are read at the same time: a store answers several as fast as one."""

Place = tuple[int, int]
"""Shard and row."""


class CachedColumns:
    """Columns of one configured stage.

    Args:
        dataset: Where it lies.
        instance: Its name.
        fingerprint: Its folder.
        cache_bytes: Values that are kept, at most.
    """

    def __init__(self, dataset: Dataset, instance: str, fingerprint: str, cache_bytes: int) -> None:
        self._dataset = dataset
        self._instance = instance
        self._fingerprint = fingerprint
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self._held: OrderedDict[tuple[int, int, str], pa.ChunkedArray] = OrderedDict()
        self._footers: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, column: str, wanted: Sequence[Place]) -> list[Any]:
        """Return the values of a column, without its prefix, in the order of `wanted`."""
        groups = [self._group_of(place) for place in wanted]
        keys = [
            (shard, group, column) for (shard, _), (group, _) in zip(wanted, groups, strict=True)
        ]
        missing = [key for key in dict.fromkeys(keys) if key not in self._held]
        # Beside what is kept: a batch may want more than there is room for.
        found = {key: self._held[key] for key in dict.fromkeys(keys) if key in self._held}
        if len(missing) > 1:
            with ThreadPoolExecutor(_READERS) as pool:
                found |= dict(zip(missing, pool.map(self._read_group, missing), strict=True))
        else:
            found |= {key: self._read_group(key) for key in missing}
        for key in found:
            if key in self._held:
                self._held.move_to_end(key)
        for key in missing:
            self._keep(key, found[key])
        return [found[key][within].as_py() for key, (_, within) in zip(keys, groups, strict=True)]

    def _group_of(self, place: Place) -> tuple[int, int]:
        """Return the row group of a row, and where it stands in it."""
        shard, row = place
        footer = self._footer(shard)
        group_rows = footer.row_group(0).num_rows
        return row // group_rows, row % group_rows

    def _footer(self, shard: int) -> Any:
        with self._lock:
            if shard not in self._footers:
                with self._dataset.store.open(self._path(shard)) as file:
                    self._footers[shard] = pq.ParquetFile(file).metadata
                if len(self._footers) > _FOOTERS:
                    self._footers.popitem(last=False)
            self._footers.move_to_end(shard)
            return self._footers[shard]

    def _read_group(self, key: tuple[int, int, str]) -> pa.ChunkedArray:
        shard, group, column = key
        name = f"{self._instance}_{column}"
        footer = self._footer(shard)
        with self._dataset.store.open(self._path(shard)) as file:
            return from_parquet(file, [name], [group], footer)[name]

    def _keep(self, key: tuple[int, int, str], values: pa.ChunkedArray) -> None:
        if values.nbytes > self._cache_bytes:
            return
        self._held[key] = values
        self._held_bytes += values.nbytes
        while self._held_bytes > self._cache_bytes:
            _, dropped = self._held.popitem(last=False)
            self._held_bytes -= dropped.nbytes

    def _path(self, shard: int) -> str:
        return paths.instance_path(self._instance, self._fingerprint, shard)
