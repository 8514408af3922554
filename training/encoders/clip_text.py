"""The tokenizers of CLIP models, from files on this machine only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from curation.errors import ConfigError
from training.encoders.clip_config import ClipArchitecture

if TYPE_CHECKING:
    import torch

Tokenize = Callable[[list[str]], "torch.Tensor"]
"""Texts to (n, context length) token numbers."""

_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.txt")
_CONTEXT_LENGTH = 77


def text_obstacle(architecture: ClipArchitecture) -> str | None:
    """Return, as a sentence, why a model cannot read texts here; null where it can."""
    named = architecture.text_cfg.get("hf_tokenizer_name")
    folder = architecture.folder
    if not named or (folder is not None and any((folder / name).is_file() for name in _FILES)):
        return None
    return (
        f"{architecture.name}: its tokenizer ({named}) is not beside the weights; take the folder "
        "that open_clip published, with tokenizer.json in it, as `weights`"
    )


def make_tokenizer(architecture: ClipArchitecture) -> Tokenize:
    """Make a model's tokenizer: CLIP's own, which comes with open_clip, or one of transformers.

    Raises:
        ConfigError: Its files are not beside the weights, or cannot be read.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text_cfg = architecture.text_cfg
    length = text_cfg.get("context_length", _CONTEXT_LENGTH)
    options: dict[str, Any] = dict(text_cfg.get("tokenizer_kwargs") or {})
    if (obstacle := text_obstacle(architecture)) is not None:
        raise ConfigError(obstacle)
    if not text_cfg.get("hf_tokenizer_name"):
        tokenizer: Tokenize = SimpleTokenizer(context_length=length, **options)
        return tokenizer
    # Whatever the folder's configuration says: nothing is downloaded, and no code in it is run.
    options.update(trust_remote_code=False, local_files_only=True)
    try:
        tokenizer = HFTokenizer(
            str(architecture.folder),
            context_length=length,
            tokenizer_mode=text_cfg.get("tokenizer_mode"),
            **options,
        )
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        message = f"{architecture.folder}: its tokenizer cannot be read ({words})"
        raise ConfigError(message) from error
    return tokenizer
