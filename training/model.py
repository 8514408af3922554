"""The model that is trained: diffusers' ERNIE-Image transformer, behind one small interface.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from curation.config import Config
from curation.weights import WeightsPlace
from training.encoders.diffusers_parts import diffusers_part
from training.lora import LoraConfig

TIMESTEP_SCALE = 1000.0
"""The released model is told sigma times this."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ernie_image_8b": {
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_layers": 36,
        "ffn_hidden_size": 12288,
        "rope_axes_dim": (32, 48, 48),
    },
    "proxy_1b": {
        "hidden_size": 2048,
        "num_attention_heads": 16,
        "num_layers": 18,
        "ffn_hidden_size": 6144,
        "rope_axes_dim": (32, 48, 48),
    },
    "tiny": {
        "hidden_size": 128,
        "num_attention_heads": 4,
        "num_layers": 4,
        "ffn_hidden_size": 384,
        "rope_axes_dim": (8, 12, 12),
    },
}
"""Sizes; `ernie_image_8b` is the released model's, the others keep its proportions.

Source: the configuration of baidu/ERNIE-Image; what it counts, 8,033,490,048 parameters, is tested.
"""


class VelocityModel(Protocol):
    """Predicts the velocity of the path from data to noise."""

    def __call__(
        self, latent_BCHW: Tensor, sigma_B: Tensor, text_BTD: Tensor, text_lens_B: Tensor
    ) -> Tensor:
        """Return the velocity (B, C, H, W).

        Args:
            latent_BCHW: (1 - sigma) data + sigma noise.
            sigma_B: fp32, 0 for data to 1 for noise.
            text_BTD: Padded features.
            text_lens_B: Tokens of each, at least 1.
        """
        ...


class ModelConfig(Config):
    """The sizes of the transformer, and what it starts from.

    Attributes:
        preset: Where they come from; what stands beside it overrides it.
        hidden_size: Width of a token.
        num_attention_heads: Heads of `hidden_size / num_attention_heads`.
        num_layers: Blocks.
        ffn_hidden_size: Width within a block's feed-forward part.
        rope_axes_dim: Shares of a head for text position, row and column; they add up to the head.
        weights: What it starts from: a downloaded or exported pipeline, the `transformer/` of one,
            or the output of a run or a `step-<n>` below it; null for weights that the seed gives.
        last: Of a run's checkpoint, take the last weights, not the averaged ones.
        lora: Train an adapter and leave `weights` as they are; null to train all of them.
    """

    preset: Literal["ernie_image_8b", "proxy_1b", "tiny"] = "tiny"
    hidden_size: int = Field(default=0, ge=0)
    num_attention_heads: int = Field(default=0, ge=0)
    num_layers: int = Field(default=0, ge=0)
    ffn_hidden_size: int = Field(default=0, ge=0)
    rope_axes_dim: tuple[int, int, int] = (0, 0, 0)
    weights: WeightsPlace | None = Field(default=None, exclude=True)
    last: bool = False
    lora: LoraConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("preset", "tiny") in PRESETS:
            return {**PRESETS[value.get("preset", "tiny")], **value}
        return value

    @model_validator(mode="after")
    def _fits(self) -> "ModelConfig":
        heads, hidden = self.num_attention_heads, self.hidden_size
        if hidden % heads or sum(self.rope_axes_dim) != hidden // heads:
            message = (
                f"rope_axes_dim {list(self.rope_axes_dim)} adds up to {sum(self.rope_axes_dim)}, "
                f"expected hidden_size / num_attention_heads = {hidden / heads:g}"
            )
            raise ValueError(message)
        if any(axis % 2 for axis in self.rope_axes_dim):
            message = f"rope_axes_dim {list(self.rope_axes_dim)}: each must be even"
            raise ValueError(message)
        if self.lora is not None and self.weights is None:
            message = "lora: an adapter needs weights that it adapts; name them under model.weights"
            raise ValueError(message)
        return self


class Dit(nn.Module):
    """`ErnieImageTransformer2DModel` as a `VelocityModel`.

    Attributes:
        transformer: The model, with diffusers' own keys.
    """

    def __init__(self, config: ModelConfig, channels: int, text_width: int) -> None:
        """Make it with random weights, those that diffusers makes."""
        super().__init__()
        self.transformer: Any = diffusers_part("ErnieImageTransformer2DModel")(
            hidden_size=config.hidden_size,
            num_attention_heads=config.num_attention_heads,
            num_layers=config.num_layers,
            ffn_hidden_size=config.ffn_hidden_size,
            rope_axes_dim=tuple(config.rope_axes_dim),
            in_channels=channels,
            out_channels=channels,
            patch_size=1,
            text_in_dim=text_width,
        )

    def forward(
        self, latent_BCHW: Tensor, sigma_B: Tensor, text_BTD: Tensor, text_lens_B: Tensor
    ) -> Tensor:
        """Return the velocity, fp32; see `VelocityModel`.

        It computes in the type that its weights have meanwhile, which sharding may have cast. The
        noise level stays fp32: in bf16, 997.3 would be 996.
        """
        dtype = self.transformer.x_embedder.proj.weight.dtype
        (velocity_BCHW,) = self.transformer(
            hidden_states=latent_BCHW.to(dtype),
            timestep=sigma_B.float() * TIMESTEP_SCALE,
            text_bth=text_BTD.to(dtype),
            text_lens=text_lens_B,
            return_dict=False,
        )
        found: Tensor = velocity_BCHW.to(torch.float32, copy=True)  # FSDP2 wants no view
        return found


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, also of a module on the meta device."""
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(config: ModelConfig, channels: int, text_width: int) -> Dit:
    """Return the model without memory for its weights."""
    with torch.device("meta"):
        return Dit(config, channels, text_width)
