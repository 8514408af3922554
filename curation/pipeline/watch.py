"""What a run says while it goes on: progress, and a line when nothing moves."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curation.pipeline.dispatch import Dispatch, StepEnd
from curation.pipeline.plan import Plan
from curation.pipeline.runner import Feed

_PROGRESS_S = 1.0
_STALL_S = 60.0


class Watch:
    """Counts what ends, and reports about once a second.

    Args:
        on_event: Who is told.
        pools: Names of the pools whose queues are reported.
    """

    def __init__(self, on_event: Callable[[Mapping[str, Any]], None], pools: Sequence[str]) -> None:
        self._on_event = on_event
        self._pools = pools
        self._rows: Counter[str] = Counter()
        self._due: Counter[str] = Counter()
        self._began = self._moved = self._said = time.monotonic()
        self._dispatch: Dispatch | None = None
        self._feed: Feed | None = None

    def begin(self, plan: Plan, dispatch: Dispatch, feed: Feed | None) -> None:
        """Start a wave."""
        self._dispatch = dispatch
        self._feed = feed
        for task in plan.tasks:
            for step in task.steps:
                self._due[step] += task.num_rows

    def ended(self, end: StepEnd) -> None:
        """Take in a step that has ended."""
        self._moved = time.monotonic()
        if end.task.kind != "edges":
            self._rows[end.step] += end.task.num_rows

    def tick(self) -> None:
        """Report, if it is time."""
        now = time.monotonic()
        if now - self._said < _PROGRESS_S:
            return
        self._said = now
        assert self._dispatch is not None
        queues = {pool: self._dispatch.count(pool) for pool in self._pools}
        listing = self._feed is not None and not self._feed.is_done
        self._on_event(
            {
                "event": "progress",
                "seconds": now - self._began,
                "rows": dict(self._rows),
                "due": dict(self._due),
                "queues": queues,
                "listing": listing,
            }
        )
        if now - self._moved > _STALL_S:
            self._moved = now
            self._on_event({"event": "stalled", "seconds": _STALL_S, "queues": queues})
