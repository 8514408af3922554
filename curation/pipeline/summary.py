"""What a run did, kept in `runs/<run id>.json` after every process of it is gone."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from curation.pipeline.dispatch import StepEnd
from curation.pipeline.tasks import TaskResult


@dataclass
class StepSummary:
    """What a run did for one instance.

    Attributes:
        shards: Shards, or other tasks, finished.
        rows: Rows written.
        errors: Error code -> rows.
        seconds: Wall time inside the step, summed over workers.
        quarantined: Task name -> the last charge, for what was given up.
        blocked: Tasks that waited for something given up.
    """

    shards: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    quarantined: dict[str, str] = field(default_factory=dict)
    blocked: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        return {
            "shards": self.shards,
            "rows": self.rows,
            "errors": dict(sorted(self.errors.items())),
            "seconds": round(self.seconds, 3),
            "quarantined": dict(sorted(self.quarantined.items())),
            "blocked": self.blocked,
        }


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        run_id: Its name below `runs/`; empty where there was nothing to do.
        pipeline: Name of the pipeline.
        runner: `ray` or `local`.
        steps: Instance -> what was done; `images` is ingest.
        seconds: Wall time from the first listing to the last task.
        waves: How many times it planned and ran.
        complete: Whether everything that the pipeline promises now exists.
        left: Instance -> why it is not complete.
        facts: What was noticed, where there was any: `charges`; `restarts` of children; and
            `hindrances`, tasks that could not be worked on and went back without a charge. Of the
            shards of GPU stages, `fed` saw views that the CPU pool had made, `unfed` made their
            own.
    """

    run_id: str
    pipeline: str
    runner: str
    steps: dict[str, StepSummary] = field(default_factory=dict)
    seconds: float = 0.0
    waves: int = 0
    complete: bool = True
    left: dict[str, str] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        """0 when the pipeline is complete, 1 when something was given up."""
        return 0 if self.complete else 1

    @property
    def did_nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not self.waves

    def take(self, end: StepEnd) -> None:
        """Count a step that has ended."""
        step = self.steps.setdefault(end.step, StepSummary())
        if end.outcome == "done":
            step.shards += 1
            step.rows += end.result.num_rows
            step.errors.update(end.result.errors)
            step.seconds += end.result.seconds
        elif end.outcome == "quarantined":
            step.quarantined[end.task.name] = f"{end.result.code}: {end.result.text}"
        else:
            step.blocked += 1

    def answered(self, result: TaskResult) -> None:
        """Count what a worker's answer says besides its steps."""
        if result.restarts:
            self.facts["restarts"] += result.restarts
        if result.is_fed is not None:
            self.facts["fed" if result.is_fed else "unfed"] += 1
        if result.hindrance:
            self.facts["hindrances"] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON, as it is stored."""
        return {
            "format": 1,
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "runner": self.runner,
            "complete": self.complete,
            "left": dict(sorted(self.left.items())),
            "seconds": round(self.seconds, 3),
            "waves": self.waves,
            "steps": {name: step.to_json() for name, step in self.steps.items()},
            "facts": dict(sorted(self.facts.items())),
        }

    def lines(self) -> list[str]:
        """Return what a person wants to read."""
        if self.did_nothing and self.complete:
            return ["nothing to do: everything the pipeline promises is there"]
        lines = []
        for name, step in self.steps.items():
            text = f"{name}: {step.rows:,} rows in {step.shards:,} tasks"
            if step.errors:
                found = ", ".join(f"{count:,} {code}" for code, count in step.errors.most_common())
                text += f"; without values: {found}"
            lines.append(text)
            lines.extend(
                f"{name}: {task} was given up after three tries: {why}"
                for task, why in sorted(step.quarantined.items())
            )
            if step.blocked:
                lines.append(f"{name}: {step.blocked:,} tasks wait for something given up")
        if restarts := self.facts["restarts"]:
            lines.append(f"{restarts:,} times a worker's process died and was started again")
        lines.extend(f"{name}: not complete: {why}" for name, why in sorted(self.left.items()))
        return lines
