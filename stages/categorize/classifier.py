"""Categories by a trained head: `longtail categories build` makes one."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.errors import ConfigError
from curation.pipeline.stage import Stage
from curation.weights import WeightsReference
from stages.categorize import kmeans
from stages.categorize.categorizer import Assignment, CategorizeConfig, Categorizer, Leaf
from stages.categorize.columns import VECTOR
from stages.categorize.head import Head


class ClassifierConfig(CategorizeConfig):
    """A head that was trained on vectors of one embedder.

    Attributes:
        head: The folder with `head.json` and `head.safetensors`; their digest is the meaning.
        any_vectors: Take vectors of the head's length from another embedder, or from one that is
            configured otherwise, than those that it was trained on: for a student that imitates the
            teacher's vectors. What the head then says was measured by nobody.
    """

    categorizer: Literal["classifier"] = "classifier"
    head: WeightsReference
    any_vectors: bool = Field(default=False, exclude=True)


class ClassifierCategorizer(Categorizer):
    """The leaf that a linear or two-layer head finds most probable; nothing is fitted here."""

    version = 1
    config_type = ClassifierConfig
    is_scored = True

    def __init__(self, config: ClassifierConfig) -> None:
        self._config = config
        self._head: Head | None = None

    def weights(self) -> Mapping[str, str]:
        return {"head": self._config.head}

    def check(self, stage: Stage[Any]) -> None:
        self._read(stage)

    def setup(self, stage: Stage[Any]) -> Sequence[Leaf]:
        self._head = self._read(stage)
        return self._head.leaves

    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        assert self._head is not None, "`setup` comes first"
        return self._head.assign(kmeans.quantize(vectors))

    def _read(self, stage: Stage[Any]) -> Head:
        head = Head.read(stage.weights_path("head"))
        embed = stage.upstream[VECTOR.partition(".")[0]]
        length = embed.writes().field(VECTOR.partition(".")[2]).type.list_size
        if length != head.dimension:
            message = (
                f"{self._config.head}: the head takes vectors of {head.dimension} numbers, those "
                f"of `embed` have {length}; build a head on these vectors"
            )
            raise ConfigError(message)
        trained_on = head.facts.get("vectors", {})
        found = stage.read_meanings.get(VECTOR)
        if found != trained_on.get("meaning") and not self._config.any_vectors:
            message = (
                f"{self._config.head}: the head was trained on other vectors than `embed` writes "
                f"here: {_difference(trained_on, embed)}; build a head on these, or say "
                "`any_vectors: true` if you know that they are alike"
            )
            raise ConfigError(message)
        return head


def facts_of_vectors(stage: Stage[Any], meaning: str) -> dict[str, Any]:
    """Return what a head keeps of the configured stage whose vectors it is trained on."""
    return {"meaning": meaning, **_told(stage)}


def _told(stage: Stage[Any]) -> dict[str, Any]:
    backend = stage.backend
    spec = stage.pixels()
    return {
        "stage": stage.name,
        "version": None if backend is None else backend.version,
        "config": stage.config.model_dump(mode="json"),
        "digests": {**stage.digests(), **stage.facts.get("weights", {})},
        "pixels": None if spec is None else spec.model_dump(mode="json"),
    }


def _difference(trained_on: Mapping[str, Any], stage: Stage[Any]) -> str:
    """Name the first thing that differs, outer things first."""
    for part, here in _told(stage).items():
        there = trained_on.get(part)
        if there == here:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            key = min(k for k in {*there, *here} if there.get(k) != here.get(k))
            return f"{part} {key} was {there.get(key)!r} and is {here.get(key)!r}"
        return f"{part} was {there!r} and is {here!r}"
    return "an earlier version of the same"
