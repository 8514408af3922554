"""Encoders whose weights are loaded when they are first needed.

What must be known of them before that, such as the shape of a latent, their files say. A run that
reads everything from a cache loads no encoder, or only that of its prompts.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from curation.weights import local_weights, weights_digest
from training.encoders.configs import AnyCodec, AnyTextEncoder
from training.encoders.identity import codec_facts, encoder_identity, encoder_weights, text_facts
from training.encoders.latents import LatentCodec, make_codec
from training.encoders.texts import TextEncoder, make_text_encoder


class LazyCodec(LatentCodec):
    """A codec that is loaded with its first picture.

    Args:
        config: Which.

    Raises:
        MissingWeightsError: They are not on this machine.
    """

    def __init__(self, config: AnyCodec) -> None:
        self._config = config
        weights = encoder_weights(config)
        self._digests = {role: weights_digest(weights[role]) for role in weights}
        paths = {role: local_weights(weights[role], self._digests[role]) for role in weights}
        facts = codec_facts(config, paths)
        self.channels, self.stride = facts["channels"], facts["stride"]

    @cached_property
    def loaded(self) -> LatentCodec:
        """The codec itself."""
        return make_codec(self._config)

    def identity(self) -> Mapping[str, Any]:
        return encoder_identity(self._config, self._digests)

    def encode(self, pixels_BYX3: Tensor) -> Tensor:
        return self.loaded.encode(pixels_BYX3)

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        return self.loaded.decode(latent_BCHW)


class LazyTextEncoder(TextEncoder):
    """A text encoder that is loaded with its first text.

    Args:
        config: Which.

    Raises:
        MissingWeightsError: Its weights are not on this machine.
    """

    def __init__(self, config: AnyTextEncoder) -> None:
        self._config = config
        weights = encoder_weights(config)
        self._digests = {role: weights_digest(weights[role]) for role in weights}
        paths = {role: local_weights(weights[role], self._digests[role]) for role in weights}
        self.width = text_facts(config, paths)["width"]
        self.max_tokens = config.max_tokens

    @cached_property
    def loaded(self) -> TextEncoder:
        """The encoder itself."""
        return make_text_encoder(self._config)

    def identity(self) -> Mapping[str, Any]:
        return encoder_identity(self._config, self._digests)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return self.loaded.lengths(texts)

    def encode(self, texts: Sequence[str], device: torch.device) -> list[Tensor]:
        return self.loaded.encode(texts, device)
