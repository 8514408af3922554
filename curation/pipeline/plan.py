"""The plan: which (instance, shard) pairs have no file yet, as waves of tasks.

A plan is a pure function of what lies on disk, can be printed, and is the only input of a runner.
All row-local stages whose inputs are there, or come earlier in the same task, go in one wave. A fit
or a relation needs every shard, so it stands in a wave of its own kind, after which the runner
plans again.
"""

from dataclasses import dataclass
from typing import Any, Literal

from curation.pipeline.stage import Cost
from curation.pipeline.tasks import Task

State = Literal["done", "due", "after fit", "after shards", "blocked"]


@dataclass(frozen=True)
class StepPlan:
    """What a plan says of one instance.

    Attributes:
        instance: Its name; `images` for ingest.
        fingerprint: Its folder; empty while it waits for a fit.
        state: `done`; `due` now; `after fit` or `after shards`: in a later wave; `blocked`.
        why: One line.
        shards: Shards whose file is missing and that will be made.
        num_rows: Rows in them.
        quarantined: Shards that were given up.
        blocked: Shards that wait for something given up.
        cost: What it will put on disk for a row; null where that is little, or was not asked.
    """

    instance: str
    fingerprint: str
    state: State
    why: str
    shards: tuple[int, ...] = ()
    num_rows: int = 0
    quarantined: tuple[int, ...] = ()
    blocked: tuple[int, ...] = ()
    cost: Cost | None = None

    @property
    def num_bytes(self) -> int:
        """What it will put on disk, about; 0 where there is no cost."""
        return 0 if self.cost is None else self.num_rows * self.cost.row_bytes

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` says of it; the cost where there is one."""
        told: dict[str, Any] = {
            "instance": self.instance,
            "fingerprint": self.fingerprint,
            "state": self.state,
            "why": self.why,
            "shards": len(self.shards),
            "rows": self.num_rows,
            "quarantined": list(self.quarantined),
            "blocked": list(self.blocked),
        }
        if self.cost is not None:
            told["cost"] = {
                "bytes": self.num_bytes,
                "row_bytes": self.cost.row_bytes,
                "what": self.cost.what,
            }
        return told


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        steps: What is due and why, by instance.
        tasks: The tasks of the next wave; empty when nothing can be done.
        wave: `rows`, `barrier` (fits and relations) or, where nothing is to be done, `none`.
        num_bytes: Bytes of images that the next wave reads.
    """

    steps: tuple[StepPlan, ...]
    tasks: tuple[Task, ...]
    wave: Literal["rows", "barrier", "none"]
    num_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to run."""
        return not self.tasks

    @property
    def is_complete(self) -> bool:
        """Whether every file that the pipeline promises exists."""
        return all(step.state == "done" for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return the plan for `--json`."""
        return {
            "wave": self.wave,
            "tasks": len(self.tasks),
            "bytes": self.num_bytes,
            "steps": [step.to_json() for step in self.steps],
        }
