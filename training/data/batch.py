"""A batch, as an objective sees it.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.draws import SampleKey, draw_normals, draw_uniforms


@dataclass(frozen=True)
class Batch:
    """Some samples of one size: a rank's micro-batch, part of a global batch.

    Attributes:
        latent_BCHW: Clean latents, fp32.
        text_BTD: Features of the texts, padded with zeros.
        text_lens_B: Tokens of each text, at least 1.
        null_TD: Features of the empty text.
        keys: The visits; every draw is keyed by them.
        domains: For each sample the name of its domain.
        weight_B: What the sample's loss counts, 0 for one that must not be learnt from.
        num_global: Samples of the global batch: a loss is a sum over samples divided by this.
        seed: Of the run's draws.
        shift: Of noise levels, in place of the objective's; null for that. Stages say it.
    """

    latent_BCHW: Tensor
    text_BTD: Tensor
    text_lens_B: Tensor
    null_TD: Tensor
    keys: tuple[SampleKey, ...]
    domains: tuple[str, ...]
    weight_B: Tensor
    num_global: int
    seed: int
    shift: float | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def image_ids(self) -> list[str]:
        """The images, as hexadecimal digits."""
        return [key.image_id.hex() for key in self.keys]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device."""
        names = ("latent_BCHW", "text_BTD", "text_lens_B", "null_TD", "weight_B")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def uniform(self, purpose: str) -> Tensor:
        """Return (B,) numbers in (0, 1), fp64 on the CPU, drawn for `purpose`."""
        return draw_uniforms(self.seed, self.keys, purpose)

    def noise(self, purpose: str) -> Tensor:
        """Return standard normal numbers in the latents' shape, on their device, for `purpose`."""
        shape = tuple(self.latent_BCHW.shape[1:])
        return draw_normals(self.seed, self.keys, purpose, shape).to(self.latent_BCHW)

    def span(self, purpose: str, low: float, high: float) -> Tensor:
        """Return (B,) numbers between two others, fp32, on the latents' device, for `purpose`."""
        uniform_B = self.uniform(purpose)
        return (low + (high - low) * uniform_B).float().to(self.latent_BCHW.device)

    def sigmas(self, level: float) -> Tensor:
        """Return (B,) times one noise level, fp32, on the latents' device."""
        return torch.full((len(self),), level, device=self.latent_BCHW.device)

    def null(self) -> tuple[Tensor, Tensor]:
        """Return the features of the empty text for each sample, (B, T, D), and lengths (B,)."""
        text_BTD = self.null_TD.expand(len(self), -1, -1)
        lens_B = torch.full((len(self),), len(self.null_TD), device=self.null_TD.device)
        return text_BTD, lens_B
