"""Some rows of a foreign table, and how large its images are before they are read."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from curation.ingest.foreign import ForeignTable, to_rows


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
