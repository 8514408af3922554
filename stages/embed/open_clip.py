"""CLIP and SigLIP models of open_clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.errors import ConfigError
from curation.pipeline.stage import Execution, Resources
from curation.pixels import PixelSpec
from stages.embed.embedder import EmbedConfig, Embedder
from training.encoders.clip import (
    ClipModel,
    ClipSettings,
    check_installed,
    check_precision,
    clip_facts,
)

_ROLE = "open_clip"
_FITS: dict[str, Literal["crop", "squash"]] = {"shortest": "crop", "squash": "squash"}


class OpenClipConfig(EmbedConfig, ClipSettings):
    """A CLIP or SigLIP model that reads images and texts: clusters by meaning, search by words.

    Attributes:
        max_pixels: Width times height above which a file is refused as a bomb.
    """

    embedder: Literal["open_clip"] = "open_clip"
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)


class OpenClipEmbedder(Embedder):
    """Both towers of an open_clip model, on a GPU or a CPU.

    Images come decoded, at the size and with the filter that the model was trained with; only the
    arithmetic of normalising is done on the device. They differ from those of open_clip's own
    transform where `curation.pixels` does better or faster: transparency is shown on white instead
    of what lies behind it, EXIF orientation and colour profiles are applied, large images are
    halved before the last filter, and what is cut out is centred to half a pixel.
    """

    version = 1
    config_type = OpenClipConfig
    batch_size = 1024  # more than a slice: the model cuts it into its own batches
    reads_text = True
    resources: ClassVar[Resources] = Resources(
        cpus=1, gpus=1, memory_bytes=16 << 30, own_pool=True, shards_in_flight=2
    )

    def __init__(self, config: OpenClipConfig) -> None:
        self._config = config
        self._model: ClipModel | None = None

    def dimension(self, facts: Mapping[str, Any]) -> int:
        return int(facts["dimension"])

    def pixels(self, facts: Mapping[str, Any]) -> PixelSpec:
        return PixelSpec(
            size_px=facts["size_px"],
            fit=_FITS[facts["resize_mode"]],
            filter=facts["interpolation"],
            max_pixels=self._config.max_pixels,
        )

    def digests(self, facts: Mapping[str, Any]) -> Mapping[str, str]:
        return {"architecture": facts["architecture"]}

    def weights(self) -> Mapping[str, str]:
        return {_ROLE: self._config.weights}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        return clip_facts(self._config, paths[_ROLE])

    def check(self, execution: Execution) -> None:
        check_installed()
        check_precision(self._config.precision, execution.device)

    def setup(
        self, facts: Mapping[str, Any], paths: Mapping[str, Path], execution: Execution
    ) -> None:
        here = clip_facts(self._config, paths[_ROLE])["architecture"]
        if here != facts["architecture"]:
            message = (
                f"model: the open_clip installed here describes {self._config.model} otherwise "
                "than the one that the run was planned with; install the same version everywhere"
            )
            raise ConfigError(message)
        self._model = ClipModel.load(
            self._config, paths[_ROLE], execution.device, execution.batch_size
        )

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.floating[Any]]:
        assert self._model is not None
        return self._model.encode_images(np.stack(images))

    def embed_text(self, text: str) -> NDArray[np.floating[Any]]:
        assert self._model is not None
        vector: NDArray[np.float32] = self._model.encode_texts([text])[0]
        return vector
