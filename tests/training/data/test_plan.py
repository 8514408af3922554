"""Plans: what is visited when, whoever computes it, and however often it was stopped."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from training.data.plan import (
    BatchConfig,
    Cursor,
    Plan,
    Visit,
    micro_parts,
    num_micro_batches,
    share,
)
from training.draws import SampleKey, draw_bits


class FewSamples:
    """Images with random repeats, buckets and text lengths."""

    def __init__(self, count, num_buckets=3, most=3):
        ids = b"".join(n.to_bytes(16, "big") for n in range(count))
        self.image_ids = np.frombuffer(ids, "V16")
        keys = [SampleKey(0, n.to_bytes(16, "big"), 0) for n in range(count)]
        self.repeats = np.array([1 + draw_bits(1, k, "r") % most for k in keys], np.int32)
        self.buckets = np.array([draw_bits(1, k, "b") % num_buckets for k in keys], np.int32)
        self.image_tokens = np.array([16, 20, 24][:num_buckets], np.int32)

    def text_tokens(self, positions, keys):
        return [1 + draw_bits(2, key, "length") % 40 for key in keys]


def take(plan, count):
    return list(itertools.islice(iter(plan), count))


def visits(batches):
    return [(v.position, v.key.epoch, v.key.repeat) for batch in batches for v in batch]


@pytest.mark.parametrize("config", [BatchConfig(size=4), BatchConfig(tokens=200)])
def test_every_image_is_visited_as_often_as_it_repeats(config):
    """Over some epochs each visit comes once, and only those of the last tails are missing."""
    samples = FewSamples(40)
    plan = Plan(samples, config, seed=5)
    seen: Counter[tuple[int, int, int]] = Counter()
    while plan.cursor.epoch < 4:
        seen.update(visits(take(plan, 1)))

    assert set(seen.values()) == {1}
    whole = {(p, e, r) for e in range(3) for p in range(40) for r in range(int(samples.repeats[p]))}
    missing = whole - set(seen)
    assert len(missing) <= len(plan.cursor.carried)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 25), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_a_plan_goes_on_from_its_cursor(count, size, given_out, window):
    """Stopped anywhere, also across epochs, the same batches follow."""
    samples = FewSamples(count)
    config = BatchConfig(size=size, window=window)
    straight = visits(take(Plan(samples, config, 3), given_out + 6))

    plan = Plan(samples, config, 3)
    first = visits(take(plan, given_out))
    cursor = Cursor.from_json(plan.cursor.to_json())
    again = visits(take(Plan(samples, config, 3, cursor), 6))

    assert first + again == straight


@pytest.mark.parametrize("config", [BatchConfig(size=5), BatchConfig(tokens=300)])
def test_a_batch_holds_one_size_and_no_more_than_it_may(config):
    """All images of a batch are of one bucket; their tokens stay below the budget."""
    samples = FewSamples(200)

    for batch in take(Plan(samples, config, 1), 60):
        buckets = {int(samples.buckets[v.position]) for v in batch}
        lengths = samples.text_tokens(None, [v.key for v in batch])
        assert len(buckets) == 1
        if config.size is not None:
            assert len(batch) == 5
        else:
            tokens = int(samples.image_tokens[buckets.pop()]) + max(lengths)
            assert len(batch) * tokens <= 300


def test_similar_texts_come_together():
    """Sorted within windows, batches pad far fewer tokens than as the hash puts them."""
    samples = FewSamples(2000, num_buckets=1, most=1)

    def padding(window):
        waste = total = 0
        for batch in take(Plan(samples, BatchConfig(size=16, window=window), 1), 100):
            lengths = samples.text_tokens(None, [v.key for v in batch])
            waste += sum(max(lengths) - length for length in lengths)
            total += sum(lengths)
        return waste / total

    assert padding(16) < 0.3 * padding(1)


def test_another_seed_is_another_order():
    """The seed decides the order, and no two epochs have the same."""
    samples = FewSamples(50, num_buckets=1, most=1)
    config = BatchConfig(size=10, window=1)

    first, other = (visits(take(Plan(samples, config, seed), 5)) for seed in (1, 2))
    plan = Plan(samples, config, 1)
    epochs = [[p for p, _, _ in visits(take(plan, 5))] for _ in range(2)]

    assert sorted(first) == sorted(other)
    assert first != other
    assert epochs[0] != epochs[1]


def test_few_images_fill_a_batch_over_several_epochs():
    """A batch larger than the corpus is filled by the visits of several epochs."""
    (batch,) = take(Plan(FewSamples(3, most=1, num_buckets=1), BatchConfig(size=8), 1), 1)

    assert len(batch) == 8
    assert {v.key.epoch for v in batch} == {0, 1, 2}


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 8))
def test_ranks_share_a_batch(size, world_size, micro):
    """Shares are disjoint, together everything, and fit into the same number of micro-batches."""
    batch = [Visit(n, SampleKey(0, bytes(16), 0)) for n in range(size)]
    shares = [share(batch, rank, world_size) for rank in range(world_size)]
    count = num_micro_batches(size, world_size, micro)

    positions = sorted(visit.position for part in shares for visit in part)
    assert positions == list(range(size))
    assert all(len(part) <= count * micro for part in shares)
    assert any(len(part) > (count - 1) * micro for part in shares)
    for rank, own in enumerate(shares):
        parts = micro_parts(batch, rank, world_size, micro)
        assert len(parts) == count  # also where there are fewer samples than ranks
        assert list(itertools.chain(*parts)) == own
        assert all(len(part) <= micro for part in parts)


def test_a_batch_has_a_size_or_a_number_of_tokens():
    """Both, or neither, are refused in a sentence."""
    for wrong in ({}, {"size": 2, "tokens": 5}):
        with pytest.raises(ValidationError, match="state either size"):
            BatchConfig(**wrong)
