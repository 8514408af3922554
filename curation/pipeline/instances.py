"""From a pipeline file to configured instances: names bound, fingerprints known."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from curation import pixels
from curation.config import Config, nearest, validate
from curation.errors import ConfigError
from curation.fingerprint import Meaning, base_meaning
from curation.pipeline.config import Device, PipelineConfig, RunSettings
from curation.pipeline.stage import (
    Execution,
    FittedStage,
    RelationStage,
    Resources,
    Stage,
    is_fitted,
)
from schemas import dataset as layout
from schemas.columns import IDENTITY, column_version
from schemas.images import IMAGES

Registry = Mapping[str, type[Stage[Any]]]
"""Stage name -> class; `stages.registry.STAGES` in production."""

FindFacts = Callable[[str, Stage[Any]], Mapping[str, Any]]
"""Instance name, its stage as configured -> what the stage has learnt."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OWN_KEYS = ("stage", "inputs", "run", "artifact")
_POOL_KEYS = ("replicas", "shards_in_flight", "runtime_env", "resources")
"""Run settings that say something of a pool, so of instances that have one to themselves."""


@dataclass(frozen=True)
class Instance:
    """A configured stage in a pipeline.

    Attributes:
        name: Its key in YAML, its folder, and the prefix of its columns.
        stage_type: The stage's class.
        config: Its checked configuration.
        inputs: Logical stage name -> instance, for every stage that it reads (`images` left out).
        run: How it runs.
        artifact: Digest of its fitted artefact; null for stages without, and before the fit.
        meaning: What its columns mean; null while it waits for a fit, its own or one before it.
        resources: What one of its workers needs, with everything that `run` overrides.
        execution: How the stage runs in it.
        facts: What the stage has learnt of its weights.
        upstream: Logical stage name -> instance, as `inputs`.
    """

    name: str
    stage_type: type[Stage[Any]]
    config: Config
    inputs: Mapping[str, str]
    run: RunSettings
    artifact: str | None
    meaning: Meaning | None
    resources: Resources = field(default_factory=Resources)
    execution: Execution = field(default_factory=Execution)
    facts: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, "Instance"] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The instance's folder name; only once nothing before it waits for a fit."""
        assert self.meaning is not None, f"{self.name} waits for a fit"
        return self.meaning.fingerprint()

    @property
    def is_ready(self) -> bool:
        """Whether the fingerprint is known and, for a fitted stage, the artefact is pinned."""
        return self.meaning is not None and not (self.is_fitted and self.artifact is None)

    @property
    def is_fitted(self) -> bool:
        """Whether the stage, as configured, needs an artefact."""
        return is_fitted(self.stage_type(self.config))

    @property
    def is_relation(self) -> bool:
        """Whether the stage answers for the whole dataset at once."""
        return issubclass(self.stage_type, RelationStage)

    def make(self, artifact: Mapping[str, bytes] | None = None) -> Stage[Any]:
        """Make the stage object; nothing is loaded before its `setup`."""
        stage = self.stage_type(self.config, artifact)
        stage.execution = self.execution
        stage.facts = self.facts
        stage.upstream = {logical: i.make() for logical, i in self.upstream.items()}
        stage.read_meanings = {} if self.meaning is None else self.meaning.reads
        return stage

    def check(self) -> None:
        """Refuse what cannot work here; see `Stage.check`.

        Raises:
            ConfigError: Names the stage, and says what is missing and how to get it.
        """
        try:
            self.make().check()
        except ConfigError as error:
            message = f"stages.{self.name}: {error}"
            raise ConfigError(message) from error

    def disk_schema(self) -> pa.Schema:
        """Return the schema of the instance's files: identity, then prefixed columns."""
        fields = [f.with_name(f"{self.name}_{f.name}") for f in self.make().writes()]
        return pa.schema([*IDENTITY, *fields])

    def source_of(self, logical: str) -> tuple[str, str]:
        """Return (instance or `images`, column on disk) for a column that this instance reads."""
        stage, _, column = logical.partition(".")
        if stage == layout.IMAGES:
            return stage, column
        instance = self.inputs[stage]
        return instance, f"{instance}_{column}"

    def lineage(self) -> dict[str, Any]:
        """Return the content of `stage.json`, the same for everyone who writes it."""
        assert self.meaning is not None
        meaning = self.meaning
        return {
            "format": 1,
            "instance": self.name,
            "stage": meaning.stage,
            "fingerprint": meaning.fingerprint(),
            "backends": dict(meaning.backends),
            "config": dict(meaning.config),
            "digests": dict(meaning.digests),
            "artifact": meaning.artifact,
            "columns": dict(meaning.columns),
            "pixels": None if meaning.pixels is None else dict(meaning.pixels),
            "reads": {
                logical: {"column": ".".join(self.source_of(logical)), "meaning": value}
                for logical, value in meaning.reads.items()
            },
        }


def configure(config: PipelineConfig, registry: Registry) -> dict[str, Instance]:
    """Configure every instance by itself: nothing is learnt and nothing bound.

    So it does for pipelines whose weights are not here. Of `inputs`, there is what the file says.

    Raises:
        ConfigError: Unknown stage, backend or key, or resources that contradict each other.
    """
    drafts = [_draft(name, value, registry) for name, value in config.stages.items()]
    return {
        draft.name: Instance(
            draft.name,
            draft.stage_type,
            draft.config,
            draft.inputs,
            draft.run,
            draft.artifact,
            None,
            *_running(draft, config.run.device),
        )
        for draft in drafts
    }


def resolve(
    config: PipelineConfig,
    registry: Registry,
    find_pin: Callable[[str], str | None] = lambda fit_key: None,
    find_facts: FindFacts = lambda name, stage: stage.learn(),
) -> tuple[Instance, ...]:
    """Configure every instance of a pipeline, each after those that it reads.

    Args:
        config: The checked pipeline file.
        registry: The stages that exist.
        find_pin: Fit key -> digest of the pinned artefact, or null before the fit.
        find_facts: Instance name and stage -> what `Stage.learn` says, or said elsewhere.

    Raises:
        ConfigError: Unknown stage, backend, key or input; a name that collides; an ambiguous or
            missing input; a circle; a row-local stage that reads a relation.
    """
    drafts = {}
    for name, value in config.stages.items():
        draft = _draft(name, value, registry)
        drafts[name] = replace(draft, facts=find_facts(name, draft.make()))
    _check_names(drafts)
    inputs = {name: _bind(draft, drafts) for name, draft in drafts.items()}
    resolved: dict[str, Instance] = {}
    for name in _in_order(inputs):
        draft = drafts[name]
        meaning, artifact = _meaning(draft, inputs[name], resolved, find_pin)
        resolved[name] = Instance(
            name,
            draft.stage_type,
            draft.config,
            inputs[name],
            draft.run,
            artifact,
            meaning,
            *_running(draft, config.run.device),
            draft.facts,
            {logical: resolved[upstream] for logical, upstream in inputs[name].items()},
        )
    return tuple(resolved.values())


@dataclass(frozen=True)
class _Draft:
    name: str
    stage_type: type[Stage[Any]]
    config: Config
    inputs: Mapping[str, str]
    run: RunSettings
    artifact: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Stage[Any]:
        stage = self.stage_type(self.config)
        stage.facts = self.facts
        return stage

    def reads(self) -> tuple[str, ...]:
        stage = self.make()
        reads = list(stage.reads())
        if isinstance(stage, FittedStage) and stage.needs_fit():
            reads.extend(name for name in stage.fit_reads() if name not in reads)
        if stage.pixels() is not None and "images.image_bytes" not in reads:
            reads.append("images.image_bytes")
        return tuple(reads)


def _draft(name: str, value: Mapping[str, Any] | None, registry: Registry) -> _Draft:
    where = f"stages.{name}"
    if not _NAME.fullmatch(name):
        message = f"{where}: an instance name has lower-case letters, digits and '_' only"
        raise ConfigError(message)
    if name in layout.RESERVED_NAMES:
        message = f"{where}: {name} is a folder of every dataset; choose another name"
        raise ConfigError(message)
    value = dict(value or {})
    own = {key: value.pop(key) for key in _OWN_KEYS if key in value}
    stage_name = own.get("stage", name)
    if stage_name not in registry:
        known = sorted(registry)
        hint = nearest(str(stage_name), known) or f"; known: {', '.join(known)}"
        message = f"{where}: unknown stage {stage_name!r}{hint}"
        raise ConfigError(message)
    stage_type = registry[stage_name]
    inputs = own.get("inputs", {})
    if not isinstance(inputs, dict) or not all(isinstance(v, str) for v in inputs.values()):
        message = f"{where}.inputs: expected STAGE: INSTANCE pairs, found {inputs!r}"
        raise ConfigError(message)
    parsed = stage_type.parse(value, where)
    artifact = own.get("artifact")
    if artifact is not None and not (is_fitted(stage_type(parsed)) and isinstance(artifact, str)):
        message = f"{where}.artifact: only a fitted stage takes one, as the digest of a fit"
        raise ConfigError(message)
    run = validate(RunSettings, own.get("run") or {}, f"{where}.run")
    return _Draft(name, stage_type, parsed, inputs, run, artifact)


def _running(draft: _Draft, device: Device) -> tuple[Resources, Execution]:
    resources = _resources(draft, device)
    on: Literal["cpu", "cuda"] = "cuda" if resources.gpus else "cpu"
    return resources, Execution(on, draft.run.batch_size, resources.cpus, resources.gpus)


def _resources(draft: _Draft, device: Device) -> Resources:
    """Return what a worker needs: the stage's word, then the backend's, then the user's."""
    stage = draft.make()
    own = stage.needs
    run = draft.run
    gpus = own.gpus if run.gpus is None else run.gpus
    chosen = device if run.device == "auto" else run.device
    if chosen == "cuda" and run.device == "cuda" and not gpus:
        message = (
            f"stages.{draft.name}.run: device is cuda and gpus is 0; say how much of a GPU a "
            "worker needs, as in `gpus: 0.25`"
        )
        raise ConfigError(message)
    has_own_pool = own.own_pool or gpus > 0
    if not has_own_pool and (given := [key for key in _POOL_KEYS if getattr(run, key)]):
        message = (
            f"stages.{draft.name}.run.{given[0]}: it has no workers of its own, it shares those of "
            "the CPU pool; leave it out, or say run.workers for the whole pipeline"
        )
        raise ConfigError(message)
    return Resources(
        cpus=own.cpus if run.cpus is None else run.cpus,
        gpus=0.0 if chosen == "cpu" else gpus,
        memory_bytes=run.memory_bytes or own.memory_bytes,
        own_pool=has_own_pool,
        shards_in_flight=run.shards_in_flight or own.shards_in_flight,
        max_workers=own.max_workers if run.replicas is None else run.max_workers,
    )


def _check_names(drafts: Mapping[str, _Draft]) -> None:
    owners: dict[str, str] = {f.name: layout.IMAGES for f in IMAGES}
    for name, draft in drafts.items():
        for column in draft.make().writes().names:
            disk = f"{name}_{column}"
            if disk in owners:
                message = (
                    f"stages.{name}: its column {disk} is also written by {owners[disk]}; "
                    "rename the instance"
                )
                raise ConfigError(message)
            owners[disk] = name


def _bind(draft: _Draft, drafts: Mapping[str, _Draft]) -> dict[str, str]:
    bound: dict[str, str] = {}
    where = f"stages.{draft.name}"
    for logical in draft.reads():
        stage, _, column = logical.partition(".")
        if stage == layout.IMAGES:
            assert column in IMAGES.names, logical
            continue
        if stage not in bound:
            bound[stage] = _choose(draft, stage, drafts, where)
        target = drafts[bound[stage]]
        if column not in target.make().writes().names:
            message = (
                f"{where}: reads {logical}, but {target.name}, as configured, writes no {column}"
            )
            raise ConfigError(message)
        if issubclass(target.stage_type, RelationStage):
            message = (
                f"{where}: reads {logical}, but {target.name} answers for the whole dataset and "
                "changes with every new shard; only snapshots may read it"
            )
            raise ConfigError(message)
    if unknown := sorted(set(draft.inputs) - set(bound)):
        message = (
            f"{where}.inputs: it does not read {unknown[0]!r}{nearest(unknown[0], list(bound))}"
        )
        raise ConfigError(message)
    return bound


def _choose(draft: _Draft, stage: str, drafts: Mapping[str, _Draft], where: str) -> str:
    named = draft.inputs.get(stage)
    if named is not None:
        if named not in drafts or drafts[named].stage_type.name != stage:
            message = f"{where}.inputs.{stage}: {named!r} is no instance of {stage}"
            raise ConfigError(message + nearest(named, list(drafts)))
        return named
    found = [d.name for d in drafts.values() if d.stage_type.name == stage]
    if len(found) > 1:  # an instance may read another one of its own stage
        found = [name for name in found if name != draft.name]
    if not found:
        message = f"{where}: it reads {stage}, which is not in the pipeline; add `{stage}: {{}}`"
        raise ConfigError(message)
    if len(found) > 1:
        message = (
            f"{where}: {stage} could be {' or '.join(found)}; say `inputs: {{{stage}: {found[0]}}}`"
        )
        raise ConfigError(message)
    return found[0]


def _in_order(inputs: Mapping[str, Mapping[str, str]]) -> list[str]:
    order: list[str] = []
    waiting = list(inputs)
    while waiting:
        ready = [n for n in waiting if all(i in order for i in inputs[n].values())]
        if not ready:
            message = f"stages: {', '.join(waiting)} read each other in a circle"
            raise ConfigError(message)
        order.append(ready[0])
        waiting.remove(ready[0])
    return order


def _meaning(
    draft: _Draft,
    inputs: Mapping[str, str],
    resolved: Mapping[str, Instance],
    find_pin: Callable[[str], str | None],
) -> tuple[Meaning | None, str | None]:
    """Return the meaning, null behind an unfinished fit, and the artefact's digest."""
    stage = draft.make()
    reads: dict[str, str] = {}
    for logical in draft.reads():
        name, _, column = logical.partition(".")
        if name == layout.IMAGES:
            reads[logical] = base_meaning(column, column_version(IMAGES.field(column)))
            continue
        upstream = resolved[inputs[name]]
        if not upstream.is_ready:
            return None, draft.artifact
        assert upstream.meaning is not None
        reads[logical] = upstream.meaning.column(column)
    backends = {}
    if draft.stage_type.backend_key is not None:
        chosen = getattr(draft.config, draft.stage_type.backend_key)
        backends[draft.stage_type.backend_key] = f"{chosen}@{stage.backend.version}"
    spec = stage.pixels()
    meaning = Meaning(
        stage=draft.stage_type.name,
        backends=backends,
        config=draft.config.model_dump(mode="json"),
        digests={**stage.digests(), **draft.facts.get("weights", {})},
        artifact=draft.artifact,
        columns={f.name: column_version(f) for f in stage.writes()},
        pixels=None
        if spec is None
        else {"spec": spec.model_dump(mode="json"), "version": pixels.VERSION},
        reads=reads,
        unfitted=stage.fit_ignores() if isinstance(stage, FittedStage) else frozenset(),
    )
    artifact = draft.artifact
    if is_fitted(stage) and artifact is None:
        artifact = find_pin(meaning.fit_key())
        meaning = Meaning(**{**meaning.__dict__, "artifact": artifact})
    return meaning, artifact
