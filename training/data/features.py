"""Latents and text features of visits: from a cache, as far as it has them, else computed.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.data.cache import Cache
from training.data.images import ImageReader
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder


class Features:
    """Gives what a batch is made of.

    Args:
        codec: Makes latents; not asked where the cache has them.
        texts: Makes features; likewise.
        images: Reads pixels in the sizes of the buckets.
        cache: What was made before.
        device: Where tensors are wanted and computed.

    Attributes:
        null_TD: Features of the empty text.
    """

    def __init__(
        self,
        codec: LatentCodec,
        texts: TextEncoder,
        images: ImageReader,
        cache: Cache,
        device: torch.device,
    ) -> None:
        self._codec = codec
        self._texts = texts
        self._images = images
        self._cache = cache
        self._device = device
        self.null_TD = null_features(cache, texts, device)

    def latents(self, positions: Sequence[int], mirrored: Sequence[bool]) -> Tensor:
        """Return (B, C, H, W) for images of one size.

        Args:
            positions: Rows of the table.
            mirrored: Whether each is shown mirrored.
        """
        found: list[Tensor | None] = [None] * len(positions)
        if self._cache.latents is not None:
            found = self._cache.latents.read(positions, mirrored)
            for n, position in enumerate(positions):
                if found[n] is None and self._images.is_forbidden(position):
                    # Erased on request. It keeps its place in the batch, and counts nothing.
                    width, height = self._images.size(position)
                    stride = self._codec.stride
                    found[n] = torch.zeros(self._codec.channels, height // stride, width // stride)
        missing = [n for n, latent in enumerate(found) if latent is None]
        if missing:
            pixels = self._images.read([positions[n] for n in missing])
            shown = [
                image[:, ::-1] if mirrored[n] else image
                for n, image in zip(missing, pixels, strict=True)
            ]
            made = self._codec.encode(torch.from_numpy(np.stack(shown)).to(self._device))
            if len(missing) == len(positions):
                return made
            for n, latent in zip(missing, made, strict=True):
                found[n] = latent
        return torch.stack([latent.to(self._device) for latent in found if latent is not None])

    def texts(self, positions: Sequence[int], texts: Sequence[str]) -> list[Tensor]:
        """Return (T, D) for each text of each position."""
        found: list[Tensor | None] = [None] * len(texts)
        if self._cache.texts is not None:
            found = self._cache.texts.read(positions, texts)
        missing = [n for n, features in enumerate(found) if features is None]
        if missing:
            made = self._texts.encode([texts[n] for n in missing], self._device)
            for n, features in zip(missing, made, strict=True):
                found[n] = features
        return [features.to(self._device) for features in found if features is not None]


def null_features(cache: Cache, texts: TextEncoder, device: torch.device) -> Tensor:
    """Return (T, D) features of the empty text: those that the cache has, else computed."""
    if cache.texts is not None and cache.texts.null_TD is not None:
        return cache.texts.null_TD.to(device)
    return texts.encode([""], device)[0]
