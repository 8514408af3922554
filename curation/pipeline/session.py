"""One run of a pipeline: list, plan, run a wave, plan again, until nothing is left to do."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from curation.dataset import Dataset
from curation.errors import ConservationError
from curation.fingerprint import pretty_json
from curation.ingest.work_list import freeze_lists
from curation.pipeline import retry
from curation.pipeline.config import PipelineConfig
from curation.pipeline.dispatch import Charge, Dispatch, StepEnd
from curation.pipeline.fit import find_pin
from curation.pipeline.instances import Instance, Registry, resolve
from curation.pipeline.plan import Plan, Planner, has_own_pool, listed_in, shard_tasks
from curation.pipeline.quarantine import forgive, read_charges, write_charges
from curation.pipeline.runner import Feed, Pool, Runner
from curation.pipeline.summary import RunSummary
from curation.pipeline.tasks import CPU_POOL, INGEST_FINGERPRINT, Task, WorkerSpec
from curation.pipeline.watch import Watch
from schemas import dataset as paths

Event = Mapping[str, Any]
"""What a run says of itself: `event` names the kind, the rest are plain values."""


class Session:
    """A pipeline on its dataset.

    Args:
        config: The checked pipeline file.
        text: The file as it was read, which is what `pipelines/<name>.yaml` keeps.
        registry: The stages that exist.
    """

    def __init__(self, config: PipelineConfig, text: str, registry: Registry) -> None:
        self.config = config
        self.source = None if config.source is None else config.source.located()
        self.text = text
        self.registry = registry
        resolve(config, registry)  # refuse a wrong pipeline before anything is touched

    # Looking -----------------------------------------------------------------------------------

    def instances(self, dataset: Dataset) -> tuple[Instance, ...]:
        """Resolve the instances with the artefacts pinned now."""
        return resolve(self.config, self.registry, lambda key: find_pin(dataset, key))

    def plan(self, dataset: Dataset) -> Plan:
        """Say what is missing on disk; the source is not listed."""
        return Planner(dataset, self.config, self.instances(dataset)).plan()

    def create_dataset(self) -> Dataset:
        """Open the dataset, or make it."""
        run = self.config.run
        return Dataset.open_or_create(
            self.config.dataset,
            max_shard_rows=run.max_shard_rows,
            max_shard_bytes=run.max_shard_bytes,
        )

    def pools(self, instances: Sequence[Instance], workers: int | None = None) -> list[Pool]:
        """Return the pools that the pipeline needs, whatever is due now."""
        run = self.config.run
        pools = [Pool(CPU_POOL, 1, workers or run.workers, run.worker_cpus, 0.0, run.memory_bytes)]
        for instance in instances:
            if has_own_pool(instance):
                resources = instance.stage_type.resources
                own = instance.run
                cpus = resources.cpus if own.cpus is None else own.cpus
                gpus = resources.gpus if own.gpus is None else own.gpus
                memory = own.memory_bytes or resources.memory_bytes
                pools.append(
                    Pool(instance.name, own.min_workers, own.max_workers, cpus, gpus, memory)
                )
        return pools

    # Running -----------------------------------------------------------------------------------

    def run(
        self,
        make_runner: Callable[[], Runner],
        *,
        runner_name: str,
        workers: int | None = None,
        retry_quarantined: bool = False,
        retry_transient: bool = False,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> RunSummary:
        """Bring the dataset up to date.

        Nothing is started where nothing is to be done: `make_runner` is called with the first task.

        Raises:
            ConfigError: A stage lacks what it needs here; nothing was touched.
            LongtailError: Refused, or the store failed; what was finished stays.
        """
        started = time.monotonic()
        for instance in resolve(self.config, self.registry):
            instance.make().check()
        dataset = self.create_dataset()
        if retry_quarantined:
            self._forgive(dataset)
        if retry_transient:
            retry.retry_transient(dataset, self.source, self.instances(dataset))
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
        summary = RunSummary(run_id, self.config.name, runner_name)
        wave = _Waves(self, dataset, make_runner, summary, workers, on_event)
        try:
            wave.run()
        finally:
            wave.close()
            summary.seconds = time.monotonic() - started
            if not summary.did_nothing:
                name = f"runs/{summary.run_id}.json"
                dataset.store.put(name, pretty_json(summary.to_json()))
        return summary

    def _forgive(self, dataset: Dataset) -> None:
        forgive(dataset, paths.IMAGES, INGEST_FINGERPRINT)
        for instance in self.instances(dataset):
            if instance.meaning is not None:
                forgive(dataset, instance.name, instance.fingerprint)


class _Waves:
    """The loop of a run, and what it holds while it goes on."""

    def __init__(
        self,
        session: Session,
        dataset: Dataset,
        make_runner: Callable[[], Runner],
        summary: RunSummary,
        workers: int | None,
        on_event: Callable[[Event], None],
    ) -> None:
        self.session = session
        self.dataset = dataset
        self.make_runner = make_runner
        self.summary = summary
        self.workers = workers
        self.on_event = on_event
        self.runner: Runner | None = None

    def run(self) -> None:
        feed = self._listing()
        previous: tuple[str, ...] | None = None
        while True:
            if feed is not None and self.summary.waves == 0:
                # A first look: where the source holds nothing new, no runner need start.
                while feed.is_empty and not feed.is_done:
                    feed.wait(0.05)
                    feed.raise_error()
            instances = self.session.instances(self.dataset)
            plan = Planner(self.dataset, self.session.config, instances).plan()
            idle_feed = feed is None or (feed.is_done and feed.is_empty)
            if plan.is_empty and idle_feed:
                break
            keys = tuple(task.key for task in plan.tasks)
            if idle_feed and keys == previous:
                message = (
                    f"the plan does not shrink: {', '.join(keys[:3])} were run and are missing"
                )
                raise ConservationError(message)
            previous = keys
            self._run_wave(instances, plan, feed)
            feed = None
        self.summary.complete = plan.is_complete
        self.summary.left = {s.instance: s.why for s in plan.steps if s.state != "done"}

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()

    def _listing(self) -> Feed | None:
        """Start listing the source in a thread; shards of a frozen list become tasks at once."""
        source = self.session.source
        if source is None:
            return None
        due = [
            instance
            for instance in self.session.instances(self.dataset)
            if not instance.is_relation and instance.is_ready
        ]

        def tasks() -> Iterator[Task]:
            for frozen in freeze_lists(self.dataset, source):
                found = listed_in(self.dataset, frozen.seq, frozen.number)
                for shard, listed in sorted(found.items()):
                    yield from shard_tasks(shard, listed, due, ingest=True)

        return Feed(tasks())

    def _run_wave(self, instances: tuple[Instance, ...], plan: Plan, feed: Feed | None) -> None:
        config = self.session.config
        spec = WorkerSpec(
            self.dataset.store.url,
            instances,
            self.session.source,
            config.run.row_timeout_s,
            config.run.task_timeout_s,
        )
        pools = self.session.pools(instances, self.workers)
        if self.runner is None:
            self._begin(pools)
        assert self.runner is not None
        self.summary.waves += 1
        watch = Watch(self.on_event, [pool.name for pool in pools])

        def charged(task: Task, step: str, charges: list[Charge], given_up: bool) -> None:
            write_charges(self.dataset, step, spec.fingerprint(step), task.name, charges)
            self.summary.facts["charges"] += 1
            last = charges[-1]
            self.on_event(
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

        def ended(end: StepEnd) -> None:
            self.summary.take(end)
            watch.ended(end)

        dispatch = Dispatch(
            spec.dependants,
            lambda step, name: read_charges(self.dataset, step, spec.fingerprint(step), name),
            charged,
            ended,
            lambda task, step: self._is_made(spec, task, step),
        )
        known = set()
        for task in plan.tasks:
            known.add(task.shard)
            dispatch.add(task)
        if feed is not None:
            feed.skip(known - {None})
        watch.begin(plan, dispatch, feed)
        self.on_event({"event": "wave", "number": self.summary.waves, "kind": plan.wave})
        self.runner.run(spec, pools, dispatch, feed, watch.tick)

    def _is_made(self, spec: WorkerSpec, task: Task, step: str) -> bool:
        if task.shard is None:
            return False
        if step == paths.IMAGES:
            return self.dataset.store.exists(paths.images_path(task.shard))
        fingerprint = spec.fingerprint(step)
        return self.dataset.store.exists(paths.instance_path(step, fingerprint, task.shard))

    def _begin(self, pools: Sequence[Pool]) -> None:
        name = f"pipelines/{self.session.config.name}.yaml"
        data = self.session.text.encode()
        if not self.dataset.store.exists(name) or self.dataset.store.read(name) != data:
            self.dataset.store.put(name, data)
        runner = self.make_runner()
        runner.check(pools)
        self.runner = runner
