"""Tensors as bytes in a column, in a stated precision."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["fp32", "fp16", "bf16"]

NUM_BYTES: dict[str, int] = {"fp32": 4, "fp16": 2, "bf16": 2}


def to_bytes(values: "Tensor", precision: Precision) -> bytes | None:
    """Return the numbers of a tensor, first index slowest, little-endian.

    Returns:
        Null where one is not finite, or is not any more once it is rounded.
    """
    import torch

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    rounded = values.detach().to("cpu", types[precision]).contiguous()
    if not bool(torch.isfinite(rounded).all()):
        return None
    # numpy has no bfloat16; the bytes are the same.
    data: bytes = rounded.flatten().view(torch.uint8).numpy().tobytes()
    return data
