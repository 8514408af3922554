"""What the ingests' frozen lists say: which rows there are, and which places vanished."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.snapshot.current import VANISHED, Events, hash_places


class Lists:
    """The frozen lists of all ingests, a list in memory at a time.

    They are listed once, here: a run that freezes more of them meanwhile changes nothing.

    Attributes:
        ingests: The ingests, as they were found.
        shards: Shard -> (ingest, list), in their order.
        num_rows: Rows of all shards.
    """

    _COLUMNS = ("source_name", "key", "ordinal", "shard", "row")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._open: tuple[tuple[int, int], pa.Table] | None = None
        self._vanished: list[tuple[int, pa.Table]] = []
        self.ingests = tuple(dataset.ingests())
        self.shards: dict[int, tuple[int, int]] = {}
        self.num_rows = 0
        for state in self.ingests:
            for number in state.lists:
                table = dataset.read_list(state.seq, number, [*self._COLUMNS, "change"])
                gone = table.filter(pc.equal(table["change"], "vanished"))
                if len(gone):
                    self._vanished.append((state.seq, gone))
                self.num_rows += len(table) - table["shard"].null_count
                for shard in sorted(pc.unique(table["shard"].drop_null()).to_pylist()):
                    self.shards[shard] = (state.seq, number)

    def rows(self, shard: int) -> pa.Table:
        """Return the list rows of a shard, in order."""
        at = self.shards[shard]
        if self._open is None or self._open[0] != at:
            self._open = (at, self._dataset.read_list(*at, list(self._COLUMNS)))
        table = self._open[1]
        return table.filter(pc.equal(table["shard"], shard)).sort_by("row")

    def vanished(self) -> Events:
        """Return the places that `sync` ingests found gone."""
        hashes = [
            hash_places(*(table[c].to_pylist() for c in ("source_name", "key", "ordinal")))
            for _, table in self._vanished
        ]
        count = sum(len(part) for part in hashes)
        seqs = [np.full(len(table), seq, np.int32) for seq, table in self._vanished]
        zeros = np.zeros(count, np.int32)
        kinds = np.full(count, VANISHED, np.uint8)
        place = np.concatenate([np.zeros((0, 2), np.uint64), *hashes])
        return Events(place, np.concatenate([zeros[:0], *seqs]), zeros, zeros, kinds)
