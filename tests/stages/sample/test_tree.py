"""Category weights follow the formula, and shares go down the tree."""

import math

import pytest

from stages.sample.config import SampleConfig
from stages.sample.tree import build_tree, category_weights, share_out, walk


def shares(leaves, total, **config):
    """Share `total` draws out and return path -> draws."""
    root = build_tree(leaves)
    share_out(root, total, SampleConfig(size=total, **config))
    return {node.path: node.num_draws for node in walk(root)}


def unscored(**sizes):
    """Leaves without scores, `__` standing for `/`."""
    return {name.replace("__", "/"): (count, 0, 0) for name, count in sizes.items()}


def test_exponent_0_gives_siblings_equal_shares():
    """Alpha = 0 is uniform over the children of one parent, not over leaves."""
    leaves = unscored(a__x=500, a__y=100, b=300)

    found = shares(leaves, 60, category_exponent=0, aesthetic_exponent=0)

    assert found == {"": 60, "a": 30, "a/x": 15, "a/y": 15, "b": 30}


def test_exponent_1_keeps_the_proportions():
    """Alpha = 1 gives every category its share of the corpus."""
    leaves = unscored(a__x=500, a__y=100, b=300)

    found = shares(leaves, 90, category_exponent=1, aesthetic_exponent=0)

    assert found == {"": 90, "a": 60, "a/x": 50, "a/y": 10, "b": 30}


def test_exponent_one_half_lies_between():
    """Alpha = 0.5 divides by square roots."""
    found = shares(unscored(a=900, b=100), 80, category_exponent=0.5, aesthetic_exponent=0)

    assert found == {"": 80, "a": 60, "b": 20}


def test_the_tail_is_kept_whole_and_the_head_takes_the_rest():
    """A tail category cannot get more than its images times the repeat cap."""
    found = shares(
        unscored(head=1000, tail=3), 500, category_exponent=0, aesthetic_exponent=0, repeat_cap=2
    )

    assert found == {"": 500, "head": 494, "tail": 6}


def test_images_at_an_inner_node_compete_with_its_children():
    """Images that lie at `a` itself form the leaf `a/` beside `a/x`."""
    found = shares(unscored(a=10, a__x=10), 10, aesthetic_exponent=0)

    assert found == {"": 10, "a": 10, "a/": 5, "a/x": 5}


def test_better_categories_weigh_exp_gamma_z():
    """With two siblings z is +1 and -1, so their weights differ by exp(2 gamma)."""
    root = build_tree({"a": (10, 10, 10 * 400_000), "b": (10, 5, 5 * 600_000)})
    children = [root.children["a"], root.children["b"]]
    config = SampleConfig(size=1, aesthetic_exponent=0.5)

    low, high = category_weights(children, config)

    assert high / low == pytest.approx(math.e)


def test_a_category_without_scores_counts_as_average():
    """No score is no reason to weigh a category down or up."""
    root = build_tree({"a": (10, 10, 0), "b": (10, 10, 200_000), "c": (10, 0, 0)})
    config = SampleConfig(size=1, aesthetic_exponent=1)

    a, b, c = category_weights([root.children[name] for name in "abc"], config)

    assert a < c < b
    assert a * b == pytest.approx(c * c)
