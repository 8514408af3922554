"""Latent codecs: pictures to latents and back.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, Y X pixel rows and columns.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from curation.weights import local_weights, weights_digest
from training.encoders.configs import AnyCodec, BlockDctConfig, Flux2Config
from training.encoders.diffusers_parts import diffusers_part
from training.encoders.identity import CODEC, FLUX2_EPS, encoder_identity
from training.encoders.safe import require_safetensors

__all__ = [
    "CODECS",
    "AnyCodec",
    "BlockDctCodec",
    "BlockDctConfig",
    "Flux2Codec",
    "Flux2Config",
    "LatentCodec",
    "make_codec",
]


class LatentCodec(ABC):
    """Pictures to latents and back.

    Attributes:
        channels: C.
        stride: Pixels of a picture's edge for one of the latent's.
    """

    channels: int
    stride: int

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return, as JSON, everything that decides what a picture's latent is."""

    @abstractmethod
    def encode(self, pixels_BYX3: Tensor) -> Tensor:
        """Return latents (B, C, Y / stride, X / stride), fp32, on the scale of unit noise.

        Args:
            pixels_BYX3: uint8 sRGB; Y and X are multiples of the stride.
        """

    @abstractmethod
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Return pictures (B, Y, X, 3), uint8."""


class BlockDctCodec(LatentCodec):
    """Each block of 8 x 8 pixels becomes 192 numbers: its cosine transform in three colours.

    Orthonormal and so exactly invertible but for rounding to uint8: it compresses nothing. For
    trying a trainer out, and for tests.

    Coarse coefficients are left larger than fine ones, as learned codecs leave them; nothing is
    lost by that. Were all of one deviation, nearly all of a loss would be about detail that nothing
    predicts, and a small model would learn no layout.

    Source: Ahmed, Natarajan & Rao 1974 (DCT-II); the colours are the orthonormal basis along grey,
        red-blue and magenta-green. The deviations by which coefficients are divided, those of
        pictures over those wanted of latents, were measured on photographs and drawings at 32 to
        128 px, and are the same for every picture.
    """

    channels = 192
    stride = 8

    def __init__(self, config: BlockDctConfig) -> None:
        self._config = config
        self._basis = _cosines(self.stride)
        axes = torch.tensor(_AXES, dtype=torch.float64)
        self._colors = (axes / axes.norm(dim=1, keepdim=True)).float()
        of_pictures = torch.tensor(_GAINS).view(3, 1, 1) * torch.tensor(_DEVIATIONS)
        divisors = of_pictures / _wanted_deviations(self.stride)
        self._divisors = divisors.reshape(1, self.channels, 1, 1)

    def identity(self) -> Mapping[str, Any]:
        return encoder_identity(self._config, {})

    def encode(self, pixels_BYX3: Tensor) -> Tensor:
        basis, colors = self._basis.to(pixels_BYX3.device), self._colors.to(pixels_BYX3.device)
        batch, rows, columns, _ = pixels_BYX3.shape
        edge = self.stride
        values = pixels_BYX3.float() / 127.5 - 1
        blocks = values.view(batch, rows // edge, edge, columns // edge, edge, 3)
        found = torch.einsum("bhywxc,uy,vx,kc->bkuvhw", blocks, basis, basis, colors)
        latent = found.reshape(batch, self.channels, rows // edge, columns // edge)
        return latent / self._divisors.to(latent.device)

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        basis, colors = self._basis.to(latent_BCHW.device), self._colors.to(latent_BCHW.device)
        batch, _, rows, columns = latent_BCHW.shape
        edge = self.stride
        found = latent_BCHW.float() * self._divisors.to(latent_BCHW.device)
        found = found.view(batch, 3, edge, edge, rows, columns)
        values = torch.einsum("bkuvhw,uy,vx,kc->bhywxc", found, basis, basis, colors)
        pixels = values.reshape(batch, rows * edge, columns * edge, 3)
        return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Flux2Codec(LatentCodec):
    """The FLUX.2 VAE with 2 x 2 patches, normalised by its batch norm's running statistics.

    The latent is the posterior's mean. The eps of the normalisation is 1e-5, as ERNIE-Image was
    trained with; the configuration of the released VAE says 1e-4.

    Source: diffusers 0.42.1, `ErnieImagePipeline`.
    """

    channels = 128
    stride = 16
    EPS: ClassVar[float] = FLUX2_EPS

    def __init__(self, config: Flux2Config) -> None:
        self._digest = weights_digest(config.weights)
        self._config = config
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        folder = local_weights(config.weights, self._digest)
        vae_type = diffusers_part("AutoencoderKLFlux2")
        require_safetensors(folder)
        self._vae: Any = vae_type.from_pretrained(
            folder, torch_dtype=dtype, use_safetensors=True
        ).eval()
        self._vae.requires_grad_(False)
        self.channels = 4 * int(self._vae.config.latent_channels)
        self.stride = 2 ** len(self._vae.config.block_out_channels)

    def identity(self) -> Mapping[str, Any]:
        return encoder_identity(self._config, {CODEC: self._digest})

    @torch.no_grad()
    def encode(self, pixels_BYX3: Tensor) -> Tensor:
        vae = self._vae.to(pixels_BYX3.device)
        values = (pixels_BYX3.permute(0, 3, 1, 2).float() / 127.5 - 1).to(vae.dtype)
        mean = vae.encode(values).latent_dist.mode().float()
        batch, channels, rows, columns = mean.shape
        patches = mean.view(batch, channels, rows // 2, 2, columns // 2, 2)
        patches = patches.permute(0, 1, 3, 5, 2, 4)
        patches = patches.reshape(batch, 4 * channels, rows // 2, columns // 2)
        center, deviation = self._statistics()
        latent: Tensor = (patches - center) / deviation
        return latent

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        vae = self._vae.to(latent_BCHW.device)
        center, deviation = self._statistics()
        patches = latent_BCHW.float() * deviation + center
        batch, channels, rows, columns = patches.shape
        mean = patches.view(batch, channels // 4, 2, 2, rows, columns).permute(0, 1, 4, 2, 5, 3)
        mean = mean.reshape(batch, channels // 4, rows * 2, columns * 2)
        values = vae.decode(mean.to(vae.dtype)).sample.float()
        pixels = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        upright: Tensor = pixels.permute(0, 2, 3, 1).contiguous()
        return upright

    def _statistics(self) -> tuple[Tensor, Tensor]:
        norm = self._vae.bn
        center: Tensor = norm.running_mean.float().view(1, -1, 1, 1)
        deviation: Tensor = torch.sqrt(norm.running_var.float().view(1, -1, 1, 1) + self.EPS)
        return center, deviation


def _cosines(size: int) -> Tensor:
    """Return the orthonormal DCT-II as (frequency, position)."""
    position = torch.arange(size, dtype=torch.float64)
    frequency = position[:, None]
    basis: Tensor = torch.cos(torch.pi / size * (position + 0.5) * frequency) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


def _wanted_deviations(size: int) -> Tensor:
    """Return what a picture's latents shall deviate by: (vertical, horizontal frequency).

    Unit noise drowns what deviates less before what deviates more: detail is what a model draws
    last.
    """
    frequency = torch.arange(size, dtype=torch.float64)
    radius = torch.hypot(frequency[:, None], frequency[None, :])
    coarse, finest = _WANTED
    return (coarse / (1 + radius)).clamp(min=finest).float()


_AXES = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Grey, red against blue, magenta against green; orthogonal."""

_GAINS = (1.0, 0.30, 0.12)
"""Deviations of the three colours beside those of grey."""

_DEVIATIONS = (
    (5.89, 1.96, 1.23, 0.85, 0.64, 0.49, 0.41, 0.35),
    (1.96, 0.87, 0.60, 0.44, 0.34, 0.27, 0.22, 0.20),
    (1.23, 0.60, 0.46, 0.35, 0.27, 0.22, 0.19, 0.17),
    (0.85, 0.44, 0.35, 0.28, 0.22, 0.18, 0.16, 0.14),
    (0.64, 0.34, 0.27, 0.22, 0.18, 0.15, 0.13, 0.12),
    (0.49, 0.27, 0.22, 0.18, 0.15, 0.13, 0.12, 0.11),
    (0.41, 0.22, 0.19, 0.16, 0.13, 0.12, 0.11, 0.09),
    (0.35, 0.20, 0.17, 0.14, 0.12, 0.11, 0.09, 0.09),
)
"""Of the coefficients of grey by vertical and horizontal frequency, pixels in -1..1."""

_WANTED = (2.0, 0.25)
"""Deviation of a block's mean, falling as 1 / (1 + frequency), and that of the finest detail."""

CODECS: dict[str, Any] = {"block_dct": BlockDctCodec, "flux2_vae": Flux2Codec}
"""Name in YAML -> class."""


def make_codec(config: AnyCodec) -> LatentCodec:
    """Make the codec that a recipe names."""
    codec: LatentCodec = CODECS[config.codec](config)
    return codec
