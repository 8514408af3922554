"""`ernie_image_aes`: the aesthetic model of the ERNIE-Image report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Finding, Resources, Stage
from curation.pixels import PixelSpec
from stages.aesthetic.ernie_checkpoint import SIZE_PX, Released
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.ernie_engine import Engine
from stages.aesthetic.ernie_prompt import PROMPT_DIGEST
from stages.aesthetic.ernie_transformers import TransformersEngine
from stages.aesthetic.ernie_vllm import VllmEngine
from stages.aesthetic.scorer import AestheticConfig, Image, ImageScorer

_MODEL = "model"


ENGINES: dict[str, type[Engine]] = {"transformers": TransformersEngine, "vllm": VllmEngine}
"""Name in YAML -> class."""


class ErnieImageAesScorer(ImageScorer):
    """ERNIE-Image-Aes: InternVL3-8B that answers with one of 101 words, from 0 to 100.

    The image is squashed to 448 x 448 and becomes 256 vectors in a fixed prompt. The score is the
    expected value over the words, by the probabilities that the model gives each as its next token.
    On ERIA-1K its makers report a rank correlation with people of 0.74, against 0.29 of LAION's
    predictor; test and training images were judged by the same people.

    It takes 16 GB of GPU memory and more; on a CPU, seconds for each image.

    Source: arXiv 2605.25347, section 3.3; ArtiMuse, arXiv 2507.14533, section 4.3 ("Token as
        Score"). We deviate in three ways: the image is reduced by whole numbers before it is
        resized, the softmax over the words is taken in double precision (the original's bf16 rounds
        a score to halves), and logits are computed for the 101 words alone.
    """

    version: ClassVar[str] = "1"
    config_type: ClassVar[type[AestheticConfig]] = ErnieImageAesConfig
    resources: ClassVar[Resources | None] = Resources(
        cpus=1, gpus=1, memory_bytes=24 << 30, own_pool=True, shards_in_flight=2
    )

    def __init__(self, config: ErnieImageAesConfig) -> None:
        self._config = config
        self._engine: Engine | None = None

    def digests(self) -> Mapping[str, str]:
        return {"prompt": PROMPT_DIGEST}

    def weights(self) -> Mapping[str, str]:
        return {_MODEL: self._config.weights}

    def pixels(self) -> PixelSpec:
        return PixelSpec(
            size_px=SIZE_PX, fit="squash", filter="bicubic", max_pixels=self._config.max_pixels
        )

    @property
    def batch_size(self) -> int:
        assert self._engine is not None, "set up before"
        return self._engine.batch_size

    def check(self, stage: Stage[Any]) -> None:
        folder = stage.weights_path(_MODEL)
        if not folder.is_dir():
            message = f"{folder}: expected the folder of the model as released, found a file"
            raise ConfigError(message)
        Released.read(folder)
        ENGINES[self._config.engine](self._config, stage.execution).check()

    def probe(self, stage: Stage[Any]) -> Iterable[Finding]:
        return ENGINES[self._config.engine](self._config, stage.execution).probe()

    def setup(self, stage: Stage[Any]) -> None:
        engine = ENGINES[self._config.engine](self._config, stage.execution)
        engine.load(stage.weights_path(_MODEL), stage.facts["weights"][_MODEL])
        self._engine = engine

    def score(self, images: Sequence[Image]) -> list[float | str]:
        assert self._engine is not None, "set up before"
        found = self._engine.logits(images)
        return [row if isinstance(row, str) else expected_score(row) for row in found]


def expected_score(logits: NDArray[np.float64]) -> float:
    """Return the expected value of the score words.

    Args:
        logits: (101,) of the words, in order, up to a constant; so logarithms of probabilities of
            the words among all tokens will do.

    Returns:
        0 to 100; NaN where a logit is.
    """
    weights = np.exp(logits - logits.max())
    return float(weights @ np.arange(len(logits)) / weights.sum())
