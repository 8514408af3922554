"""The captions of kept rows, read when a snapshot's tables are written and never before."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.snapshot.inputs import CAPTIONS, ShardReader, Sources
from schemas.training import CAPTION

_TYPE = pa.list_(CAPTION)


class CaptionReader:
    """Reads the captions that go into a snapshot's `data/`.

    Args:
        dataset: The dataset.
        sources: Which column has them; without one, no row has a caption.
    """

    def __init__(self, dataset: Dataset, sources: Sources) -> None:
        self._column = sources.roles.get(CAPTIONS)
        columns = [] if self._column is None else [self._column]
        self._reader = ShardReader(dataset, sources, columns, {})

    def read(self, shards: NDArray[np.int32], rows: NDArray[np.int32]) -> pa.ChunkedArray:
        """Return `list<CAPTION>` for rows that lie by shard and row; empty where there is none.

        One shard is read at a time, and none that has no such row.

        Raises:
            ContractError: A file's rows are not those of the image shard.
        """
        if self._column is None:
            return pa.chunked_array([pa.array([[]] * len(rows), _TYPE)])
        found = [pa.chunked_array([], _TYPE)]
        bounds = np.flatnonzero(np.diff(shards)) + 1
        for part in np.split(np.arange(len(shards)), bounds) if len(shards) else ():
            table = self._reader.read(int(shards[part[0]]), self._reader.used)
            taken = table[self._column].take(pa.array(rows[part], pa.int64()))
            found.append(pc.fill_null(taken.cast(_TYPE), pa.scalar([], _TYPE)))
        return pa.chunked_array([chunk for column in found for chunk in column.chunks], _TYPE)
