"""Batches cut by tokens, similar text lengths together, against batches padded to 512 tokens.

Shape suffixes: N captions, T text tokens, D features.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks.turns import Spent, timed
from training.data.batch import Batch
from training.data.memory import MemorySource
from training.data.plan import BatchConfig, Cursor
from training.model import Dit, ModelConfig
from training.objectives.base import Phase
from training.objectives.flow import FlowConfig, FlowObjective

SHORTEST, LONGEST, PADDED = 40, 500, 512
EDGE = 16
"""Of the latent: 256 image tokens, as a picture of 256 px has."""

CHANNELS, WIDTH = 16, 16
SAMPLES_OF_A_BATCH = 4
TOKENS = SAMPLES_OF_A_BATCH * (EDGE**2 + PADDED)
"""Of a batch, in both ways."""


def ceiling() -> float:
    """Return the gain if no token were padding and each cost the same."""
    mean = (LONGEST - SHORTEST) / math.log(LONGEST / SHORTEST)
    return (EDGE**2 + PADDED) / (EDGE**2 + mean)


def compare(rounds: int) -> dict[str, float]:
    """Compute forward and backward passes of both, in turns.

    Args:
        rounds: Batches of each.
    """
    torch.manual_seed(0)
    objective = FlowObjective(
        FlowConfig(), Dit(ModelConfig.model_validate({"preset": "tiny"}), CHANNELS, WIDTH)
    )
    lengths = caption_lengths(2048)
    ways = {
        "dynamic": dynamic_batches(lengths),
        "padded": padded_batches(lengths),
    }
    spent = {name: _Sums() for name in ways}
    for number in range(rounds + 1):
        for name in sorted(ways, reverse=number % 2 == 1):
            batch = next(ways[name])
            took = timed(lambda batch=batch: _pass(objective, batch))  # type: ignore[misc]
            if number:  # the first round warms up
                spent[name].add(*count_tokens(batch), took)
    dynamic, padded = spent["dynamic"], spent["padded"]
    return {
        "dynamic_to_padded": round(dynamic.speed() / padded.speed(), 3),
        "dynamic_to_padded_wall": round(dynamic.wall_speed() / padded.wall_speed(), 3),
        "ceiling": round(ceiling(), 3),
        "dynamic_useful_tokens_s": round(dynamic.speed()),
        "padded_useful_tokens_s": round(padded.speed()),
        "dynamic_padding": round(dynamic.padding(), 3),
        "padded_padding": round(padded.padding(), 3),
    }


class _Sums:
    """What some batches held and took."""

    def __init__(self) -> None:
        self._useful = self._whole = 0
        self._wall_s = self._processor_s = 0.0

    def add(self, useful: int, whole: int, spent: Spent) -> None:
        self._useful += useful
        self._whole += whole
        self._wall_s += spent.wall_s
        self._processor_s += spent.processor_s

    def speed(self) -> float:
        """Return useful tokens for a second of processor time."""
        return self._useful / self._processor_s

    def wall_speed(self) -> float:
        """Return useful tokens a second."""
        return self._useful / self._wall_s

    def padding(self) -> float:
        """Return the share of tokens that are padding."""
        return 1 - self._useful / self._whole


def caption_lengths(count: int) -> list[int]:
    """Draw token counts, log-uniform."""
    rng = np.random.default_rng(0)
    logs = rng.uniform(math.log(SHORTEST), math.log(LONGEST), count)
    return [round(float(np.exp(value))) for value in logs]


def dynamic_batches(lengths: list[int]) -> Iterator[Batch]:
    """Yield batches as the trainer's plan cuts them, padded to their longest text."""
    for batch in _source(lengths, BatchConfig(tokens=TOKENS)).batches(Cursor()):
        yield from batch.micro


def padded_batches(lengths: list[int]) -> Iterator[Batch]:
    """Yield batches of one size in the order of the plan's hash, each text padded to 512."""
    config = BatchConfig(size=SAMPLES_OF_A_BATCH, window=1)
    for batch in _source(lengths, config).batches(Cursor()):
        for micro in batch.micro:
            missing = PADDED - micro.text_BTD.shape[1]
            text_BTD = torch.nn.functional.pad(micro.text_BTD, (0, 0, 0, missing))
            yield replace(micro, text_BTD=text_BTD)


def count_tokens(batch: Batch) -> tuple[int, int]:
    """Return a batch's tokens without padding, and with it."""
    image = batch.latent_BCHW[0, 0].numel() * len(batch)
    return image + int(batch.text_lens_B.sum()), image + batch.text_BTD[..., 0].numel()


def _source(lengths: list[int], config: BatchConfig) -> MemorySource:
    generator = torch.Generator().manual_seed(0)
    count = len(lengths)
    return MemorySource(
        torch.randn(count, CHANNELS, EDGE, EDGE, generator=generator),
        torch.randn(count, LONGEST, WIDTH, generator=generator),
        torch.tensor(lengths),
        torch.zeros(1, WIDTH),
        batch=config,
        seed=0,
        dropout=0.0,
    )


def _pass(objective: FlowObjective, batch: Batch) -> None:
    for parameter in objective.roles["model"].parameters():
        parameter.grad = None
    objective.update(Phase("model"), batch).loss.backward()
