"""A pipeline on its dataset: what it would do, and a run that does it."""

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from curation.dataset import Dataset
from curation.fingerprint import pretty_json
from curation.ingest.config import SourceConfig
from curation.ingest.load import check_references
from curation.pipeline import retry
from curation.pipeline.config import PipelineConfig, check_memory
from curation.pipeline.costs import check_costs, cost_line, has_costs, with_costs
from curation.pipeline.facts import Learnt
from curation.pipeline.fit import check_artifact, find_pin
from curation.pipeline.instances import Instance, Registry, resolve
from curation.pipeline.plan import Plan
from curation.pipeline.planner import Planner
from curation.pipeline.quarantine import forgive
from curation.pipeline.runner import Pool, Runner
from curation.pipeline.shard_tasks import has_own_pool
from curation.pipeline.summary import RunSummary
from curation.pipeline.tasks import CPU_POOL, INGEST_FINGERPRINT
from curation.pipeline.watch import Event
from curation.pipeline.waves import Waves
from curation.urls import redacted
from schemas import dataset as paths


class Session:
    """A pipeline on its dataset.

    Args:
        config: The checked pipeline file.
        text: The file as it was read, which is what `pipelines/<name>.yaml` keeps.
        registry: The stages that exist.
    """

    def __init__(self, config: PipelineConfig, text: str, registry: Registry) -> None:
        self.config = config
        self.source: SourceConfig | None = config.source.located() if config.source else None
        self.text = text
        self.registry = registry
        # A wrong pipeline is refused before anything is touched.
        self._learnt = Learnt(config.dataset, config.name)
        self._unpinned = resolve(config, registry, find_facts=self._learnt)

    # Looking -----------------------------------------------------------------------------------

    def instances(self, dataset: Dataset) -> tuple[Instance, ...]:
        """Resolve the instances with the artefacts pinned now."""
        return resolve(self.config, self.registry, lambda key: find_pin(dataset, key), self._learnt)

    def plan(self, dataset: Dataset) -> Plan:
        """Say what is missing on disk; the source is not listed.

        Raises:
            UsageError: Something that the pipeline needs cannot be had; see `_check`.
        """
        instances = self.instances(dataset)
        self._check(dataset, instances)
        plan = Planner(dataset, self.config, instances).plan()
        return with_costs(dataset, instances, plan) if has_costs(instances) else plan

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
                needs, own = instance.resources, instance.run
                pools.append(
                    Pool(
                        instance.name,
                        own.min_workers,
                        needs.max_workers,
                        needs.cpus,
                        needs.gpus,
                        needs.memory_bytes,
                        needs.shards_in_flight,
                        own.runtime_env,
                        own.resources,
                    )
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
        `pipelines/<name>.yaml` is written once the request was found possible, before any task.

        Raises:
            ConfigError: A stage lacks what it needs here; nothing was touched.
            LongtailError: Refused, or the store failed; what was finished stays.
        """
        started = time.monotonic()
        for instance in self._unpinned:
            instance.check()  # before a dataset is made
        dataset = self.create_dataset()
        self._check(dataset, self.instances(dataset))
        if retry_quarantined:
            self._forgive(dataset)
        if retry_transient:
            retry.retry_transient(dataset, self.source, self.instances(dataset))
        self._tell_costs(dataset, on_event)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
        summary = RunSummary(run_id, self.config.name, runner_name, complete=False)
        waves = Waves(self, dataset, make_runner, summary, workers, on_event)
        try:
            waves.run()
        finally:
            waves.close()
            summary.seconds = time.monotonic() - started
            if summary.waves:
                name = f"runs/{summary.run_id}.json"
                dataset.store.put(name, pretty_json(summary.to_json()))
        return summary

    def record(self, dataset: Dataset) -> None:
        """Keep the pipeline's file in the dataset, as what was applied last under its name.

        No value has a secret in its address, that was refused; a comment may.
        """
        name = f"pipelines/{self.config.name}.yaml"
        data = redacted(self.text).encode()
        if not dataset.store.exists(name) or dataset.store.read(name) != data:
            dataset.store.put(name, data)
        self._learnt.write(dataset)

    def _check(self, dataset: Dataset, instances: Sequence[Instance]) -> None:
        """Refuse, before anything starts, what could only fail.

        Raises:
            DatasetError: A fitted model that is pinned or named is not there, or was changed.
            ConfigError: Workers cannot hold this dataset's shards; or originals that were left in
                place lie where this pipeline may not read.
        """
        check_memory(self.config.run, dataset.info)
        check_references(dataset, self.source)
        for instance in instances:
            if instance.artifact is not None:
                check_artifact(dataset, instance.name, instance.artifact)

    def _tell_costs(self, dataset: Dataset, on_event: Callable[[Event], None]) -> None:
        """Say what large columns will take, before anything starts.

        Raises:
            ResourceError: It is more than the instance's `run.max_bytes`.
        """
        instances = self.instances(dataset)
        if not has_costs(instances):
            return
        plan = with_costs(dataset, instances, Planner(dataset, self.config, instances).plan())
        for step in plan.steps:
            if step.cost is not None:
                text = cost_line(step)
                on_event({"event": "cost", "step": step.instance, "text": text})
        check_costs(plan, instances)

    def _forgive(self, dataset: Dataset) -> None:
        forgive(dataset, paths.IMAGES, INGEST_FINGERPRINT)
        for instance in self.instances(dataset):
            if instance.meaning is not None:
                forgive(dataset, instance.name, instance.fingerprint)
