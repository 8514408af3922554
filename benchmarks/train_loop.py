"""What the loop costs beside a bare one: the same module, clipping, optimizer and average.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.turns import Spent, ratios, timed
from training.data.memory import MemorySource
from training.data.plan import BatchConfig, Cursor
from training.journal import Journal
from training.loop import Loop, LoopConfig
from training.model import Dit, ModelConfig
from training.objectives.flow import FlowConfig, FlowObjective
from training.optimizers import OptimizerConfig

CHANNELS, EDGE, WIDTH = 192, 4, 64
BATCH = 64
STEPS_OF_A_BLOCK = 2
OPTIMIZER = OptimizerConfig(lr=1e-4, warmup_steps=1, ema_decay=0.999)
MODEL = ModelConfig.model_validate(
    {
        "preset": "tiny",
        "hidden_size": 192,
        "num_attention_heads": 6,
        "num_layers": 6,
        "ffn_hidden_size": 576,
    }
)
_SETTLE_S = 0.3  # until batches are made ahead again, outside of either's clock


def compare(rounds: int, folder: Path) -> dict[str, float]:
    """Measure the loop and a bare loop in turns.

    The loop makes its batches from latents that are held, draws keyed noise, writes its figures;
    making batches ahead goes on in its thread and counts as its processor time. The bare loop has
    its batches ready. Neither writes checkpoints.

    Args:
        rounds: Blocks of each.
        folder: For the loop's figures.
    """
    source = _source()
    ours, theirs = _model(), _model()
    batches = itertools.cycle(list(itertools.islice(_bare_batches(source), 8)))
    bare = bare_steps(theirs, batches)
    clock = _Clock()
    loop = Loop(
        FlowObjective(FlowConfig(), ours),
        source,
        LoopConfig(steps=(rounds + 1) * STEPS_OF_A_BLOCK, log_every=10),
        {"model": OPTIMIZER},
        journal=Journal(folder, 0),
    )
    blocks: list[Spent] = []
    bares: list[Spent] = []

    def after(step: int) -> None:
        if step % STEPS_OF_A_BLOCK:
            return
        blocks.append(clock.stop())
        bares.append(timed(lambda: [next(bare) for _ in range(STEPS_OF_A_BLOCK)]))
        clock.start()

    clock.start()
    loop.run(after)
    found = ratios(blocks[1:], bares[1:])  # the first block of each warms up
    steps = [spent.wall_s / STEPS_OF_A_BLOCK for spent in bares[1:]]
    return {
        "loop_to_bare": round(found["processor"], 3),
        "loop_to_bare_wall": round(found["wall"], 3),
        "bare_step_s": round(statistics.median(steps), 3),
        "bare_step_processor_s": round(
            statistics.median(spent.processor_s / STEPS_OF_A_BLOCK for spent in bares[1:]), 3
        ),
    }


class _Clock:
    """Times a block of the loop, with the batches that it makes ahead for the next one."""

    def start(self) -> None:
        time.sleep(_SETTLE_S)
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def stop(self) -> Spent:
        wall = time.perf_counter() - self._wall
        time.sleep(_SETTLE_S)
        return Spent(wall, time.process_time() - self._processor)


def bare_steps(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor, Tensor]]
) -> Iterator[None]:
    """Train as a script of a page would, a step at a time."""
    parameters: list[Tensor] = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=OPTIMIZER.lr, betas=OPTIMIZER.betas, weight_decay=0.0, fused=True
    )
    averages = [parameter.detach().clone() for parameter in parameters]
    assert OPTIMIZER.ema_decay is not None
    model.train()
    for latent_BCHW, text_BTD, lens_B in batches:
        optimizer.zero_grad(set_to_none=True)
        sigma_B = torch.sigmoid(torch.randn(len(latent_BCHW)))
        noise_BCHW = torch.randn_like(latent_BCHW)
        mixed_BCHW = torch.lerp(latent_BCHW, noise_BCHW, sigma_B.view(-1, 1, 1, 1))
        velocity_BCHW = model(mixed_BCHW, sigma_B, text_BTD, lens_B)
        loss = nn.functional.mse_loss(velocity_BCHW, noise_BCHW - latent_BCHW)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, OPTIMIZER.max_grad_norm)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - OPTIMIZER.ema_decay)
        float(loss.detach())  # a script prints it
        yield


def _model() -> Dit:
    torch.manual_seed(0)
    return Dit(MODEL, CHANNELS, WIDTH)


def _source() -> MemorySource:
    generator = torch.Generator().manual_seed(0)
    count = 1024
    return MemorySource(
        torch.randn(count, CHANNELS, EDGE, EDGE, generator=generator),
        torch.randn(count, 16, WIDTH, generator=generator),
        torch.full((count,), 16),
        torch.zeros(1, WIDTH),
        batch=BatchConfig(size=BATCH),
        seed=0,
    )


def _bare_batches(source: MemorySource) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for batch in source.batches(Cursor()):
        for micro in batch.micro:
            yield micro.latent_BCHW, micro.text_BTD, micro.text_lens_B
