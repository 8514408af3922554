"""Compilation of a model's blocks.

Shape suffixes: S tokens, B batch, D features.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from curation.errors import UsageError
from training.model import Dit

_MOST_VERSIONS = 32


def compile_blocks(model: Dit, device: torch.device) -> None:
    """Compile the blocks, in place: keys of the state, hooks and checkpointing stay as they are.

    All blocks share what is compiled for the first. Batch and number of tokens are symbols in it,
    everything else is a constant, so any bucket and text length runs the same code: there are four
    versions, for one sample and for more, with gradients and without, whatever comes.

    Raises:
        UsageError: It is for a CPU, and there is no C++ compiler.
    """
    _check_compiler(device)
    # A kernel may ask more of its shapes, such as lengths that 16 divides, and so double the
    # versions; the default of 8 would then end a run.
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, _MOST_VERSIONS)
    for block in model.transformer.layers:
        block.forward = _compiled(block)


def _compiled(block: nn.Module) -> Callable[..., Tensor]:
    inner = torch.compile(block.forward, fullgraph=True)

    def forward(
        x_SBD: Tensor,
        rotary_pos_emb: Tensor,
        temb: Sequence[Tensor],
        attention_mask: Tensor,
    ) -> Tensor:
        # What is not marked here would be a constant of the first batch's, and compiled again for
        # the second; marking all dimensions makes symbols of the widths as well.
        for tensor_SBD in (x_SBD, *temb):
            torch._dynamo.maybe_mark_dynamic(tensor_SBD, (0, 1))
        torch._dynamo.maybe_mark_dynamic(rotary_pos_emb, (0, 1))
        torch._dynamo.maybe_mark_dynamic(attention_mask, (0, 3))
        found: Tensor = inner(x_SBD, rotary_pos_emb, temb, attention_mask)
        return found

    return forward


def _check_compiler(device: torch.device) -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    if device.type != "cpu":
        return
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        message = (
            "compute.compile: there is no C++ compiler on this machine; install g++ or name one in "
            "CXX, or leave compute.compile out"
        )
        raise UsageError(message) from error
