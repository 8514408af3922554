"""What a run says while it goes on: progress, and a line when nothing moves."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curation.pipeline.dispatch import Dispatch, StepEnd
from curation.pipeline.runner import Feed

Event = Mapping[str, Any]
"""What a run says of itself: `event` names the kind, the rest are plain values."""

_PROGRESS_S = 1.0
_STALL_S = 60.0


class Watch:
    """Counts what ends, and reports about once a second.

    Args:
        on_event: Who is told.
        pools: Names of the pools whose queues are reported.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        on_event: Callable[[Event], None],
        pools: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_event = on_event
        self._pools = pools
        self._clock = clock
        self._rows: Counter[str] = Counter()
        self._began = self._moved = self._said = clock()
        self._dispatch: Dispatch | None = None
        self._feed: Feed | None = None

    def begin(self, dispatch: Dispatch | None, feed: Feed | None) -> None:
        """Start a wave; without `dispatch` there is only a listing to wait for."""
        self._dispatch = dispatch
        self._feed = feed

    def ended(self, end: StepEnd) -> None:
        """Take in a step that has ended."""
        self._moved = self._clock()
        if end.task.kind != "edges":
            self._rows[end.step] += end.task.num_rows

    def tick(self) -> None:
        """Report, if it is time."""
        now = self._clock()
        if now - self._said < _PROGRESS_S:
            return
        self._said = now
        dispatch = self._dispatch
        queues = {} if dispatch is None else {p: dispatch.count(p) for p in self._pools}
        listing = self._feed is not None and not self._feed.is_done
        self._on_event(
            {
                "event": "progress",
                "seconds": now - self._began,
                "rows": dict(self._rows),
                "due": {} if dispatch is None else dict(dispatch.due),
                "queues": queues,
                "listing": listing,
            }
        )
        if now - self._moved > _STALL_S:
            self._moved = now
            self._on_event(
                {"event": "stalled", "seconds": _STALL_S, "queues": queues, "listing": listing}
            )
