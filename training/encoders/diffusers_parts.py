"""Parts of diffusers, imported without the words of packages that nobody asked about."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.encoders.torchvision_ops import declare_missing_ops

_TALKATIVE = ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer")
"""diffusers imports torchao where it is installed, which then says which of its libraries for GPUs
do not load, and torch and diffusers what they think of torchao's types. None of it is used here:
the 8-bit optimizer is plain torch."""


def diffusers_part(name: str) -> Any:
    """Return a class of diffusers by its name."""
    declare_missing_ops()
    with _silenced():
        import diffusers

        return getattr(diffusers, name)


@contextmanager
def _silenced() -> Iterator[None]:
    """Let the loggers of such packages say errors only."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
