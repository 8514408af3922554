"""Stages: small pictures first, larger ones later, and no draw twice."""

import itertools
from collections import Counter

import pytest
import torch

from tests.fakes.toys import CHANNELS, WIDTH, make_batch
from training.data.memory import MemorySource
from training.data.plan import BatchConfig, Cursor
from training.data.stages import StageConfig, StagedSource, is_same_so_far, of_stage
from training.objectives.flow import SigmaConfig, draw_sigma

COUNT = 23
BATCHES = (BatchConfig(size=5), BatchConfig(size=4), BatchConfig(size=2))
STAGES = (
    StageConfig(batches=7, edge_px=32, batch=BATCHES[0]),
    StageConfig(batches=3, edge_px=64, batch=BATCHES[1], shift=2.0),
    StageConfig(edge_px=128, batch=BATCHES[2], shift=3.0),
)
EDGES = (2, 4, 8)


def staged(*, rank=0, world_size=1, made=None):
    """Make a source of 23 latents in three sizes."""

    def make(number):
        if made is not None:
            made.append(number)
        generator = torch.Generator().manual_seed(number)
        edge = EDGES[number]
        return MemorySource(
            torch.randn(COUNT, CHANNELS, edge, edge, generator=generator),
            torch.zeros(COUNT, 3, WIDTH),
            torch.full((COUNT,), 3),
            torch.zeros(1, WIDTH),
            batch=BATCHES[number],
            seed=3,
            rank=rank,
            world_size=world_size,
        )

    return StagedSource(STAGES, make)


def take(source, count, cursor=None):
    return list(itertools.islice(source.batches(cursor or Cursor()), count))


def keys(batches):
    return [[key for micro in found.micro for key in micro.keys] for found in batches]


def test_each_stage_has_its_batches_and_its_size():
    """7 of 2 x 2 latents, 3 of 4 x 4, and the last one for ever; each is made when it begins."""
    made: list[int] = []
    found = take(staged(made=made), 7)
    assert made == [0]
    found = take(staged(made=made), 14)
    assert made == [0, 0, 1, 2]

    edges = [batch.micro[0].latent_BCHW.shape[-1] for batch in found]
    assert edges == [2] * 7 + [4] * 3 + [8] * 4
    assert [batch.num_samples for batch in found] == [5] * 7 + [4] * 3 + [2] * 4
    assert [batch.cursor.stage for batch in found] == [0] * 7 + [1] * 3 + [2] * 4
    assert [batch.micro[0].shift for batch in found] == [None] * 7 + [2.0] * 3 + [3.0] * 4


def test_no_visit_comes_twice():
    """Every stage begins with an epoch of its own, so every draw of the run is another one."""
    found = take(staged(), 40)

    seen = Counter(key for batch in keys(found) for key in batch)
    assert set(seen.values()) == {1}
    epochs = [{key.epoch for key in batch} for batch in keys(found)]
    # 23 images are 4 batches of 5 and a rest: the first stage ends within the second epoch.
    assert set().union(*epochs[:7]) == {0, 1}
    assert epochs[7:10] == [{2}] * 3
    assert set().union(*epochs[10:22]) == {3, 4}


@pytest.mark.parametrize("given", [0, 1, 4, 6, 7, 8, 9, 10, 11, 30])
def test_it_goes_on_from_its_cursor(given):
    """Stopped within a stage, at its end or at an epoch's, the same batches follow."""
    straight = take(staged(), given + 9)
    cursor = straight[given - 1].cursor if given else Cursor()

    again = take(staged(), 9, Cursor.from_json(cursor.to_json()))

    assert keys(again) == keys(straight[given:])
    assert [batch.cursor for batch in again] == [batch.cursor for batch in straight[given:]]
    for one, other in zip(again, straight[given:], strict=True):
        assert torch.equal(one.micro[0].latent_BCHW, other.micro[0].latent_BCHW)


def test_ranks_share_the_batches_of_every_stage():
    """What two ranks get is together what one gets, with the same cursors."""
    alone = take(staged(), 14)
    ranks = [take(staged(rank=rank, world_size=2), 14) for rank in range(2)]

    for whole, first, second in zip(alone, *ranks, strict=True):
        both = [key for part in (first, second) for key in part.micro[0].keys]
        assert sorted(map(repr, both)) == sorted(map(repr, whole.micro[0].keys))
        assert first.cursor == second.cursor == whole.cursor


def test_a_stage_says_how_much_noise_its_pictures_need():
    """Its shift stands in for the objective's; without one the objective's holds."""
    batch = make_batch(64)
    config = SigmaConfig(shift=1.5)

    usual = draw_sigma(config, of_stage(batch, StageConfig(edge_px=32)))
    moved = draw_sigma(config, of_stage(batch, StageConfig(edge_px=64, shift=3.0)))

    assert torch.equal(usual, draw_sigma(config, batch))
    assert torch.equal(moved, draw_sigma(SigmaConfig(shift=3.0), batch))
    assert (moved > usual).all()


def changed(number, **update):
    stages = list(STAGES)
    stages[number] = stages[number].model_copy(update=update)
    return tuple(stages)


@pytest.mark.parametrize(
    ("now", "may"),
    [
        (STAGES, True),
        (changed(0, micro_size=3), True),
        (changed(0, batches=8), False),
        (changed(0, shift=2.0), False),
        (changed(1, edge_px=48), False),
        (changed(1, batch=BatchConfig(size=8)), False),
        (changed(1, batches=2), True),
        (changed(1, batches=1), False),
        (changed(2, edge_px=256), True),
        (STAGES[:2], True),
        ((*STAGES[:2], STAGES[2].model_copy(update={"batches": 5}), STAGES[2]), True),
        (STAGES[:1], False),
    ],
)
def test_what_has_begun_stays_as_it_was(now, may):
    """Two batches into the second stage, its end and what comes behind it may still change."""
    cursor = take(staged(), 9)[-1].cursor
    assert (cursor.stage, cursor.of_stage) == (1, 2)

    assert is_same_so_far(STAGES, now, cursor) == may
