"""Some rows of a foreign table: how large their images are, and what it costs to reach them."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from curation.ingest.foreign import ForeignTable, to_rows
from schemas.dataset import MAX_SHARD_BYTES, MAX_SHARD_ROWS


class MeanBytes:
    """The mean size of an image in each row group, as the footer tells."""

    def __init__(self, metadata: Any, column: str) -> None:
        self._ends: list[int] = []
        self._means: list[int] = []
        end = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunks = (group.column(index) for index in range(group.num_columns))
            size = sum(
                chunk.total_uncompressed_size
                for chunk in chunks
                if chunk.path_in_schema.split(".")[0] == column.split(".", maxsplit=1)[0]
            )
            end += group.num_rows
            self._ends.append(end)
            self._means.append(size // max(group.num_rows, 1))

    def of(self, row: int) -> int:
        """Return the mean size in the row group of a row."""
        return self._means[bisect_right(self._ends, row)]

    def shard_rows(self) -> int:
        """Return how many rows a shard of these images has, unless the pipeline says otherwise."""
        num_rows = self._ends[-1] if self._ends else 0
        starts = [0, *self._ends]
        size = sum(
            mean * (end - start)
            for mean, start, end in zip(self._means, starts, self._ends, strict=False)
        )
        return max(1, min(MAX_SHARD_ROWS, MAX_SHARD_BYTES * num_rows // max(size, 1)))


def times_read(group_rows: Sequence[int], rows: Iterable[int], shard_rows: int) -> float:
    """Return how often each row group is read if rows are taken in some order, on average.

    They are taken in portions of a shard's rows, or of a row group's where those are more, and a
    portion reads every group that it has a row of. Rows in the order of the file give 1 to 2.

    Args:
        group_rows: Number of rows in each row group.
        rows: Numbers of the rows, in the order in which they are taken; each at most once.
        shard_rows: Rows of a shard.
    """
    num_groups = sum(1 for num_rows in group_rows if num_rows)
    ends = list(accumulate(group_rows))
    order = array("q", rows)
    portion = max(sum(group_rows) // max(num_groups, 1), shard_rows)
    num_reads = sum(
        len({bisect_right(ends, row) for row in order[start : start + portion]})
        for start in range(0, len(order), portion)
    )
    return num_reads / max(num_groups, 1)


def wanted_rows(
    table: ForeignTable, columns: Sequence[str], wanted: Sequence[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the wanted rows of a file in its order; only their row groups are read."""
    starts = [0, *accumulate(table.group_rows)]
    left = list(reversed(wanted))
    for group in range(len(starts) - 1):
        row = starts[group]
        if not left or left[-1] >= starts[group + 1]:
            continue
        for batch in table.batches(columns, [group]):
            while left and left[-1] < row + len(batch):
                place = left.pop()
                yield place, to_rows(batch.slice(place - row, 1))[0]
            row += len(batch)
            if not left or left[-1] >= starts[group + 1]:
                break
