"""The configuration of `ernie_image_aes`."""

from typing import Literal

from pydantic import Field

from curation.endpoint.vllm_settings import ServerSettings
from curation.weights import WeightsReference
from stages.aesthetic.cascade import Band
from stages.aesthetic.scorer import AestheticConfig


class ErnieImageAesConfig(AestheticConfig):
    """The released model, or another one of its architecture, such as ArtiMuse.

    Attributes:
        scorer: `ernie_image_aes`.
        weights: The folder as released: config.json, four safetensors files with their index, and
            the tokenizer. Code beside them is not run.
        engine: `transformers`: in this process, in batches. `vllm`: a vLLM server that the worker
            starts from an environment of its own, one token for each image. Scores of the two
            differ in the second decimal.
        precision: In which the model computes. It was released, and tuned, in `bf16`.
        after: Ask the model only where the score of the `aesthetic` instance that `inputs` names
            lies in this band; null to ask it for every image.
        max_pixels: Width times height above which a file is refused as a bomb.
        python: For `vllm`: the Python that has it, on every machine with workers; null for the one
            that the environment variable `LONGTAIL_VLLM_PYTHON` names there, then for that of
            `make vllm`.
        server: For `vllm`: how the server runs.
    """

    scorer: Literal["ernie_image_aes"] = "ernie_image_aes"
    weights: WeightsReference
    engine: Literal["transformers", "vllm"] = "transformers"
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    after: Band | None = None
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)
    python: str | None = Field(default=None, exclude=True)
    server: ServerSettings = Field(default_factory=ServerSettings, exclude=True)
