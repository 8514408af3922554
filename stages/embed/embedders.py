"""The embedders that `embed` can use, by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curation.pipeline.stage import Execution
from curation.pixels import PixelSpec
from stages.embed.bands import Bank, make_bank
from stages.embed.descriptor import DIMENSION, Weights, describe
from stages.embed.embedder import EmbedConfig, Embedder
from stages.embed.open_clip import OpenClipEmbedder


class DescriptorConfig(EmbedConfig):
    """Shape, texture and colour, without learned weights.

    Attributes:
        texture_weight: Share of texture in the cosine of two images.
        color_weight: Share of colour; what the two leave is the share of shape.
        max_pixels: Width times height above which a file is refused as a bomb; where it is what
            `inspect` has, both share one view of every image.
    """

    embedder: Literal["descriptor"] = "descriptor"
    texture_weight: float = Field(default=0.35, ge=0, le=1)
    color_weight: float = Field(default=0.25, ge=0, le=1)
    max_pixels: int = Field(default=64_000_000, ge=1)

    @model_validator(mode="after")
    def _at_most_whole(self) -> Self:
        if (total := self.texture_weight + self.color_weight) > 1:
            message = f"texture_weight and color_weight add up to {total:g}, expected at most 1"
            raise ValueError(message)
        return self


class DescriptorEmbedder(Embedder):
    """The embedded embedder: `stages.embed.descriptor` says what it can and cannot see."""

    version = 1
    config_type = DescriptorConfig

    def __init__(self, config: DescriptorConfig) -> None:
        self._weights = Weights(texture=config.texture_weight, color=config.color_weight)
        self._max_pixels = config.max_pixels
        self._bank: Bank = ()

    def dimension(self, facts: Mapping[str, Any]) -> int:
        return DIMENSION

    def pixels(self, facts: Mapping[str, Any]) -> PixelSpec:
        # What `inspect` asks for by default. The fast filter is good enough: it only brings the
        # image to a size from which it is averaged down further.
        return PixelSpec(size_px=256, fit="inside", filter="linear", max_pixels=self._max_pixels)

    def setup(
        self, facts: Mapping[str, Any], paths: Mapping[str, Path], execution: Execution
    ) -> None:
        self._bank = make_bank()

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.floating[Any]]:
        return np.stack([describe(image, self._bank, self._weights) for image in images])


EMBEDDERS: dict[str, type[Embedder]] = {
    "descriptor": DescriptorEmbedder,
    "open_clip": OpenClipEmbedder,
}
