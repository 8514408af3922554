"""Which codec and which text encoder is meant; importing this loads no torch."""

from typing import Literal

from pydantic import Field

from curation.config import Config
from curation.weights import WeightsPlace, WeightsReference


class BlockDctConfig(Config):
    """The embedded codec: no weights."""

    codec: Literal["block_dct"] = "block_dct"


class Flux2Config(Config):
    """The codec of ERNIE-Image.

    Attributes:
        weights: Folder of the VAE: `config.json` and safetensors, as in a pipeline's `vae/`.
        precision: In which it computes.
    """

    codec: Literal["flux2_vae"] = "flux2_vae"
    weights: WeightsReference
    precision: Literal["fp32", "bf16"] = "fp32"


AnyCodec = BlockDctConfig | Flux2Config


class HashedTokensConfig(Config):
    """The embedded encoder: no weights.

    Attributes:
        width: Features of a token.
        max_tokens: A longer text is cut.
    """

    encoder: Literal["hashed_tokens"] = "hashed_tokens"
    width: int = Field(default=64, ge=8, le=4096)
    max_tokens: int = Field(default=256, ge=1, le=4096)


class MinistralConfig(Config):
    """The text encoder of ERNIE-Image.

    Attributes:
        weights: Folder with the model, as in a pipeline's `text_encoder/`.
        tokenizer: Folder with its tokenizer; null where it lies with the model.
        precision: In which it computes.
        max_tokens: A longer text is cut.
    """

    encoder: Literal["ministral"] = "ministral"
    weights: WeightsReference
    tokenizer: WeightsPlace | None = Field(default=None, exclude=True)
    precision: Literal["fp32", "bf16"] = "bf16"
    max_tokens: int = Field(default=512, ge=1, le=4096)


AnyTextEncoder = HashedTokensConfig | MinistralConfig
