"""How many tokens texts have, without the model that reads them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.encoders.configs import AnyTextEncoder, HashedTokensConfig
from training.encoders.identity import TOKENIZER

_TOKEN = re.compile(r"\w+|[^\w\s]")


def word_tokens(text: str, max_tokens: int) -> list[str]:
    """Return a mark of the beginning, and the words and signs of a text."""
    return ["<s>", *_TOKEN.findall(text.lower())][:max_tokens]


def count_tokens(
    config: AnyTextEncoder, texts: Sequence[str], paths: Mapping[str, Path]
) -> list[int]:
    """Return the tokens of each text, as the encoder would count them.

    Args:
        config: The encoder.
        texts: The texts.
        paths: Role -> where its weights lie on this machine.
    """
    if isinstance(config, HashedTokensConfig):
        return [len(word_tokens(text, config.max_tokens)) for text in texts]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(paths[TOKENIZER])
    return [len(token_ids(tokenizer, text, config.max_tokens)) for text in texts]


def token_ids(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Return the ids of a text with special tokens, cut to `max_tokens`; at least one.

    Args:
        tokenizer: Of transformers.
        text: The text.
        max_tokens: Tokens at most.
    """
    found = tokenizer(text, add_special_tokens=True, truncation=True, max_length=max_tokens)
    start = tokenizer.bos_token_id
    return list(found["input_ids"]) or [0 if start is None else int(start)]
