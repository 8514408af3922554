"""In which precision a run computes, and what it trades for memory and speed."""

from typing import Literal

from curation.config import Config

Precision = Literal["fp32", "bf16"]


class ComputeConfig(Config):
    """How a step is computed.

    `precision` is part of what a run is. The other two are not, and may change when it is resumed:
    gradients are the same to the bit with activation checkpointing, and to rounding with
    compilation.

    Attributes:
        precision: In which the model computes; trained weights, gradients' sums and the optimizer
            stay fp32.
        activation_checkpointing: Keep only what goes into each block, and compute the rest again
            in the backward pass: a third more computing, a small part of the memory.
        compile: Compile the blocks, once for all of them. It takes a minute or so at the start, and
            needs a C++ compiler.
    """

    precision: Precision = "fp32"
    activation_checkpointing: bool = False
    compile: bool = False
