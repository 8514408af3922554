"""The plan: which (instance, shard) pairs have no file yet, as waves of tasks.

A plan is a pure function of what lies on disk, can be printed, and is the only input of a runner.
All row-local stages whose inputs are there, or come earlier in the same task, go in one wave. A fit
or a relation needs every shard, so it stands in a wave of its own kind, after which the runner
plans again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.pipeline.blocks import Block, current_blocks, shard_set
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Instance
from curation.pipeline.quarantine import quarantined
from curation.pipeline.relation import has_groups, missing_edges
from curation.pipeline.tasks import CPU_POOL, INGEST_FINGERPRINT, Task, shard_name
from schemas import dataset as paths

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
    """

    instance: str
    fingerprint: str
    state: State
    why: str
    shards: tuple[int, ...] = ()
    num_rows: int = 0
    quarantined: tuple[int, ...] = ()
    blocked: tuple[int, ...] = ()


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
            "steps": [
                {
                    "instance": s.instance,
                    "fingerprint": s.fingerprint,
                    "state": s.state,
                    "why": s.why,
                    "shards": len(s.shards),
                    "rows": s.num_rows,
                    "quarantined": list(s.quarantined),
                    "blocked": list(s.blocked),
                }
                for s in self.steps
            ],
        }


class Planner:
    """Looks at a dataset once and says what is missing.

    Args:
        dataset: The dataset, as it is now.
        config: The pipeline.
        instances: The pipeline's instances, resolved with the pins as they are now.
    """

    def __init__(
        self, dataset: Dataset, config: PipelineConfig, instances: Sequence[Instance]
    ) -> None:
        self.dataset = dataset
        self.config = config
        self.instances = instances
        self._listed: dict[int, ListedShard] = {}
        for state in dataset.ingests():
            for number in state.lists:
                self._listed.update(listed_in(dataset, state.seq, number))
        self.listed = sorted(self._listed)
        self._images = set(dataset.image_shards())
        self._given_up = {
            paths.IMAGES: self._quarantine(paths.IMAGES, INGEST_FINGERPRINT, self._images)
        }
        self._present: dict[str, set[int]] = {paths.IMAGES: self._images}
        self._coming: dict[str, set[int]] = {
            paths.IMAGES: self._missing(paths.IMAGES) - self._given_up[paths.IMAGES]
        }
        self._blocked: dict[str, set[int]] = {paths.IMAGES: set()}
        self._blocks: dict[str, tuple[Block, ...]] = {}

    def plan(self) -> Plan:
        """Return the plan."""
        steps = [self._plan_images()]
        for instance in self.instances:
            if instance.is_relation:
                steps.append(self._plan_relation(instance))
            else:
                steps.append(self._plan_rows(instance))
        tasks = self._row_tasks()
        if tasks:
            shards = {t.shard for t in tasks if t.shard is not None}
            num_bytes = sum(self._listed[shard].num_bytes for shard in shards)
            return Plan(tuple(steps), tuple(tasks), "rows", num_bytes)
        tasks = self._barrier_tasks()
        return Plan(tuple(steps), tuple(tasks), "barrier" if tasks else "none")

    # What is missing ---------------------------------------------------------------------------

    def _quarantine(self, instance: str, fingerprint: str, present: set[int]) -> set[int]:
        sheets = quarantined(self.dataset, instance, fingerprint)
        names = {shard_name(shard): shard for shard in self.listed}
        return {names[name] for name in sheets if name in names} - present

    def _missing(self, name: str) -> set[int]:
        return set(self.listed) - self._present[name]

    def _count_rows(self, shards: Iterable[int]) -> int:
        return sum(self._listed[shard].num_rows for shard in shards)

    def _plan_images(self) -> StepPlan:
        coming = tuple(sorted(self._coming[paths.IMAGES]))
        given_up = tuple(sorted(self._given_up[paths.IMAGES]))
        state: State = "due" if coming else "blocked" if given_up else "done"
        why = "listed, not yet taken in" if coming else "all listed files are taken in"
        return StepPlan(paths.IMAGES, "", state, why, coming, self._count_rows(coming), given_up)

    def _plan_rows(self, instance: Instance) -> StepPlan:
        if not instance.is_ready:
            return self._plan_unfitted(instance)
        name, fingerprint = instance.name, instance.fingerprint
        self._present[name] = set(self.dataset.instance_shards(name, fingerprint))
        self._given_up[name] = self._quarantine(name, fingerprint, self._present[name])
        missing = self._missing(name) - self._given_up[name]
        upstreams = [paths.IMAGES, *instance.inputs.values()]
        available = set(self.listed)
        for upstream in upstreams:
            available &= self._present.get(upstream, set()) | self._coming.get(upstream, set())
        self._coming[name] = missing & available
        self._blocked[name] = missing - available
        coming = tuple(sorted(self._coming[name]))
        if coming:
            first = not self._present[name]
            why = "no shard has it yet" if first else "some shards lack it"
            state: State = "due"
        elif self._given_up[name] or self._blocked[name]:
            state, why = "blocked", "some shards were given up; see `longtail ls`"
        else:
            state, why = "done", "every shard has it"
        return StepPlan(
            name,
            fingerprint,
            state,
            why,
            coming,
            self._count_rows(coming),
            tuple(sorted(self._given_up[name])),
            tuple(sorted(self._blocked[name])),
        )

    def _plan_unfitted(self, instance: Instance) -> StepPlan:
        shards = tuple(self.listed)
        fits = instance.is_fitted and instance.meaning is not None
        why = "its model is fitted first" if fits else "a stage that it reads is fitted first"
        if fits:
            assert instance.meaning is not None
            if self._quarantine_name(instance, instance.meaning.fit_key(), "fit"):
                return StepPlan(
                    instance.name, "", "blocked", "its fit failed three times", blocked=shards
                )
        waiting = [i for i in instance.inputs.values() if self._is_fit_blocked(i)]
        state: State = "blocked" if waiting else "after fit"
        return StepPlan(instance.name, "", state, why, shards, self._count_rows(shards))

    def _is_fit_blocked(self, name: str) -> bool:
        instance = next(i for i in self.instances if i.name == name)
        if instance.is_ready:
            return False
        if instance.is_fitted and instance.meaning is not None:
            return self._quarantine_name(instance, instance.meaning.fit_key(), "fit")
        return any(self._is_fit_blocked(i) for i in instance.inputs.values())

    def _quarantine_name(self, instance: Instance, fingerprint: str, name: str) -> bool:
        return name in quarantined(self.dataset, instance.name, fingerprint)

    def _plan_relation(self, instance: Instance) -> StepPlan:
        name = instance.name
        if instance.meaning is None:
            return StepPlan(name, "", "after fit", "a stage that it reads is fitted first")
        fingerprint = instance.fingerprint
        if not self._inputs_complete(instance.inputs.values()):
            why = "it needs every shard of what it reads"
            return StepPlan(name, fingerprint, "after shards", why, num_rows=self._all_rows())
        blocks = self._blocks_of(instance)
        if not blocks:
            return StepPlan(name, fingerprint, "done", "there are no shards")
        if has_groups(self.dataset, instance, blocks):
            return StepPlan(name, fingerprint, "done", "the groups are those of all shards")
        if given_up := self._given_up_tasks(instance):
            why = f"{given_up[0]} failed three times"
            return StepPlan(name, fingerprint, "blocked", why)
        return StepPlan(
            name, fingerprint, "due", "the set of shards has changed", num_rows=self._all_rows()
        )

    def _all_rows(self) -> int:
        return self._count_rows(self._images)

    def _inputs_complete(self, names: Iterable[str]) -> bool:
        """Say whether no shard of `names` is still to be made (given-up ones are left out)."""
        return not any(self._coming.get(name) for name in (paths.IMAGES, *names)) and all(
            name in self._present for name in names
        )

    def _by_name(self) -> dict[str, Instance]:
        return {instance.name: instance for instance in self.instances}

    # Tasks -------------------------------------------------------------------------------------

    def _row_tasks(self) -> list[Task]:
        tasks = []
        for shard in self.listed:
            due = [
                i
                for i in self.instances
                if not i.is_relation and i.is_ready and shard in self._coming[i.name]
            ]
            ingest = shard in self._coming[paths.IMAGES]
            tasks.extend(shard_tasks(shard, self._listed[shard], due, ingest=ingest))
        return tasks

    def _barrier_tasks(self) -> list[Task]:
        tasks: list[Task] = []
        for instance in self.instances:
            if instance.meaning is None:
                continue
            if instance.is_fitted and instance.artifact is None:
                if self._inputs_complete(instance.inputs.values()) and not self._quarantine_name(
                    instance, instance.meaning.fit_key(), "fit"
                ):
                    tasks.append(Task("fit", "fit", (instance.name,), num_rows=self._all_rows()))
            elif instance.is_relation and self._inputs_complete(instance.inputs.values()):
                tasks.extend(self._relation_tasks(instance))
        return tasks

    def _blocks_of(self, instance: Instance) -> tuple[Block, ...]:
        """Return the blocks of now; looked for once, since that reads a footer of every shard."""
        if instance.name not in self._blocks:
            self._blocks[instance.name] = current_blocks(self.dataset, instance, self._by_name())
        return self._blocks[instance.name]

    def _given_up_tasks(self, instance: Instance) -> list[str]:
        sheets = quarantined(self.dataset, instance.name, instance.fingerprint)
        return sorted({task.name for task in self._needed_for(instance)} & set(sheets))

    def _relation_tasks(self, instance: Instance) -> list[Task]:
        return [] if self._given_up_tasks(instance) else self._needed_for(instance)

    def _needed_for(self, instance: Instance) -> list[Task]:
        """Return the edges that are missing and the grouping after them, if it is."""
        blocks = self._blocks_of(instance)
        if not blocks or has_groups(self.dataset, instance, blocks):
            return []
        tasks = [
            Task(
                "edges",
                f"edges-{left.name}-{right.name}",
                (instance.name,),
                blocks=(left.name, right.name),
            )
            for left, right in missing_edges(self.dataset, instance, blocks)
        ]
        after = tuple(task.key for task in tasks)
        name = f"groups-{shard_set(blocks)}"
        groups = Task("groups", name, (instance.name,), after=after, num_rows=self._all_rows())
        return [*tasks, groups]


def shard_tasks(
    shard: int, listed: "ListedShard", due: Sequence[Instance], *, ingest: bool
) -> list[Task]:
    """Return the tasks that make what is due for one shard.

    All CPU stages that can go together with ingest make one task; a stage with its own pool makes
    its own, after those that it reads; CPU stages behind such a one make a task each.

    Args:
        shard: Its number.
        listed: What its list promises.
        due: Row-local instances that are ready, in order.
        ingest: Whether the image shard itself is still to be made.
    """
    waiting = {i.name for i in due if has_own_pool(i)}
    fused = [paths.IMAGES] if ingest else []
    alone: list[Instance] = []
    for instance in due:
        if instance.name in waiting or waiting & set(instance.inputs.values()):
            waiting.add(instance.name)
            alone.append(instance)
        else:
            fused.append(instance.name)
    tasks = []
    made: dict[str, str] = {}
    name = shard_name(shard)
    blank = Task("shard", name, (), shard, num_rows=listed.num_rows, work_list=listed.work_list)
    if fused:
        task = replace(blank, steps=tuple(fused))
        made = dict.fromkeys(fused, task.key)
        tasks.append(task)
    for instance in alone:
        upstreams = [paths.IMAGES, *instance.inputs.values()]
        after = tuple(sorted({made[upstream] for upstream in upstreams if upstream in made}))
        pool = instance.name if has_own_pool(instance) else CPU_POOL
        task = replace(blank, steps=(instance.name,), pool=pool, after=after)
        made[instance.name] = task.key
        tasks.append(task)
    return tasks


def has_own_pool(instance: Instance) -> bool:
    """Say whether an instance runs in actors of its own instead of fused with the CPU stages."""
    resources = instance.stage_type.resources
    gpus = resources.gpus if instance.run.gpus is None else instance.run.gpus
    return resources.own_pool or gpus > 0


@dataclass(frozen=True)
class ListedShard:
    """What a frozen list promises of one shard.

    Attributes:
        work_list: (ingest, list).
        num_rows: Files in it.
        num_bytes: Their bytes, as far as the listing knew.
    """

    work_list: tuple[int, int]
    num_rows: int
    num_bytes: int


def listed_in(dataset: Dataset, seq: int, number: int) -> dict[int, ListedShard]:
    """Return the shards that one frozen list promises."""
    table = dataset.read_list(seq, number, ["shard", "num_bytes"])
    table = table.filter(pc.is_valid(table["shard"]))
    counts = table.group_by("shard").aggregate([([], "count_all"), ("num_bytes", "sum")])
    return {
        row["shard"]: ListedShard((seq, number), row["count_all"], row["num_bytes_sum"] or 0)
        for row in counts.to_pylist()
    }
