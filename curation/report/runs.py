"""What the runs of a pipeline did and how long it took, from `runs/`."""

import json
from dataclasses import dataclass
from typing import Any

from curation.report.source import Source

READ = 200
"""Latest runs that are added up: their files are small, but a dataset may have any number."""

SHOWN = 8


@dataclass(frozen=True)
class StepTime:
    """The work of one instance over all runs read; `seconds` adds up its workers."""

    instance: str
    rows: int
    shards: int
    seconds: float

    @property
    def rows_per_second(self) -> float | None:
        """Rows a second of one worker; null where the clock saw nothing."""
        return self.rows / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Run:
    """One run."""

    run_id: str
    pipeline: str
    runner: str
    seconds: float
    waves: int
    is_complete: bool
    facts: str


@dataclass(frozen=True)
class Runs:
    """All runs read.

    Attributes:
        steps: In the order in which the latest run worked.
        latest: The latest first.
        num_runs: Runs that there are.
        num_read: Runs that `steps` add up.
    """

    steps: tuple[StepTime, ...]
    latest: tuple[Run, ...]
    num_runs: int
    num_read: int

    @property
    def most_seconds(self) -> float:
        """The longest step."""
        return max((step.seconds for step in self.steps), default=0.0)


def read_runs(source: Source) -> Runs:
    """Read and add up the latest runs."""
    files = source.dataset.store.names("runs")
    found = [json.loads(source.dataset.store.read(f"runs/{file}")) for file in files[-READ:]]
    totals: dict[str, list[Any]] = {}
    for run in found:
        for name, step in run["steps"].items():
            sums = totals.setdefault(name, [0, 0, 0.0])
            sums[0] += step["rows"]
            sums[1] += step["shards"]
            sums[2] += step["seconds"]
    order = ["images", *(instance.name for instance in source.instances)]
    names = sorted(totals, key=lambda n: (order.index(n) if n in order else len(order), n))
    return Runs(
        tuple(StepTime(name, *totals[name]) for name in names),
        tuple(_run(run) for run in reversed(found[-SHOWN:])),
        len(files),
        len(found),
    )


def _run(value: dict[str, Any]) -> Run:
    facts = ", ".join(f"{name} {count}" for name, count in value["facts"].items())
    return Run(
        value["run_id"],
        value["pipeline"],
        value["runner"],
        value["seconds"],
        value["waves"],
        value["complete"],
        facts,
    )
