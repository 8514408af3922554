"""A few shared integers that tell a supervisor what its child is doing.

The child writes the step and row in hand into a memory file that both map. After a crash the
supervisor reads there who was at work, which no exception could have told it.
"""

import mmap
import os
import struct
from copy import copy
from dataclasses import dataclass

_FORMAT = struct.Struct("<qqq")
PIXELS = -1
"""The step number of the shared decode."""
OUTSIDE = -1
"""The row number while no row is in hand."""
BEGINNING = -2
"""The row number before work begins: while a stage is set up, no shard is at fault."""


@dataclass(frozen=True)
class Position:
    """Where a child was: a counter of all updates, the step's index, the row's number."""

    updates: int
    step: int
    row: int


class Progress:
    """The shared integers; make them with `create`, open them in the child by descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0)
        self._offset = 0
        self._updates = 0
        self._step = 0

    @classmethod
    def create(cls, num_slots: int = 1) -> "Progress":
        """Make a new anonymous memory file, with a place for each task in hand at once."""
        descriptor = os.memfd_create("longtail-progress")
        os.ftruncate(descriptor, num_slots * _FORMAT.size)
        return cls(descriptor)

    def slot(self, number: int) -> "Progress":
        """Return another place in the same memory, which is this one's to close."""
        place = copy(self)
        place._offset = number * _FORMAT.size
        return place

    def at(self, step: int, row: int = OUTSIDE) -> None:
        """Say that `row` of the step with index `step` is in hand now."""
        self._step = step
        self.row(row)

    def row(self, row: int) -> None:
        """Say that `row` of the same step is in hand now."""
        self._updates += 1
        _FORMAT.pack_into(self._memory, self._offset, self._updates, self._step, row)

    def read(self) -> Position:
        """Return the last position written."""
        return Position(*_FORMAT.unpack_from(self._memory, self._offset))

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)
