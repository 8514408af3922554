"""Makes the plan: looks at a dataset once and says what is missing, and what makes it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from curation.dataset import Dataset
from curation.pipeline.barriers import fit_name, relation_tasks
from curation.pipeline.blocks import Block, current_blocks
from curation.pipeline.config import PipelineConfig
from curation.pipeline.fit_sample import has_complete_row
from curation.pipeline.instances import Instance
from curation.pipeline.plan import Plan, State, StepPlan
from curation.pipeline.quarantine import quarantined
from curation.pipeline.relation import has_groups
from curation.pipeline.shard_tasks import ListedShard, has_own_pool, listed_in, shard_tasks
from curation.pipeline.stage import FittedStage
from curation.pipeline.tasks import CPU_POOL, INGEST_FINGERPRINT, Task, shard_name
from schemas import dataset as paths

_Fit = Literal["due", "later", "no rows", "given up"]

_GIVEN_UP = "some shards were given up; see `longtail ls`"


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
        self.instances = instances
        self._source = None if config.source is None else config.source.name
        self._by_name = {instance.name: instance for instance in instances}
        self._listed: dict[int, ListedShard] = {}
        self._unlisted: list[int] = []
        for state in dataset.ingests():
            if state.done is None:
                self._unlisted.append(state.seq)
            for number in state.lists:
                self._listed.update(listed_in(dataset, state.seq, number))
        self.listed = sorted(self._listed)
        self._present: dict[str, set[int]] = {}
        self._given_up: dict[str, set[int]] = {}
        self._coming: dict[str, set[int]] = {}
        self._blocked: dict[str, set[int]] = {}
        self._fits: dict[str, _Fit] = {}
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

    # Rows --------------------------------------------------------------------------------------

    def _look(self, name: str, fingerprint: str, present: Iterable[int]) -> set[int]:
        """Take in which shards are there and which were given up; return the others."""
        self._present[name] = set(present)
        sheets = quarantined(self.dataset, name, fingerprint)
        given_up = {shard for shard in self.listed if shard_name(shard) in sheets}
        self._given_up[name] = given_up - self._present[name]
        return set(self.listed) - self._present[name] - self._given_up[name]

    def _plan_images(self) -> StepPlan:
        missing = self._look(paths.IMAGES, INGEST_FINGERPRINT, self.dataset.image_shards())
        # Nobody else can read the files of another source.
        foreign = {shard for shard in missing if self._listed[shard].source != self._source}
        self._coming[paths.IMAGES] = missing - foreign
        self._blocked[paths.IMAGES] = foreign
        state: State = "done"
        why = "all listed files are taken in"
        if self._coming[paths.IMAGES]:
            state, why = "due", "listed, not yet taken in"
        elif foreign:
            source = self._listed[min(foreign)].source
            state, why = "blocked", f"listed from {source!r}, which is not this pipeline's source"
        elif self._given_up[paths.IMAGES]:
            state, why = "blocked", _GIVEN_UP
        return self._step(paths.IMAGES, "", state, why)

    def _plan_rows(self, instance: Instance) -> StepPlan:
        if not instance.is_ready:
            return self._plan_unfitted(instance)
        name, fingerprint = instance.name, instance.fingerprint
        missing = self._look(name, fingerprint, self.dataset.instance_shards(name, fingerprint))
        available = set(self.listed)
        for upstream in (paths.IMAGES, *instance.inputs.values()):
            available &= self._present[upstream] | self._coming[upstream]
        self._coming[name] = missing & available
        self._blocked[name] = missing - available
        state: State = "done"
        why = "every shard has it"
        if self._coming[name]:
            state = "due"
            why = "some shards lack it" if self._present[name] else "no shard has it yet"
        elif self._blocked[name] and self._blocked[name] <= self._blocked[paths.IMAGES]:
            state, why = "blocked", "some shards are not taken in"
        elif self._given_up[name] or self._blocked[name]:
            state, why = "blocked", _GIVEN_UP
        return self._step(name, fingerprint, state, why)

    def _step(self, name: str, fingerprint: str, state: State, why: str) -> StepPlan:
        coming = tuple(sorted(self._coming[name]))
        given_up, blocked = (
            tuple(sorted(shards[name])) for shards in (self._given_up, self._blocked)
        )
        num_rows = self._count_rows(coming)
        return StepPlan(name, fingerprint, state, why, coming, num_rows, given_up, blocked)

    def _count_rows(self, shards: Iterable[int]) -> int:
        return sum(self._listed[shard].num_rows for shard in shards)

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

    # Fits --------------------------------------------------------------------------------------

    def _plan_unfitted(self, instance: Instance) -> StepPlan:
        shards = tuple(self.listed)
        if not _waits_for_own_fit(instance):
            return self._plan_behind_fit(instance, shards)
        fit = self._fit_of(instance)
        if fit == "given up":
            why = "its fit failed three times"
            return StepPlan(instance.name, "", "blocked", why, blocked=shards)
        state: State = "after fit"
        why = "its model is fitted first"
        if fit == "later" and (missing := self._comes_elsewhere()):
            state, why = "after shards", f"its fit needs every shard, and {missing}"
        elif fit == "no rows":
            state, why = "after shards", f"no row has {' and '.join(_fit_reads(instance))} yet"
        return StepPlan(instance.name, "", state, why, shards, self._count_rows(shards))

    def _plan_behind_fit(self, instance: Instance, shards: tuple[int, ...]) -> StepPlan:
        """Say of an instance that something it reads, through others perhaps, is not fitted."""
        blocked = any(self._is_fit_given_up(name) for name in instance.inputs.values())
        state: State = "blocked" if blocked else "after fit"
        why = "a stage that it reads is fitted first"
        return StepPlan(instance.name, "", state, why, shards, self._count_rows(shards))

    def _is_fit_given_up(self, name: str) -> bool:
        instance = self._by_name[name]
        if instance.is_ready:
            return False
        if _waits_for_own_fit(instance):
            return self._fit_of(instance) == "given up"
        return any(self._is_fit_given_up(i) for i in instance.inputs.values())

    def _fit_of(self, instance: Instance) -> _Fit:
        """Say what is to be done about the fit that an instance waits for; found out once."""
        if instance.name not in self._fits:
            self._fits[instance.name] = self._find_fit(instance)
        return self._fits[instance.name]

    def _find_fit(self, instance: Instance) -> _Fit:
        if not self._inputs_complete(instance):
            return "later"
        if self._fit_name(instance) in quarantined(
            self.dataset, instance.name, instance.fingerprint
        ):
            return "given up"
        reads = _fit_reads(instance)
        found = has_complete_row(self.dataset, instance, self._by_name, reads)
        return "due" if found else "no rows"

    def _fit_name(self, instance: Instance) -> str:
        shards = set(self._present[paths.IMAGES])
        for name in instance.inputs.values():
            shards &= self._present[name]
        return fit_name(shards)

    def _inputs_complete(self, instance: Instance) -> bool:
        """Say whether no shard that it reads is still to be made (given-up ones are left out)."""
        names = (paths.IMAGES, *instance.inputs.values())
        is_here = all(name in self._present and not self._coming[name] for name in names)
        return is_here and not self._comes_elsewhere()

    def _comes_elsewhere(self) -> str:
        """Say which shards are still to come that this plan cannot make; empty if there are none.

        A fit without them would be pinned on part of the data for good.
        """
        if self._unlisted:
            return f"ingest {self._unlisted[0]} has not listed all of its source"
        if foreign := self._blocked[paths.IMAGES]:
            source = self._listed[min(foreign)].source
            count = f"{len(foreign)} shard{'s' if len(foreign) > 1 else ''}"
            return f"{count} listed from {source!r}, another source, not yet taken in"
        return ""

    # Relations ---------------------------------------------------------------------------------

    def _plan_relation(self, instance: Instance) -> StepPlan:
        name = instance.name
        if instance.meaning is None:
            return self._plan_behind_fit(instance, ())
        num_rows = self._count_rows(self._present[paths.IMAGES])
        fingerprint = instance.fingerprint
        if not self._inputs_complete(instance):
            missing = self._comes_elsewhere()
            why = "it needs every shard of what it reads" + (f", and {missing}" if missing else "")
            return StepPlan(name, fingerprint, "after shards", why, num_rows=num_rows)
        blocks = self._blocks_of(instance)
        if not blocks:
            return StepPlan(name, fingerprint, "done", "there are no shards")
        if has_groups(self.dataset, instance, blocks):
            return StepPlan(name, fingerprint, "done", "the groups are those of all shards")
        if given_up := self._given_up_tasks(instance):
            return StepPlan(name, fingerprint, "blocked", f"{given_up[0]} failed three times")
        why = "the set of shards has changed"
        return StepPlan(name, fingerprint, "due", why, num_rows=num_rows)

    def _blocks_of(self, instance: Instance) -> tuple[Block, ...]:
        """Return the blocks of now; looked for once, since that reads a footer of every shard."""
        if instance.name not in self._blocks:
            self._blocks[instance.name] = current_blocks(self.dataset, instance, self._by_name)
        return self._blocks[instance.name]

    def _given_up_tasks(self, instance: Instance) -> list[str]:
        sheets = quarantined(self.dataset, instance.name, instance.fingerprint)
        return sorted({task.name for task in self._relation_tasks(instance)} & set(sheets))

    def _relation_tasks(self, instance: Instance) -> list[Task]:
        num_rows = self._count_rows(self._present[paths.IMAGES])
        return relation_tasks(self.dataset, instance, self._blocks_of(instance), num_rows)

    # Both --------------------------------------------------------------------------------------

    def _barrier_tasks(self) -> list[Task]:
        tasks: list[Task] = []
        num_rows = self._count_rows(self._present[paths.IMAGES])
        for instance in self.instances:
            if _waits_for_own_fit(instance):
                if self._fit_of(instance) == "due":
                    name = self._fit_name(instance)
                    pool = _fit_pool(instance, self._by_name)
                    tasks.append(Task("fit", name, (instance.name,), pool=pool, num_rows=num_rows))
            elif instance.is_relation and instance.meaning is not None:
                due = self._inputs_complete(instance) and not self._given_up_tasks(instance)
                tasks.extend(self._relation_tasks(instance) if due else ())
        return tasks


def _waits_for_own_fit(instance: Instance) -> bool:
    return instance.is_fitted and instance.meaning is not None and instance.artifact is None


def _fit_pool(instance: Instance, instances: Mapping[str, Instance]) -> str:
    """Return the pool of the stage that the fit is done with, if it has one of its own."""
    stage = instance.make()
    assert isinstance(stage, FittedStage)
    logical = stage.fit_with()
    if logical is None or not has_own_pool(instances[instance.inputs[logical]]):
        return CPU_POOL
    return instance.inputs[logical]


def _fit_reads(instance: Instance) -> tuple[str, ...]:
    stage = instance.make()
    assert isinstance(stage, FittedStage)
    return tuple(name for name in stage.fit_reads() if name not in stage.fit_optional())
