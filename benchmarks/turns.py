"""Two loops in turns: short alternating blocks, so that other work on the machine hits both."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """What a block took.

    Attributes:
        wall_s: By the clock.
        processor_s: Of all threads of the process.
    """

    wall_s: float
    processor_s: float


def timed(block: Callable[[], object]) -> Spent:
    """Run a block."""
    wall, processor = time.perf_counter(), time.process_time()
    block()
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def ratios(ours: Sequence[Spent], theirs: Sequence[Spent]) -> dict[str, float]:
    """Return the median ratio of pairs of blocks, by the clock and by the processor."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "wall": statistics.median(one.wall_s / other.wall_s for one, other in pairs),
        "processor": statistics.median(one.processor_s / other.processor_s for one, other in pairs),
    }
