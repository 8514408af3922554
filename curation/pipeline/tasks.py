"""What a runner hands to a worker, and what comes back.

Everything here is plain data that pickles: a task names its work, a `WorkerSpec` says how to do it,
a `TaskResult` says for every step what became of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from curation.fingerprint import digest
from curation.ingest.config import SourceConfig
from curation.pipeline.instances import Instance
from schemas import dataset as paths

CPU_POOL = "cpu"
"""The pool of workers that run all fused CPU stages, fits and relations."""

INGEST_FINGERPRINT = "ingest"
"""Stands for a fingerprint in the charge sheets of image shards."""

Kind = Literal["shard", "fit", "edges", "groups"]


@dataclass(frozen=True)
class Task:
    """One unit of work: a try of it ends with files written, or with a charge.

    Attributes:
        kind: What is done.
        name: What the task is done to; also the name of the charge sheet.
        steps: Instances in the order in which they run; `images` first where ingest is due.
        shard: The shard's number, for `shard`.
        blocks: Names of blocks, for `edges`: the first is compared with each of the others, and
            with itself if it stands there again.
        pool: Which workers may run it.
        after: Keys of tasks that must have ended before.
        num_rows: Rows that it will touch, for the plan and the estimate of time left.
        work_list: (ingest, list) that names the shard's files, where ingest is among the steps.
        packs: Instances for which the views of the shard are packed too; see
            `curation.pipeline.packet`. A task may have no steps but this.
        is_alone: Whether a worker may have nothing else in hand meanwhile: one died over it that
            had others too, and who of them was at fault is to be seen.
        key: What identifies the task within a plan: no step is made by two tasks.
    """

    kind: Kind
    name: str
    steps: tuple[str, ...]
    shard: int | None = None
    blocks: tuple[str, ...] = ()
    pool: str = CPU_POOL
    after: tuple[str, ...] = ()
    num_rows: int = 0
    work_list: tuple[int, int] | None = None
    packs: tuple[str, ...] = ()
    is_alone: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        """Name the task by its first step; a retry with fewer steps keeps that name."""
        if self.steps and not self.key:
            object.__setattr__(self, "key", f"{self.kind}/{self.name}/{self.steps[0]}")


def shard_name(shard: int) -> str:
    """Return the name of a shard's tasks and charge sheets."""
    return f"shard-{shard:08d}"


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs to know to run the tasks of a pipeline.

    Attributes:
        dataset_url: Where the dataset lies.
        instances: The pipeline's instances, in order.
        source: The source, for ingest steps and for bytes stored by reference.
        row_timeout_s: Time that the shared decode of one image may take.
        task_timeout_s: Time that one call of a worker for a task may take, with every new child and
            every row that is run again alone; only the first child's start is not counted. A worker
            answers by then: what is not finished is charged to the step that runs, however far it
            has come.
    """

    dataset_url: str
    instances: tuple[Instance, ...]
    source: SourceConfig | None
    row_timeout_s: float
    task_timeout_s: float

    @property
    def key(self) -> str:
        """Changes whenever a worker must be told anew, as after a fit."""
        ready = [i.fingerprint if i.meaning is not None else "" for i in self.instances]
        names = [i.name for i in self.instances]
        return digest([self.dataset_url, names, ready, self.row_timeout_s])

    def instance(self, name: str) -> Instance:
        """Return the instance called `name`."""
        return next(i for i in self.instances if i.name == name)

    def fingerprint(self, step: str) -> str:
        """Return the folder name that a step's charge sheets lie under."""
        return INGEST_FINGERPRINT if step == paths.IMAGES else self.instance(step).fingerprint

    def dependants(self, step: str) -> frozenset[str]:
        """Return the instances that read `step`, directly or through others."""
        found = {step}
        for instance in self.instances:
            stage = instance.make()
            reads_images = step == paths.IMAGES and (
                stage.pixels() is not None or any(r.startswith("images.") for r in stage.reads())
            )
            if reads_images or found & set(instance.inputs.values()):
                found.add(instance.name)
        return frozenset(found - {step})


@dataclass(frozen=True)
class StepResult:
    """What became of one step of a task.

    Attributes:
        status: `done`, `failed` (a charge), or `skipped` (not finished, and not its own fault: an
            earlier step failed, or there was a hindrance).
        num_rows: Rows written.
        errors: Error code -> rows, for the summary.
        seconds: CPU-side wall time spent in the step.
        code: For `failed`: `exception`, `contract`, `crashed`, `timeout`, `memory` or `lost`.
        text: For `failed`: what happened, in a line.
    """

    status: Literal["done", "failed", "skipped"]
    num_rows: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    code: str = ""
    text: str = ""


@dataclass(frozen=True)
class TaskResult:
    """What a worker answers: one `StepResult` for each step, and facts for the summary.

    Attributes:
        steps: What became of each step.
        seconds: Wall time of the last attempt.
        restarts: How often the child process had to be started again.
        decode_seconds: Wall time of the shared decode.
        hindrance: Why the task could not be worked on, in a sentence, through no fault of what it
            was done to: the store is not reachable, a model does not load, a process does not
            start. Steps that are not `done` go again without a charge.
        packets: Instance -> the descriptor of the packet that was made for it, in the process that
            holds this result, which is to close it.
        packed: The instances for which a packet was made, told to who holds no descriptor.
        is_fed: Whether the images were seen in a packet; null where no packet could have come.
    """

    steps: Mapping[str, StepResult]
    seconds: float = 0.0
    restarts: int = 0
    decode_seconds: float = 0.0
    hindrance: str = ""
    packets: Mapping[str, int] = field(default_factory=dict)
    packed: tuple[str, ...] = ()
    is_fed: bool | None = None

    @property
    def is_done(self) -> bool:
        """Whether every step was finished."""
        return all(step.status == "done" for step in self.steps.values())
