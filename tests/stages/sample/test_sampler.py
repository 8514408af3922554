"""The whole draw: exact totals, caps, and nothing that depends on order."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import ConfigError
from curation.snapshot.sampler import Candidates
from stages.sample import HierarchicalSampler
from stages.sample.config import SampleConfig

SAMPLER = HierarchicalSampler()


def make_candidates(rows):
    """Make candidates from (name, path or None, score or None)."""
    ids = b"".join(hashlib.sha256(str(name).encode()).digest()[:16] for name, _, _ in rows)
    paths = sorted({path for _, path, _ in rows if path is not None})
    return Candidates(
        np.frombuffer(ids, np.uint8).reshape(len(rows), 16),
        np.array([-1 if p is None else paths.index(p) for _, p, _ in rows], np.int32),
        tuple(paths),
        np.array([0 if s is None else round(s * 10_000) for _, _, s in rows], np.int64),
        np.array([s is not None for _, _, s in rows], bool),
    )


def corpus(head=60, middle=12, tail=3):
    """A head, a middle and a tail category, and two images without category."""
    rows = [(f"h{i}", "photo/street", i % 50) for i in range(head)]
    rows += [(f"m{i}", "photo/night", 40 + i % 9) for i in range(middle)]
    rows += [(f"t{i}", "art", 70) for i in range(tail)]
    return [*rows, ("u0", None, 30), ("u1", "", None)]


row_lists = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["a", "a/b", "a/c", "d", "e/f/g", None]),
        st.one_of(st.none(), st.floats(0, 100)),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)
configs = st.builds(
    SampleConfig,
    size=st.integers(1, 150),
    category_exponent=st.sampled_from([0, 0.5, 1]),
    aesthetic_exponent=st.sampled_from([0, 1.0]),
    temperature=st.sampled_from([0.01, 10.0]),
    repeat_cap=st.integers(1, 4),
    seed=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(row_lists, configs)
def test_totals_are_exact_and_caps_hold(rows, config):
    """As many draws as asked, or all that the cap allows, and the shortfall is said."""
    sample = SAMPLER.draw(config, make_candidates(rows))

    expected = min(config.size, len(rows) * config.repeat_cap)
    assert sample.repeat.sum() == expected
    assert sample.num_missing == config.size - expected
    assert sample.repeat.max() <= config.repeat_cap
    assert ((sample.weight > 0) == (sample.repeat > 0)).all()
    assert np.isfinite(sample.weight).all()
    assert sample.tree[0].num_draws == expected
    assert sample.tree[0].num_candidates == len(rows)
    assert sample.tree[0].num_chosen == (sample.repeat > 0).sum()


@settings(max_examples=40, deadline=None)
@given(row_lists, configs, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(rows, config, random):
    """Every image fares the same, however the rows are ordered."""
    shuffled = list(rows)
    random.shuffle(shuffled)

    first = SAMPLER.draw(config, make_candidates(rows))
    second = SAMPLER.draw(config, make_candidates(shuffled))

    fates = dict(
        zip((r[0] for r in rows), zip(first.repeat, first.weight, strict=True), strict=True)
    )
    again = zip(
        (r[0] for r in shuffled), zip(second.repeat, second.weight, strict=True), strict=True
    )
    assert fates == dict(again)
    assert first.tree == second.tree


def test_an_image_is_repeated_only_once_its_category_is_used_up():
    """Within a category all images stand once before any stands twice."""
    rows = corpus()
    sample = SAMPLER.draw(SampleConfig(size=40, category_exponent=0), make_candidates(rows))

    by_leaf: dict[str | None, list[int]] = {}
    for (_, path, _), repeat in zip(rows, sample.repeat, strict=True):
        by_leaf.setdefault(path or None, []).append(int(repeat))
    assert any(max(repeats) > 1 for repeats in by_leaf.values())
    assert all(min(repeats) > 0 for repeats in by_leaf.values() if max(repeats) > 1)
    assert min(by_leaf["photo/street"]) == 0


def test_the_tail_is_kept_whole_before_the_head_gets_more():
    """With equal shares the tail is at its cap and the head takes what is left."""
    rows = corpus()
    config = SampleConfig(size=60, category_exponent=0, aesthetic_exponent=0, repeat_cap=1)

    tree = {n.path: n for n in SAMPLER.draw(config, make_candidates(rows)).tree}

    assert (tree["art"].num_chosen, tree["art"].num_draws) == (3, 3)
    assert tree["unknown"].num_draws == 2
    assert tree["photo"].num_draws == 55
    assert tree["photo/night"].num_draws == 12


def test_a_better_image_is_never_less_likely():
    """Raising an image's score never makes it drop out, and at some point it comes in."""
    config = SampleConfig(size=10, aesthetic_exponent=0)
    drawn = []
    for score in range(0, 101, 10):
        rows = [("probe", "a", score), *((i, "a", 50) for i in range(100))]
        drawn.append(int(SAMPLER.draw(config, make_candidates(rows)).repeat[0]))

    assert drawn == sorted(drawn)
    assert (drawn[0], drawn[-1]) == (0, 1)


def test_better_images_are_preferred_and_repeated():
    """The drawn are better than the rest, and among repeats the better ones stand more often."""
    rows = [(i, "a", i / 10) for i in range(1000)]
    scores = np.arange(1000) / 10

    few = SAMPLER.draw(SampleConfig(size=300), make_candidates(rows)).repeat
    many = SAMPLER.draw(SampleConfig(size=1500), make_candidates(rows)).repeat

    assert scores[few > 0].mean() > 70
    assert many.min() == 1
    assert np.average(scores, weights=many - 1) > 70


def test_more_than_there_is_gives_everything_at_the_cap():
    """A size beyond all images times the cap is filled as far as possible, and said so."""
    sample = SAMPLER.draw(SampleConfig(size=1000, repeat_cap=3), make_candidates(corpus()))

    assert set(sample.repeat.tolist()) == {3}
    assert sample.num_missing == 1000 - 3 * 77
    assert (sample.repeat * sample.weight).sum() == pytest.approx(77, rel=1e-3)


def test_no_candidates_is_no_sample():
    """Nothing can be drawn from nothing."""
    sample = SAMPLER.draw(SampleConfig(size=5), make_candidates([]))

    assert (len(sample.repeat), sample.num_missing) == (0, 5)


def test_paths_are_cleaned_and_empty_ones_are_unknown():
    """Doubled slashes mean nothing, and no category is the category `unknown`."""
    rows = [("x", "/a//b/", 1), ("y", "a/b", 1), ("z", "", 1), ("w", None, 1)]

    tree = SAMPLER.draw(SampleConfig(size=4), make_candidates(rows)).tree

    assert [(n.path, n.num_candidates) for n in tree] == [
        ("", 4),
        ("a", 2),
        ("a/b", 2),
        ("unknown", 2),
    ]


def test_another_seed_is_another_draw():
    """Seeds give independent draws of the same size."""
    candidates = make_candidates([(i, "a", 50) for i in range(200)])

    first, second = (SAMPLER.draw(SampleConfig(size=50, seed=s), candidates).repeat for s in (1, 2))

    assert first.sum() == second.sum() == 50
    assert 3 <= (first & second).sum() <= 25


def test_unknown_keys_are_refused_with_the_nearest():
    """A misspelt key names the one that was meant."""
    with pytest.raises(ConfigError, match="snapshot.sample.sise: unknown key .did you mean size"):
        SAMPLER.parse({"sise": 5}, "snapshot.sample")
