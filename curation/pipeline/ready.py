"""The tasks of one pool that may be handed out, in order, each with the workers that it avoids."""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from curation.pipeline.tasks import Task


@dataclass
class Entry:
    """A task on its way.

    Attributes:
        task: As it was added.
        steps: The steps that are still to be done.
        avoid: Workers that failed at it.
        free_tries: How often it was lost.
        num_blockers: Tasks that it waits for.
        worker: Who has it, or had it last.
        num_rests: What `Bench.hand` said when it was handed out.
        num_hindrances: How often it could not be worked on.
        hindered: Worker -> what it had worked on by the first time that this task hindered it.
        is_alone: Whether its worker may have nothing else in hand; see `Task.is_alone`.
    """

    task: Task
    steps: tuple[str, ...]
    avoid: frozenset[str] = frozenset()
    free_tries: int = 0
    num_blockers: int = 0
    worker: str = ""
    num_rests: int = 0
    num_hindrances: int = 0
    hindered: dict[str, int] = field(default_factory=dict)
    is_alone: bool = False

    @property
    def line(self) -> tuple[frozenset[str], bool]:
        """What decides who may take it."""
        return self.avoid, self.is_alone


class ReadyTasks:
    """First come, first served, but for a worker that has failed at what comes first.

    Entries stand in one line for each set of workers that they avoid, so that a worker which must
    avoid a thousand tasks does not look at each of them: there are as many lines as there were
    combinations of workers that failed at the same task, twice that with tasks that run alone.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[frozenset[str], bool], OrderedDict[int, Entry]] = {}
        self._places: dict[str, tuple[tuple[frozenset[str], bool], int]] = {}
        self._front = 0
        self._back = 0

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def append(self, entry: Entry) -> None:
        """Let an entry come last."""
        self._back += 1
        self._lines.setdefault(entry.line, OrderedDict())[self._back] = entry
        self._places[entry.task.key] = entry.line, self._back

    def put_first(self, entry: Entry) -> None:
        """Let an entry come first."""
        self._front -= 1
        line = self._lines.setdefault(entry.line, OrderedDict())
        line[self._front] = entry
        line.move_to_end(self._front, last=False)
        self._places[entry.task.key] = entry.line, self._front

    def take(self, worker: str, *, alone: bool, busy: bool = False) -> Entry | None:
        """Remove and return the first entry that `worker` need not avoid.

        Args:
            worker: Who asks.
            alone: It need not avoid any: there is no other worker.
            busy: It has others in hand, so it takes none that must run alone.
        """
        firsts = {
            next(iter(entries)): line
            for line, entries in self._lines.items()
            if (alone or worker not in line[0]) and not (busy and line[1])
        }
        if not firsts:
            return None
        place = min(firsts)
        return self._remove(firsts[place], place)

    def take_key(self, key: str, worker: str, *, busy: bool = False) -> Entry | None:
        """Remove and return the entry of one task, unless `worker` must avoid it; see `take`."""
        if key not in self._places:
            return None
        line, place = self._places[key]
        if worker in line[0] or (busy and line[1]):
            return None
        return self._remove(line, place)

    def ahead(self, number: int) -> list[Task]:
        """Return the first tasks, at most `number`."""
        lines = (islice(entries.items(), number) for entries in self._lines.values())
        first = heapq.merge(*lines, key=lambda item: item[0])
        return [entry.task for _, entry in islice(first, number)]

    def _remove(self, line: tuple[frozenset[str], bool], place: int) -> Entry:
        entry = self._lines[line].pop(place)
        if not self._lines[line]:
            del self._lines[line]
        del self._places[entry.task.key]
        return entry
