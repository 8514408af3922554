"""Pairs of pictures of which one is preferred, as an objective sees them.

Shape suffixes: B pairs, C latent channels, H W latent rows and columns.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.data.batch import Batch


@dataclass(frozen=True, kw_only=True)
class PairBatch(Batch):
    """Some pairs of one size and one text each; what `Batch` calls latent is the winner's.

    Every draw is keyed by (seed, epoch, pair), so winner and loser share noise and level, and what
    a reference model makes of them can be computed before.

    Attributes:
        loser_BCHW: Clean latents of the pictures that were not preferred, fp32.
        reference_B2: Errors of the reference model, of winner and loser, fp32 means over elements;
            null where they are to be computed.
    """

    loser_BCHW: Tensor
    reference_B2: Tensor | None

    def to(self, device: torch.device) -> "PairBatch":
        """Return the batch with its tensors on a device."""
        moved = super().to(device)
        assert isinstance(moved, PairBatch)
        known = None if self.reference_B2 is None else self.reference_B2.to(device)
        return replace(moved, loser_BCHW=self.loser_BCHW.to(device), reference_B2=known)
