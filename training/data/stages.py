"""Stages: parts of a run with pictures of one size each, from small ones to large ones.

A stage is counted in *global batches*, not in optimizer steps: a source knows what it gave out and
nothing else, so the order stays a pure function of snapshot, seed and recipe, for every objective
and every number of ranks.

Each stage is a plan of its own, cut by its own batch size. It begins with a new epoch and nothing
left over: draws are keyed by the epoch, so none of them comes twice in a run. What the epoch before
had not shown yet is not shown in it; which images those are the hash decides.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pydantic import Field

from curation.config import Config
from training.data.batch import Batch
from training.data.cache_folders import CacheConfig
from training.data.plan import BatchConfig, Cursor
from training.data.source import BatchSource, GlobalBatch


class StageConfig(Config):
    """A part of a run with pictures of one size.

    Attributes:
        batches: Global batches of it: as many optimizer steps, where an objective takes one batch a
            step, as `flow` does. Null, for the last stage only, for as long as the run goes on.
        edge_px: Edge of the square whose area images have.
        batch: How its global batches are cut; null for `data.batch`.
        micro_size: Samples that a process computes at once; null for `data.micro_size`.
        cache: Instance of `encode` that has this size; null for `data.cache`.
        shift: Of the noise levels, in place of the objective's `sigma.shift`; null for that. Larger
            pictures need more noise to lose their layout: the root of the ratio of areas is a
            start.

    Source: the shift for a resolution, Esser et al. 2024 (arXiv 2403.03206), section 5.3.2.
    """

    batches: int | None = Field(default=None, ge=1)
    edge_px: int = Field(ge=16, le=4096)
    batch: BatchConfig | None = None
    micro_size: int | None = Field(default=None, ge=1)
    cache: CacheConfig | None = None
    shift: float | None = Field(default=None, gt=0)


class StagedSource:
    """Gives out the batches of one stage after the other.

    Args:
        stages: They; the last one goes on for as long as it is asked.
        make: Makes the source of a stage, by its number, when it begins.
    """

    def __init__(self, stages: Sequence[StageConfig], make: Callable[[int], BatchSource]) -> None:
        self._stages = stages
        self._make = make

    def batches(self, cursor: Cursor) -> Iterator[GlobalBatch]:
        """Yield this rank's part of every global batch after the cursor."""
        for number in range(cursor.stage, len(self._stages)):
            stage = self._stages[number]
            if number > cursor.stage:
                cursor = Cursor(epoch=cursor.epoch + 1, stage=number)
            is_last = number == len(self._stages) - 1
            assert is_last or stage.batches is not None
            left = None if is_last or stage.batches is None else stage.batches - cursor.of_stage
            if left is not None and left <= 0:
                continue
            for found in itertools.islice(self._make(number).batches(cursor), left):
                cursor = replace(found.cursor, stage=number, of_stage=cursor.of_stage + 1)
                micro = tuple(of_stage(batch, stage) for batch in found.micro)
                yield replace(found, micro=micro, cursor=cursor)


def of_stage(batch: Batch, stage: StageConfig) -> Batch:
    """Return a batch that knows what its stage says of noise levels."""
    return batch if stage.shift is None else replace(batch, shift=stage.shift)


def is_same_so_far(told: Sequence[StageConfig], now: Sequence[StageConfig], cursor: Cursor) -> bool:
    """Say whether a run that was made with `told` up to the cursor may go on with `now`.

    What has begun must be the same; the present stage may end elsewhere than it would have, and
    what comes behind it may change. How many samples are computed at once, and where features
    come from, is no matter.
    """

    def meaning(stage: StageConfig) -> StageConfig:
        return stage.model_copy(update={"micro_size": None, "batches": None, "cache": None})

    begun = cursor.stage + 1
    if len(now) < begun or [*map(meaning, told[:begun])] != [*map(meaning, now[:begun])]:
        return False
    ends = [stage.batches for stage in told[: begun - 1]]
    if ends != [stage.batches for stage in now[: begun - 1]]:
        return False
    end = now[begun - 1].batches
    return begun == len(now) or end is None or end >= cursor.of_stage
