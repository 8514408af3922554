"""What a cache takes on disk, told before it is built."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from stages.encode.config import EncodeConfig
from stages.encode.precision import NUM_BYTES
from training.encoders.sizes import scaled_buckets

SAMPLE_TEXTS = 256
"""Texts whose tokens are counted, about."""


def latent_bytes(config: EncodeConfig, channels: int, stride: int) -> int:
    """Return the bytes of a row's latents, mirrored one included, in the largest of the buckets.

    The seven sizes differ by 2.5 % in area.
    """
    sizes = scaled_buckets(config.edge_px, stride)
    positions = max(width * height for width, height in sizes) // stride**2
    each = positions * channels * NUM_BYTES[config.latent_precision]
    return each * (2 if config.flip else 1)


def token_bytes(config: EncodeConfig, width: int) -> int:
    """Return the bytes of a token's features."""
    return width * NUM_BYTES[config.text_precision]


def mean_tokens(
    texts: Sequence[Sequence[str]], count: Callable[[list[str]], list[int]]
) -> float | None:
    """Return how many tokens the texts of a row have, on average; null where there are no rows.

    Args:
        texts: The texts of each row of a sample.
        count: Tokens of texts.
    """
    if not texts:
        return None
    # Rows drawn at random: a stride could meet the same kind of row, or of text, every time.
    num_texts = sum(map(len, texts))
    wanted = max(1, min(len(texts), SAMPLE_TEXTS * len(texts) // max(num_texts, 1)))
    rows = random.Random(0).sample(list(texts), wanted)
    counted = count([text for row in rows for text in row])
    return sum(counted) / len(rows)


def chosen_texts(captions: Sequence[Any] | None, variants: Sequence[str] | None) -> list[str]:
    """Return the texts of a row that are encoded: the empty one, then its captions, each once."""
    wanted = [
        caption["text"]
        for caption in captions or ()
        if caption["text"] is not None and (variants is None or caption["variant"] in variants)
    ]
    return list(dict.fromkeys(["", *wanted]))
