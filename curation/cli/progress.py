"""A run as it goes on, on a terminal: a bar for each instance. In a pipe nothing but trouble."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from curation.cli.console import printable


@contextmanager
def watched() -> Iterator[Any]:
    """Yield what takes a run's events: bars on a terminal, lines of trouble in a pipe."""
    if not sys.stderr.isatty():
        yield print_trouble
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        yield _Bars(bars)


class _Bars:
    """One bar for each instance, and a line above them for trouble."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "wave":
            for task in self._tasks.values():
                self._bars.remove_task(task)
            self._tasks.clear()
            self._began.clear()
        elif event["event"] == "progress":
            self._show(event)
        else:
            print_trouble(event, self._bars.console.print)

    def _show(self, event: Mapping[str, Any]) -> None:
        steps = [*event["due"], *event["rows"]]
        for step in steps or ["listing the source"]:
            done = event["rows"].get(step, 0)
            total = max(event["due"].get(step, 0), done) or None
            # While the source is still being listed, nobody knows the end.
            total = None if event["listing"] else total
            began = self._began.setdefault(step, (event["seconds"], done)) if done else None
            rate = pace(began, (event["seconds"], done), total)
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=total, rate=rate)
            self._bars.update(self._tasks[step], completed=done, total=total, rate=rate)


def pace(began: tuple[float, int] | None, now: tuple[float, int], total: int | None) -> str:
    """Say how fast a step goes, and for how long yet, or nothing where that is not known.

    Rows come by whole shards, and the first ones come late, after workers started and models were
    loaded; so the clock starts with the first rows that were done.

    Args:
        began: (seconds, rows) when rows were first done.
        now: The same now.
        total: Rows in all; null where nobody knows.
    """
    if began is None or now[0] <= began[0] or now[1] <= began[1]:
        return ""
    rate = (now[1] - began[1]) / (now[0] - began[0])
    text = f"{rate:,.0f} rows/s" if rate >= 10 else f"{rate:.1f} rows/s"
    if total is None or total <= now[1]:
        return text
    left = round((total - now[1]) / rate)
    hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
    duration = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
    return f"{text}, {duration} left"


def print_trouble(event: Mapping[str, Any], write: Any = None) -> None:
    """Print what large columns will take, charges, hindrances and stalls, and nothing else."""
    line = None
    if event["event"] == "charge":
        end = "given up" if event["given_up"] else "will be tried again"
        line = (
            f"{event['step']}, {event['task']}: try {event['try']} failed, {end}: {event['code']}: "
        )
        line += event["text"]
    elif event["event"] == "cost":
        line = event["text"]
    elif event["event"] == "hindrance":
        line = f"{event['task']} goes back without a charge: {event['text']}"
    elif event["event"] == "stalled":
        parts = [
            f"{pool}: {counts['ready']} queued, {counts['running']} running, "
            f"{counts['waiting']} waiting"
            for pool, counts in event["queues"].items()
        ]
        if event["listing"]:
            parts.append("the source is still being listed")
        line = f"nothing has finished for {event['seconds']:g} s; {'; '.join(parts)}"
    if line is not None and write is not None:
        write(printable(line), markup=False, highlight=False)
    elif line is not None:
        click.echo(printable(line), err=True)
