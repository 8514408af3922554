"""Ranges of one file, read together where they lie close to each other."""

from collections import Counter
from collections.abc import Callable, Sequence

GAP_BYTES = 256 << 10
"""Bytes between two ranges that are read along: what a store sends while another request waits."""
BATCH_BYTES = 32 << 20
"""Where a read ends, however close the next range is; a longer range is one read of its own."""

Span = tuple[int, int]
"""First byte, and the byte after the last."""


class Spans:
    """Gives ranges of a file one by one, and holds what was read along until it was asked for.

    Args:
        spans: Every range that will be asked for, each once; they may overlap.
        read: Reads a range of the file; less than asked for where the file ends.
    """

    def __init__(self, spans: Sequence[Span], read: Callable[[int, int], bytes]) -> None:
        self._spans = spans
        self._read = read
        self._batch_of = [0] * len(spans)
        self._batches: list[Span] = []
        for index in sorted(range(len(spans)), key=lambda index: spans[index]):
            start, stop = spans[index]
            if self._batches and self._joins(self._batches[-1], start, stop):
                first, last = self._batches[-1]
                self._batches[-1] = (first, max(last, stop))
            else:
                self._batches.append((start, stop))
            self._batch_of[index] = len(self._batches) - 1
        self._left = Counter(self._batch_of)
        self._held: dict[int, bytes] = {}

    @staticmethod
    def _joins(batch: Span, start: int, stop: int) -> bool:
        first, last = batch
        return stop <= last or (start <= last + GAP_BYTES and stop - first <= BATCH_BYTES)

    def get(self, index: int) -> bytes:
        """Return the bytes of range `index`; fewer where the file ends earlier.

        Raises:
            OSError: They cannot be read.
        """
        batch = self._batch_of[index]
        first, last = self._batches[batch]
        self._left[batch] -= 1
        if batch not in self._held:
            self._held[batch] = self._read(first, last)
        data = self._held[batch]
        if not self._left[batch]:
            del self._held[batch]
        start, stop = self._spans[index]
        return data[start - first : stop - first]
