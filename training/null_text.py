"""The features of the empty text that a model was trained with, in its checkpoints.

A dropped caption and guidance without a classifier show the model the encoder's features of "",
never zeros. A checkpoint keeps them, so that another encoder, tokenizer or library that gives
something else is noticed before a picture is drawn with it.

Shape suffixes: T text tokens, D features.
"""

import base64
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from curation.errors import UsageError

TOLERANCE = 0.05
"""Of the difference's length against that of the features: devices and libraries round otherwise,
bf16 by 1/256 in each of some dozens of layers; another encoder differs by its whole length."""


def null_to_json(null_TD: Tensor) -> dict[str, Any]:
    """Return the features for a checkpoint's state."""
    exact = null_TD.detach().to("cpu", torch.float32).contiguous()
    data = exact.numpy().astype("<f4").tobytes()
    return {"shape": list(exact.shape), "fp32": base64.b64encode(data).decode()}


def null_from_json(value: Mapping[str, Any]) -> Tensor:
    """Read what `null_to_json` wrote."""
    data = bytearray(base64.b64decode(value["fp32"]))
    return torch.frombuffer(data, dtype=torch.float32).reshape(value["shape"]).clone()


def check_null(kept: Mapping[str, Any] | None, null_TD: Tensor, where: str) -> None:
    """Refuse an encoder that gives another empty text than a model was trained with.

    Args:
        kept: From the checkpoint's state; null in one that is older than this.
        null_TD: What the encoder gives now.
        where: The checkpoint, for messages.

    Raises:
        UsageError: They differ.
    """
    if kept is None:
        return
    told_TD = null_from_json(kept)
    now_TD = null_TD.detach().to("cpu", torch.float32)
    same_shape = told_TD.shape == now_TD.shape
    if same_shape and float((told_TD - now_TD).norm()) <= TOLERANCE * float(told_TD.norm()):
        return
    found = (
        f"{float((told_TD - now_TD).norm() / told_TD.norm()):.0%} away"
        if same_shape
        else f"of shape {tuple(now_TD.shape)}, not {tuple(told_TD.shape)}"
    )
    message = (
        f"{where}: the text encoder's features of the empty text are {found} from those that the "
        "model was trained with; use the libraries and the encoder of the run"
    )
    raise UsageError(message)
