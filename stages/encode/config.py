"""What is encoded, and with what."""

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from curation.config import Config
from curation.errors import LongtailError
from stages.encode.precision import Precision
from training.encoders.configs import (
    AnyCodec,
    AnyTextEncoder,
    BlockDctConfig,
    HashedTokensConfig,
)


class EncodeConfig(Config):
    """What is cached for training; all of it decides what the cache holds.

    Attributes:
        codec: Pictures to latents, as in a recipe; null to encode captions alone.
        text: Captions to features, as in a recipe; null to encode pictures alone.
        edge_px: Edge of the square whose area pictures have, as a recipe's `data.edge_px`; each
            comes in the nearest of the seven released proportions.
        flip: Encode mirrored pictures too, for recipes with `data.flip`. Doubles the latents.
        variants: Kinds of captions that are encoded; null for all that the image has.
        where: SQL expression over the row's columns; rows for which it is not true are
            `not_selected`. A column is named by its stage: `aesthetic_score >= 40`.
        latent_precision: In which latents are stored. `fp16` keeps 11 bits of them, `bf16` 8;
            `fp32` is what the codec gives, to the bit.
        text_precision: In which features are stored. The outliers of language models are beyond
            `fp16`, and `bf16` is what a model that computes in it gives, to the bit.
    """

    codec: Annotated[AnyCodec, Field(discriminator="codec")] | None = BlockDctConfig()
    text: Annotated[AnyTextEncoder, Field(discriminator="encoder")] | None = HashedTokensConfig()
    edge_px: int = Field(default=256, ge=16, le=4096)
    flip: bool = False
    variants: tuple[str, ...] | None = Field(default=None, min_length=1)
    where: str | None = None
    latent_precision: Precision = "fp16"
    text_precision: Precision = "bf16"

    @field_validator("codec", mode="before")
    @classmethod
    def _default_codec(cls, codec: Any) -> Any:
        return {"codec": "block_dct", **codec} if isinstance(codec, dict) else codec

    @field_validator("text", mode="before")
    @classmethod
    def _default_text(cls, text: Any) -> Any:
        return {"encoder": "hashed_tokens", **text} if isinstance(text, dict) else text

    @field_validator("where")
    @classmethod
    def _one_expression(cls, where: str | None) -> str | None:
        if where is None:
            return None
        from stages.encode.where import Where

        try:
            checked = Where(where)
            checked.reads()
        except LongtailError as error:
            raise ValueError(str(error).removeprefix("where: ")) from error
        return checked.sql

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.codec is None and self.text is None:
            message = "codec and text are both null; then there is nothing to encode"
            raise ValueError(message)
        if self.codec is None and self.flip:
            message = "flip: mirrors pictures, and codec is null; leave it out"
            raise ValueError(message)
        return self
