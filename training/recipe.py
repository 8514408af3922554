"""A training recipe: everything that decides what a run learns, and where it leaves it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from curation.config import Config, apply_overrides, parse_yaml, read_text, validate
from curation.errors import ConfigError
from curation.urls import check_values
from training.boards import JournalConfig
from training.compute import ComputeConfig
from training.data.cache_folders import CacheConfig
from training.data.captions import CaptionConfig
from training.data.plan import BatchConfig
from training.data.stages import StageConfig
from training.encoders.latents import AnyCodec, BlockDctConfig
from training.encoders.texts import AnyTextEncoder, HashedTokensConfig
from training.loop import LoopConfig
from training.model import ModelConfig
from training.objectives import AnyObjective
from training.objectives.flow import FlowConfig
from training.optimizers import OptimizerConfig
from training.workers import WorkersConfig


class DataConfig(Config):
    """What is trained on, and in which order.

    Attributes:
        edge_px: Edge of the square whose area images have; their proportions are kept by buckets.
            With `stages` those say it.
        batch: How global batches are cut.
        micro_size: Samples that a process computes at once.
        captions: Which captions are drawn.
        flip: Mirror half of the visits. Not for images with text.
        loss_weight: `none`, or `snapshot` for the weights that the snapshot gives.
        domains: Glob over category paths -> domain; `default` for the others.
        cache_bytes: Decoded images, or what was read of a cache, that are kept in memory.
        cache: Instance of the stage `encode` whose latents and text features are read; or
            `{instances: [...], on_miss: refuse | encode}`. Null to encode on the fly.
        stages: Parts of the run with pictures of one size each; none for one size all along.
    """

    edge_px: int = Field(default=256, ge=16, le=4096)
    batch: BatchConfig = BatchConfig(size=64)
    micro_size: int = Field(default=64, ge=1)
    captions: CaptionConfig = CaptionConfig()
    flip: bool = False
    loss_weight: Literal["none", "snapshot"] = "none"
    domains: dict[str, str] = {}
    cache_bytes: int = Field(default=1 << 30, ge=0)
    cache: CacheConfig | None = None
    stages: tuple[StageConfig, ...] = ()

    @model_validator(mode="after")
    def _staged(self) -> "DataConfig":
        open_ended = [n for n, stage in enumerate(self.stages[:-1]) if stage.batches is None]
        if open_ended:
            message = f"stages[{open_ended[0]}] must say its batches: only the last one may not"
            raise ValueError(message)
        if self.stages and self.edge_px != type(self).model_fields["edge_px"].default:
            message = f"edge_px is {self.edge_px}, but the stages say theirs; leave it out"
            raise ValueError(message)
        return self

    def resolved_stages(self) -> tuple[StageConfig, ...]:
        """Return the stages, at least one, with every field but `shift` said."""
        given = self.stages or (StageConfig(edge_px=self.edge_px),)
        return tuple(
            stage.model_copy(
                update={
                    "batch": stage.batch or self.batch,
                    "micro_size": stage.micro_size or self.micro_size,
                    "cache": stage.cache or self.cache,
                }
            )
            for stage in given
        )


class EvaluationConfig(Config):
    """What is looked at while the run goes on.

    Attributes:
        every: Steps between evaluations.
        images: Held-out images whose loss is measured; 0 for none.
        prompts: For each of them a picture is drawn.
        steps: Of the sampler.
        shift: Of the sampler's schedule; also what an export writes. The released pipelines use
            3.0; one source says 4.0 for the base model, which is unresolved.
        guidance: 1 for none.
    """

    every: int = Field(default=500, ge=1)
    images: int = Field(default=256, ge=0)
    prompts: tuple[str, ...] = ()
    steps: int = Field(default=20, ge=1, le=1000)
    shift: float = Field(default=3.0, gt=0)
    guidance: float = Field(default=4.0, ge=0)


class Recipe(Config):
    """A recipe file.

    Attributes:
        name: `[a-z0-9_-]+`.
        dataset: Folder or URL of the dataset.
        snapshot: Id of the snapshot, its beginning, or `latest`.
        output: Folder or URL of the run.
        seed: Of the order, the draws and the first weights.
        model: What is trained.
        codec: Pictures to latents.
        text: Captions to features.
        data: What is trained on.
        objective: What is minimised.
        optimizer: How.
        loop: How long.
        evaluation: What is looked at meanwhile.
        compute: In which precision, and what is traded for memory and speed.
        protocols: fsspec protocols that originals left in place may be read by.
        journal: Where figures go.
        workers: The processes that train together.
    """

    name: str
    dataset: str
    snapshot: str = "latest"
    output: str
    seed: int = 0
    model: ModelConfig = ModelConfig.model_validate({})
    codec: Annotated[AnyCodec, Field(discriminator="codec")] = BlockDctConfig()
    text: Annotated[AnyTextEncoder, Field(discriminator="encoder")] = HashedTokensConfig()
    data: DataConfig = DataConfig()
    objective: AnyObjective = FlowConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loop: LoopConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    compute: ComputeConfig = ComputeConfig()
    protocols: tuple[str, ...] = ("file",)
    journal: JournalConfig = JournalConfig()
    workers: WorkersConfig = WorkersConfig()

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            message = "a recipe name has lower-case letters, digits, '_' and '-' only"
            raise ValueError(message)
        return name

    @model_validator(mode="after")
    def _stages_suffice(self) -> "Recipe":
        given = [stage.batches for stage in self.data.stages]
        total = sum(batches or 0 for batches in given)
        if given and given[-1] is not None and self.loop.steps > total:
            message = (
                f"loop.steps is {self.loop.steps:,}, but data.stages end after {total:,} batches; "
                "make the last one longer, or leave out its batches so that it lasts to the end"
            )
            raise ValueError(message)
        return self


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Raises:
        ConfigError: One sentence for each problem.
    """
    return parse_recipe(read_text(path), str(path), overrides)


def parse_recipe(text: str, where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file's text; `where` names it in errors.

    Raises:
        ConfigError: One sentence for each problem.
    """
    try:
        values: dict[str, Any] = apply_overrides(parse_yaml(text, where), overrides)
        values = {
            **values,
            "codec": {"codec": "block_dct", **(values.get("codec") or {})},
            "text": {"encoder": "hashed_tokens", **(values.get("text") or {})},
        }
        check_values(values)
        return validate(Recipe, values, "")
    except ConfigError as error:
        lines = [
            line if line.startswith((where, "--set")) else f"{where}: {line}"
            for line in str(error).splitlines()
        ]
        raise ConfigError("\n".join(lines)) from error


def meaningful(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe, as JSON, decides what is learnt; the rest may change on the way."""
    found = {name: value for name, value in recipe.items() if name not in _FREE}
    for part, names in _FREE_PARTS.items():
        values = found.get(part) or {}
        found[part] = {name: value for name, value in values.items() if name not in names}
    return found


def in_step(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe all ranks must have alike, or some would wait for what others skip.

    Places may have another name on each machine.
    """
    return recipe.model_dump(mode="json", exclude=set(_EACH_ITS_OWN))


_EACH_ITS_OWN = ("name", "dataset", "snapshot", "output", "journal", "protocols", "workers")
_FREE = (
    "name",
    "dataset",
    "snapshot",
    "output",
    "evaluation",
    "journal",
    "protocols",
    "workers",
)
_FREE_PARTS = {
    "compute": ("activation_checkpointing", "compile"),
    # Of stages those that have begun are compared, where a run goes on.
    "data": ("edge_px", "batch", "micro_size", "stages", "cache", "cache_bytes"),
    "loop": ("steps", "checkpoint_every", "keep_last", "log_every", "spike", "prefetch"),
    "model": ("last",),  # the digest of the weights says which were taken
}
