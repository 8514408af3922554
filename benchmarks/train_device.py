"""How much of a GPU's peak the transformer's blocks reach, and a whole step of the loop.

Shape suffixes: S tokens, B batch, D width, C latent channels, H W latent rows and columns, T text
tokens.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.compute import ComputeConfig
from training.data.memory import MemorySource
from training.data.plan import BatchConfig
from training.flops import model_flops, published_peak
from training.loop import Loop, LoopConfig
from training.model import Dit, ModelConfig
from training.objectives.flow import FlowConfig, FlowObjective
from training.optimizers import OptimizerConfig
from training.sharding import prepare


@dataclass(frozen=True)
class Sizes:
    """What is computed.

    Attributes:
        model: Sizes of the transformer, with the blocks that fit.
        edge: Of the latent: edge x edge image tokens.
        text_tokens: Of each sample, none of them padding.
        batch: Samples of a step.
        channels: Of the latent.
        text_width: Features of a text token.
        compiled: Whether each block is compiled by itself.
    """

    model: ModelConfig
    edge: int = 64
    text_tokens: int = 256
    batch: int = 4
    channels: int = 128
    text_width: int = 3072
    compiled: bool = True

    @property
    def tokens(self) -> int:
        """Of a sample."""
        return self.edge**2 + self.text_tokens


def real_sizes(batch: int) -> Sizes:
    """Return 8 of the 36 blocks of the released model, on pictures of 1024 px."""
    return Sizes(
        ModelConfig.model_validate({"preset": "ernie_image_8b", "num_layers": 8}), batch=batch
    )


def small_sizes(batch: int) -> Sizes:
    """Return what a CPU can do: it shows that the code runs, and measures nothing."""
    model = ModelConfig.model_validate({"preset": "tiny", "num_layers": 2})
    return Sizes(
        model, edge=8, text_tokens=16, batch=batch, channels=16, text_width=32, compiled=False
    )


def block_flops(sizes: Sizes) -> float:
    """Return the operations of a forward and backward pass of the blocks alone, for one sample.

    Recomputed activations do not count, nor what stands outside the blocks.
    """
    counted = model_flops(sizes.model, sizes.channels, sizes.text_width)
    width = sizes.model.hidden_size
    outside = 2 * width * sizes.channels + 2 * sizes.text_width * width * (
        sizes.text_width != width
    )
    blocks = sizes.tokens * (counted.per_text_token - outside)
    return 3 * (blocks + sizes.tokens**2 * counted.per_pair)


def measure(sizes: Sizes, device: torch.device, *, warm: int, steps: int) -> dict[str, float]:
    """Return seconds, operations a second and, where the peak is known, the share of it.

    `stack`: forward and backward passes of the blocks alone, in bf16, with the mask that the model
    always makes. `stack_unmasked`: without the mask, which changes nothing where no text is padded.
    `full_step`: a step of the loop: latents in memory, the whole transformer with so many blocks in
    bf16, its weights in fp32, clipping, AdamW and the average.
    """
    peak = published_peak(device, "bf16")
    blocks = sizes.batch * block_flops(sizes)
    flops = model_flops(sizes.model, sizes.channels, sizes.text_width)
    whole = sizes.batch * flops.train(sizes.edge**2, sizes.text_tokens)
    found: dict[str, float] = {}
    for kind, work, seconds in (
        ("stack", blocks, _stack(sizes, device, warm, steps, masked=True)),
        ("stack_unmasked", blocks, _stack(sizes, device, warm, steps, masked=False)),
        ("full_step", whole, _full_step(sizes, device, warm, steps)),
    ):
        found[f"{kind}_s"] = round(seconds, 4)
        found[f"{kind}_tflop_s"] = round(work / seconds / 1e12, 3)
        if peak is not None:
            found[f"{kind}_mfu"] = round(work / seconds / peak, 3)
    if device.type == "cuda":
        found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 1)
    return found


def make_model(sizes: Sizes, device: torch.device) -> Dit:
    """Make the transformer with random weights."""
    torch.manual_seed(0)
    with device:
        return Dit(sizes.model, sizes.channels, sizes.text_width)


def _stack(sizes: Sizes, device: torch.device, warm: int, steps: int, *, masked: bool) -> float:
    """Return seconds of a forward and backward pass of the blocks."""
    model = make_model(sizes, device).to(torch.bfloat16)
    if sizes.compiled:
        for block in model.transformer.layers:
            block.compile()
    transformer: Any = model.transformer
    shape = (sizes.tokens, sizes.batch, sizes.model.hidden_size)
    tokens_SBD = torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True)
    modulation = [
        torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(6)
    ]
    rotary = transformer.pos_embed(places_BS3(sizes, device))
    mask = torch.ones(sizes.batch, 1, 1, sizes.tokens, device=device, dtype=torch.bool)

    def step() -> None:
        hidden_SBD = tokens_SBD
        for block in transformer.layers:
            hidden_SBD = block(hidden_SBD, rotary, modulation, mask if masked else None)
        hidden_SBD.backward(torch.ones_like(hidden_SBD))
        for tensor in (tokens_SBD, *modulation, *transformer.parameters()):
            tensor.grad = None

    return _median_seconds(step, device, warm, steps)


def places_BS3(sizes: Sizes, device: torch.device) -> Tensor:
    """Return text length, row and column of image tokens, then positions of text tokens."""
    edge = torch.arange(sizes.edge, dtype=torch.float32, device=device)
    grid = torch.cartesian_prod(edge, edge)
    lengths = torch.full((len(grid), 1), float(sizes.text_tokens), device=device)
    texts = torch.zeros(sizes.text_tokens, 3, device=device)
    texts[:, 0] = torch.arange(sizes.text_tokens, device=device)
    places_S3 = torch.cat([torch.cat([lengths, grid], 1), texts])
    return places_S3.expand(sizes.batch, -1, -1)


def _full_step(sizes: Sizes, device: torch.device, warm: int, steps: int) -> float:
    """Return seconds of a step of the loop."""
    compute = ComputeConfig(precision="bf16", compile=sizes.compiled)
    model = prepare(make_model(sizes, device), device, compute)
    count = 2 * sizes.batch
    text_NTD = torch.randn(count, sizes.text_tokens, sizes.text_width, device=device)
    source = MemorySource(
        torch.randn(count, sizes.channels, sizes.edge, sizes.edge, device=device),
        text_NTD,
        torch.full((count,), sizes.text_tokens, device=device),
        torch.zeros(1, sizes.text_width, device=device),
        batch=BatchConfig(size=sizes.batch),
        seed=0,
        dropout=0.0,
    )
    loop = Loop(
        FlowObjective(FlowConfig(), model),
        source,
        LoopConfig(steps=warm + steps),
        {"model": OptimizerConfig(warmup_steps=1)},
    )
    ends: list[float] = []

    def after(step: int) -> None:
        _finish(device)
        ends.append(time.perf_counter())

    loop.run(after)
    spans = [then - now for now, then in itertools.pairwise(ends)]
    return statistics.median(spans[warm - 1 :])


def _median_seconds(step: Callable[[], None], device: torch.device, warm: int, steps: int) -> float:
    """Return the median time of a step after `warm` of them."""
    spans = []
    for _ in range(warm + steps):
        begun = time.perf_counter()
        step()
        _finish(device)
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans[warm:])


def _finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
