"""Text encoders: captions to sequences of feature vectors.

Shape suffixes: T tokens, D features.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.weights import local_weights, weights_digest
from training.encoders.configs import AnyTextEncoder, HashedTokensConfig, MinistralConfig
from training.encoders.identity import MINISTRAL_LAYER, TEXT, TOKENIZER, encoder_identity
from training.encoders.safe import require_safetensors
from training.encoders.tokens import token_ids, word_tokens

__all__ = [
    "TEXT_ENCODERS",
    "AnyTextEncoder",
    "HashedTokensConfig",
    "HashedTokensEncoder",
    "MinistralConfig",
    "MinistralEncoder",
    "TextEncoder",
    "make_text_encoder",
    "pad",
]


class TextEncoder(ABC):
    """Captions to features; every text has at least one token, the empty one too.

    Attributes:
        width: D.
        max_tokens: A longer text is cut after so many.
    """

    width: int
    max_tokens: int

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return, as JSON, everything that decides what a text's features are."""

    @abstractmethod
    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return T of each text without encoding it."""

    @abstractmethod
    def encode(self, texts: Sequence[str], device: torch.device) -> list[Tensor]:
        """Return (T, D) for each text, fp32, unpadded; a text's features depend on it alone."""


class HashedTokensEncoder(TextEncoder):
    """A fixed random vector for each word, drawn from the word's hash.

    It knows no meaning: `dog` and `puppy` are as far apart as any two words. A model can learn what
    the words of its corpus stand for, and nothing of others. For trying a trainer out, and tests.
    """

    def __init__(self, config: HashedTokensConfig) -> None:
        self._config = config
        self.width = config.width
        self.max_tokens = config.max_tokens
        self._known: dict[str, Tensor] = {}

    def identity(self) -> Mapping[str, Any]:
        return encoder_identity(self._config, {})

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(self._tokens(text)) for text in texts]

    def encode(self, texts: Sequence[str], device: torch.device) -> list[Tensor]:
        return [
            torch.stack([self._vector(token) for token in self._tokens(text)]).to(device)
            for text in texts
        ]

    def _tokens(self, text: str) -> list[str]:
        return word_tokens(text, self.max_tokens)

    def _vector(self, token: str) -> Tensor:
        if token not in self._known:
            # Bits of a hash, so that no library's random generator decides what a word is.
            data = hashlib.shake_256(b"longtail-token-1\0" + token.encode()).digest(2 * self.width)
            uniform = np.frombuffer(data, "<u2").astype(np.float64) / 65535 * 2 - 1
            self._known[token] = torch.from_numpy(uniform * 3**0.5).float()  # deviation 1
        return self._known[token]


class MinistralEncoder(TextEncoder):
    """Ministral-3 3B: the second to last hidden state of each token, special tokens included.

    Texts are encoded one by one, without padding, as `ErnieImagePipeline` does: so a text's
    features never depend on its neighbours'.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer.

    Source: diffusers 0.42.1, `ErnieImagePipeline.encode_prompt`.
    """

    LAYER = MINISTRAL_LAYER

    def __init__(self, config: MinistralConfig) -> None:
        from training.encoders.torchvision_ops import declare_missing_ops

        declare_missing_ops()
        from transformers import AutoModel, AutoTokenizer

        named = config.tokenizer or config.weights
        self._digests = [weights_digest(config.weights), weights_digest(named)]
        self._config = config
        self.max_tokens = config.max_tokens
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(
            local_weights(named, self._digests[1]), trust_remote_code=False
        )
        folder = local_weights(config.weights, self._digests[0])
        require_safetensors(folder)
        model = AutoModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        self.model = model.eval().requires_grad_(False)
        text = getattr(self.model.config, "text_config", self.model.config)
        self.width = int(text.hidden_size)

    @property
    def model_class(self) -> str:
        """Name in transformers of the model's class, as a pipeline's index states it."""
        return type(self.model).__name__

    @property
    def tokenizer_class(self) -> str:
        """Name in transformers of the tokenizer's class, as a pipeline's index states it."""
        return type(self.tokenizer).__name__

    def identity(self) -> Mapping[str, Any]:
        digests = {TEXT: self._digests[0], TOKENIZER: self._digests[1]}
        return encoder_identity(self._config, digests)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(self._ids(text)) for text in texts]

    @torch.no_grad()
    def encode(self, texts: Sequence[str], device: torch.device) -> list[Tensor]:
        model = self.model.to(device)
        found = []
        for text in texts:
            ids = torch.tensor([self._ids(text)], device=device)
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
            found.append(states[self.LAYER][0].float())
        return found

    def _ids(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, text, self.max_tokens)


TEXT_ENCODERS: dict[str, Any] = {
    "hashed_tokens": HashedTokensEncoder,
    "ministral": MinistralEncoder,
}
"""Name in YAML -> class."""


def make_text_encoder(config: AnyTextEncoder) -> TextEncoder:
    """Make the text encoder that a recipe names."""
    encoder: TextEncoder = TEXT_ENCODERS[config.encoder](config)
    return encoder


def pad(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return texts as (B, longest T, D), zeros behind each text's end, and their lengths (B,)."""
    lengths = torch.tensor([len(text) for text in features], device=features[0].device)
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths
