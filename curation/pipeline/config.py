"""The pipeline file: where images come from, which stages annotate them, what a snapshot keeps."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from curation.config import Config, apply_overrides, parse_yaml, validate
from curation.dataset import DatasetInfo
from curation.errors import ConfigError
from curation.ingest.kinds import DEFAULT_KIND, AnySource
from curation.ingest.urls import UrlsConfig
from curation.snapshot.config import SnapshotConfig
from curation.urls import check_values
from schemas import dataset as layout

MEMORY_SHARDS = 6
"""Shards that a worker's address space must hold: the files as they grow (twice), as a table, and
as a Parquet file that grows, beside the libraries themselves."""


Device = Literal["auto", "cpu", "cuda"]
Replicas = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0)]

RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")
"""Resources that Ray counts on every node; all others are custom ones."""


class RunSettings(Config):
    """How one instance runs; never part of its meaning, never hashed.

    Attributes:
        cpus: Cores of one worker; null takes the stage's own.
        gpus: GPUs of one worker; null takes the stage's own.
        device: `cuda`; `cpu`, where it asks for no GPU, whatever `gpus` says; `auto` takes the
            pipeline's `run.device`.
        memory_bytes: Address space of a worker's child process; null takes the stage's own.
        replicas: Workers of the instance's own pool: `[1, 8]` for at least 1, which must be had at
            once, and at most 8; a number for exactly so many; null for 1 up to as many as fit, or
            as the stage has use for.
        batch_size: Images that the model takes at once; null takes the backend's own.
        shards_in_flight: Shards that a worker has in hand at once; null takes the stage's own.
        runtime_env: Ray's `runtime_env` of the instance's own pool, as for a Ray job: packages, a
            container image or a Python of its own.
        resources: What else a worker of that pool holds, as the cluster's nodes name it (Ray's
            custom resources), such as `{scratch_disk: 1}`.
        row_timeout_s: Time that one image may take before its row becomes `timeout`.
        max_bytes: A run is refused that would put more than this on disk for the instance, as far
            as files are listed; for stages with large columns, whose size is estimated.
    """

    cpus: float | None = Field(default=None, gt=0)
    gpus: float | None = Field(default=None, ge=0)
    device: Device = "auto"
    memory_bytes: int | None = Field(default=None, ge=256 << 20)
    replicas: tuple[Replicas, Replicas] | Replicas | None = None
    batch_size: int | None = Field(default=None, ge=1, le=65536)
    shards_in_flight: int | None = Field(default=None, ge=1, le=64)
    runtime_env: dict[str, Any] | None = None
    resources: dict[str, Amount] = {}
    row_timeout_s: float = Field(default=60.0, gt=0)
    max_bytes: int | None = Field(default=None, ge=0)

    @field_validator("replicas")
    @classmethod
    def _in_order(cls, replicas: tuple[int, int] | int | None) -> tuple[int, int] | int | None:
        if isinstance(replicas, tuple) and replicas[0] > replicas[1]:
            message = f"expected [least, most], found {list(replicas)}"
            raise ValueError(message)
        return replicas

    @field_validator("resources")
    @classmethod
    def _custom(cls, resources: dict[str, float]) -> dict[str, float]:
        for name, amount in resources.items():
            if name in RAYS_OWN:
                message = f"{name!r} is Ray's own; say run.cpus, run.gpus or run.memory_bytes"
                raise ValueError(message)
            if amount > 1 and amount != int(amount):
                message = f"{name}: a worker has a part of one, or whole ones, found {amount:g}"
                raise ValueError(message)
        return resources

    @property
    def min_workers(self) -> int:
        """Workers that must be had at once."""
        if self.replicas is None:
            return 1
        return self.replicas if isinstance(self.replicas, int) else self.replicas[0]

    @property
    def max_workers(self) -> int | None:
        """Workers that the pool may grow to; null for as many as fit."""
        if self.replicas is None:
            return None
        return self.replicas if isinstance(self.replicas, int) else self.replicas[1]


class NodeLimit(Config):
    """How many nodes of a type an autoscaler may have, and what one of them holds.

    Attributes:
        count: Nodes in all, those alive among them.
        cpus: Cores of one; null where a living node of the type tells its size.
        gpus: GPUs of one; counted only beside `cpus`.
        resources: Custom resources of one; the same.
    """

    count: int = Field(ge=0)
    cpus: float | None = Field(default=None, ge=0)
    gpus: float = Field(default=0.0, ge=0)
    resources: dict[str, Amount] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_count(cls, value: Any) -> Any:
        """Take a bare number as the count."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return {"count": value} if is_number else value


class RunConfig(Config):
    """How the pipeline runs; never part of any meaning.

    Attributes:
        workers: Workers of the pool of fused CPU stages; null for one a core.
        worker_cpus: Cores of one of them, as Ray counts.
        device: `cpu` for a machine without GPUs: no stage asks for one; `auto` and `cuda` leave it
            to each instance's `run.gpus`.
        memory_bytes: Address space of each one's child process.
        row_timeout_s: Time that one image may take in the shared decode.
        task_timeout_s: Time that one shard, fit or block pair may take before a try is charged.
        start_timeout_s: Time that actors may stay pending; null for 60 s, or 900 s where an
            autoscaler can add nodes.
        max_shard_rows: Rows of a shard; only for a new dataset.
        max_shard_bytes: Bytes of a shard's files; only for a new dataset.
        max_nodes: Node type -> how many nodes of it the autoscaler may have, as a number or with
            their size (`{count: 8, cpus: 64, gpus: 8}`), which a type needs that starts at zero.
    """

    workers: int | None = Field(default=None, ge=1)
    worker_cpus: float = Field(default=1.0, gt=0)
    device: Device = "auto"
    memory_bytes: int = Field(default=4 << 30, ge=256 << 20)
    row_timeout_s: float = Field(default=60.0, gt=0)
    task_timeout_s: float = Field(default=3600.0, gt=0)
    start_timeout_s: float | None = Field(default=None, gt=0)
    max_shard_rows: int = Field(default=layout.MAX_SHARD_ROWS, ge=1, le=65536)
    max_shard_bytes: int = Field(
        default=layout.MAX_SHARD_BYTES, ge=1 << 20, le=1 << 30, validate_default=True
    )
    max_nodes: dict[str, NodeLimit] = {}

    @field_validator("max_shard_bytes")
    @classmethod
    def _fits_memory(cls, max_shard_bytes: int, info: ValidationInfo) -> int:
        memory_bytes = info.data.get("memory_bytes")  # missing where it is itself refused
        if memory_bytes is not None and memory_bytes < MEMORY_SHARDS * max_shard_bytes:
            message = _too_large_shards(memory_bytes, max_shard_bytes)
            raise ValueError(f"{message}, or make this smaller")
        return max_shard_bytes


def check_memory(run: RunConfig, info: DatasetInfo) -> None:
    """Refuse workers that cannot hold the shards of an existing dataset, which keeps its limits.

    Raises:
        ConfigError: `run.memory_bytes` is less than six of the dataset's shards.
    """
    if run.memory_bytes < MEMORY_SHARDS * info.max_shard_bytes:
        message = _too_large_shards(run.memory_bytes, info.max_shard_bytes)
        raise ConfigError(f"dataset.json: max_shard_bytes: {message}")


def _too_large_shards(memory_bytes: int, max_shard_bytes: int) -> str:
    return (
        f"run.memory_bytes = {memory_bytes} is less than {MEMORY_SHARDS} x {max_shard_bytes}; a "
        "worker holds a shard's files several times over while it reads, packs and writes them, so "
        f"set run.memory_bytes to {MEMORY_SHARDS * max_shard_bytes} or more"
    )


class PipelineConfig(Config):
    """A pipeline file.

    Attributes:
        name: `[a-z0-9_-]+`; the file's name below `pipelines/`.
        dataset: Folder or URL of the dataset.
        source: Where images come from; null to work on what is there.
        stages: Instance name -> its stage's configuration and `stage`, `inputs`, `run`, `artifact`.
        snapshot: What a snapshot keeps.
        run: How it runs.
    """

    name: str
    dataset: str
    source: AnySource | None = None
    stages: dict[str, dict[str, Any] | None] = {}
    snapshot: SnapshotConfig = SnapshotConfig()
    run: RunConfig = Field(default=RunConfig(), validate_default=True)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            message = "a pipeline name has lower-case letters, digits, '_' and '-' only"
            raise ValueError(message)
        return name

    @field_validator("source", mode="before")
    @classmethod
    def _folder_by_default(cls, source: Any) -> Any:
        return {"kind": DEFAULT_KIND, **source} if isinstance(source, dict) else source

    @field_validator("run")
    @classmethod
    def _longer_than_downloads(cls, run: RunConfig, info: ValidationInfo) -> RunConfig:
        source = info.data.get("source")
        if isinstance(source, UrlsConfig) and source.download.deadline_s >= run.task_timeout_s:
            message = (
                f"task_timeout_s must be more than source.download.deadline_s = "
                f"{source.download.deadline_s:g}, or a slow shard fails instead of ending early"
            )
            raise ValueError(message)
        return run

    def to_yaml(self) -> str:
        """Return the file that gives this configuration, for one changed by overrides."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_unset=True), sort_keys=False)


def parse_pipeline(text: str, where: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a pipeline file's text; `where` names it in errors.

    Raises:
        ConfigError: One sentence for each problem; also where a URL has credentials in it.
    """
    try:
        values = apply_overrides(parse_yaml(text, where), overrides)
        check_values(values)
        return validate(PipelineConfig, values, "")
    except ConfigError as error:
        lines = [
            line if line.startswith((where, "--set")) else f"{where}: {line}"
            for line in str(error).splitlines()
        ]
        raise ConfigError("\n".join(lines)) from error
