"""The loop of a run: plan, run a wave, plan again, until nothing is left to do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from curation.dataset import Dataset
from curation.errors import ConservationError
from curation.ingest.config import SourceConfig
from curation.ingest.work_list import freeze_lists
from curation.pipeline.config import PipelineConfig
from curation.pipeline.dispatch import Charge, Dispatch, StepEnd
from curation.pipeline.instances import Instance
from curation.pipeline.plan import Plan
from curation.pipeline.planner import Planner
from curation.pipeline.quarantine import read_charges, write_charges
from curation.pipeline.runner import Feed, Pool, Runner
from curation.pipeline.shard_tasks import listed_in, shard_tasks
from curation.pipeline.summary import RunSummary
from curation.pipeline.tasks import Task, TaskResult, WorkerSpec
from curation.pipeline.watch import Event, Watch
from schemas import dataset as paths

_LOOK_S = 0.05
"""How often a listing is looked at while nothing else is to be done."""


class Pipeline(Protocol):
    """What the loop needs of a `curation.pipeline.session.Session`."""

    config: PipelineConfig
    source: SourceConfig | None

    def instances(self, dataset: Dataset) -> tuple[Instance, ...]: ...

    def pools(self, instances: tuple[Instance, ...], workers: int | None) -> list[Pool]: ...

    def record(self, dataset: Dataset) -> None: ...


class Waves:
    """The loop of a run, and what it holds while it goes on.

    Args:
        pipeline: What is run.
        dataset: Where.
        make_runner: Called with the first task, and never where there is none.
        summary: Where it is counted.
        workers: Workers of the CPU pool; null for what the pipeline says.
        on_event: Who is told.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        dataset: Dataset,
        make_runner: Callable[[], Runner],
        summary: RunSummary,
        workers: int | None,
        on_event: Callable[[Event], None],
    ) -> None:
        self._pipeline = pipeline
        self._dataset = dataset
        self._make_runner = make_runner
        self._summary = summary
        self._workers = workers
        self._on_event = on_event
        self._runner: Runner | None = None

    def run(self) -> None:
        """Go on until the plan is empty and the source is listed.

        What is missing on disk does not wait for the listing. Fits and relations do: they answer
        for all shards, and a run that was stopped must not give another answer when it goes on.
        """
        feed = self._listing()
        previous: tuple[str, ...] | None = None
        while True:
            instances = self._pipeline.instances(self._dataset)
            plan = Planner(self._dataset, self._pipeline.config, instances).plan()
            if plan.wave != "rows" and feed is not None:
                if self._wait_for_task(feed):
                    plan = replace(plan, tasks=(), wave="rows")
                else:
                    feed = None
                    if not plan.is_complete:
                        continue  # what waited for the end of the listing may be due now
            if plan.is_empty and feed is None:
                break
            keys = tuple(task.key for task in plan.tasks)
            if feed is None and keys == previous:
                message = (
                    f"the plan does not shrink: {', '.join(keys[:3])} were run and are missing"
                )
                raise ConservationError(message)
            previous = keys
            self._run_wave(instances, plan, feed)
            feed = None
        if self._runner is None:
            self._pipeline.record(self._dataset)
        self._summary.complete = plan.is_complete
        self._summary.left = {s.instance: s.why for s in plan.steps if s.state != "done"}

    def close(self) -> None:
        """End every worker."""
        if self._runner is not None:
            self._runner.close()

    def _listing(self) -> Feed | None:
        """Start listing the source in a thread; shards of a frozen list become tasks at once."""
        source = self._pipeline.source
        if source is None:
            return None
        due = [
            instance
            for instance in self._pipeline.instances(self._dataset)
            if not instance.is_relation and instance.is_ready
        ]
        lists = freeze_lists(self._dataset, source)  # refuses a wrong source here and now

        def tasks() -> Iterator[Task]:
            for frozen in lists:
                found = listed_in(self._dataset, frozen.seq, frozen.number)
                for shard, listed in sorted(found.items()):
                    yield from shard_tasks(shard, listed, due, ingest=True)

        return Feed(tasks())

    def _wait_for_task(self, feed: Feed) -> bool:
        """Wait until a listing has found something to do; say false if it ends before."""
        watch = Watch(self._on_event, [])
        watch.begin(None, feed)
        while feed.is_empty and not feed.is_done:
            feed.wait(_LOOK_S)
            feed.raise_error()
            watch.tick()
        return not feed.is_empty

    def _run_wave(self, instances: tuple[Instance, ...], plan: Plan, feed: Feed | None) -> None:
        run = self._pipeline.config.run
        spec = WorkerSpec(
            self._dataset.store.url,
            instances,
            self._pipeline.source,
            run.row_timeout_s,
            run.task_timeout_s,
        )
        pools = self._pipeline.pools(instances, self._workers)
        if self._runner is None:
            self._runner = self._make_runner()
            self._runner.check(pools)
            self._pipeline.record(self._dataset)
        self._summary.waves += 1
        watch = Watch(self._on_event, [pool.name for pool in pools])
        dispatch = self._dispatch(spec, watch)
        for task in plan.tasks:
            dispatch.add(task)
        if feed is not None:
            feed.skip(task.shard for task in plan.tasks)
        watch.begin(dispatch, feed)
        self._on_event({"event": "wave", "number": self._summary.waves, "kind": plan.wave})
        self._runner.run(spec, pools, dispatch, feed, watch.tick)

    def _dispatch(self, spec: WorkerSpec, watch: Watch) -> Dispatch:
        def charged(task: Task, step: str, charges: list[Charge], given_up: bool) -> None:
            write_charges(self._dataset, step, spec.fingerprint(step), task.name, charges)
            self._summary.facts["charges"] += 1
            last = charges[-1]
            self._on_event(
                {
                    "event": "charge",
                    "task": task.name,
                    "step": step,
                    "code": last.code,
                    "text": last.text,
                    "try": len(charges),
                    "given_up": given_up,
                }
            )

        def answered(task: Task, result: TaskResult, worker: str) -> None:
            self._summary.answered(result)
            if text := result.hindrance:
                self._on_event(
                    {"event": "hindrance", "task": task.name, "worker": worker, "text": text}
                )

        def ended(end: StepEnd) -> None:
            self._summary.take(end)
            watch.ended(end)

        return Dispatch(
            spec.dependants,
            lambda step, name: read_charges(self._dataset, step, spec.fingerprint(step), name),
            charged,
            ended,
            lambda task, step: self._is_made(spec, task, step),
            answered,
        )

    def _is_made(self, spec: WorkerSpec, task: Task, step: str) -> bool:
        if task.shard is None:
            return False
        if step == paths.IMAGES:
            return self._dataset.files.exists(paths.IMAGES, task.shard)
        folder = paths.instance_folder(step, spec.fingerprint(step))
        return self._dataset.files.exists(folder, task.shard)
