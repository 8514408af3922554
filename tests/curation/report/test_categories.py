"""The leaves of the category tree, and how even they are."""

from dataclasses import replace

import pytest

from curation.report.categories import leaves_of, make_categories, measure_spread
from curation.snapshot.manifest import CategoryInfo
from tests.curation.report.report_dataset import NUM_BROKEN, NUM_FILES


def with_tree(source, tree):
    nodes = {path: CategoryInfo(before=b, kept=k, draws=d) for path, (b, k, d) in tree.items()}
    return replace(source, manifest=source.manifest.model_copy(update={"categories": nodes}))


def make(source):
    found = make_categories(source)
    assert found is not None
    return found


def test_leaves_are_what_the_sampler_counted(source):
    """Before are the candidates of the sampler, after its draws; the largest comes first."""
    categories = make(source)

    assert categories.is_sampled
    assert categories.before.total == source.manifest.categories[""].before
    assert categories.after is not None
    assert categories.after.total == source.manifest.num_draws
    sizes = [leaf.before for leaf in categories.leaves]
    assert sizes == sorted(sizes, reverse=True)
    assert [leaf.rank for leaf in categories.leaves] == list(range(1, len(sizes) + 1))


def test_inner_nodes_are_no_leaves():
    """Images that lie at an inner node are a leaf of their own, with a slash at its end."""
    tree = ["", "animal", "animal/", "animal/cat", "animal/cat/black", "sky"]

    assert leaves_of(tree) == ["animal/", "animal/cat/black", "sky"]


def test_a_nested_tree_is_shown_by_its_leaves(source):
    """Counts of inner nodes are not added to those of their leaves."""
    tree = {"": (9, 5, 6), "a": (6, 3, 3), "a/x": (4, 1, 1), "a/y": (2, 2, 2), "b": (3, 2, 3)}

    categories = make(with_tree(source, tree))

    assert [leaf.path for leaf in categories.leaves] == ["a/x", "b", "a/y"]
    assert categories.before.total == 9
    assert categories.after is not None
    assert categories.after.total == 6


def test_many_categories_are_listed_from_both_ends(source):
    """What is listed is bounded; the middle is taken at even distances, and the rest counted."""
    tree = {f"c{n:05d}": (5000 - n, 1, 1) for n in range(5000)}

    categories = make(with_tree(source, tree))

    assert [leaf.rank for leaf in categories.head] == list(range(1, 11))
    assert [leaf.rank for leaf in categories.tail] == list(range(4991, 5001))
    assert len(categories.middle) == 60
    assert categories.num_skipped == 5000 - 80
    assert len(categories.leaves) == 5000


def test_without_sampling_all_images_are_compared_with_those_kept(source):
    """Counts come from the decisions then."""
    content = source.manifest.content.model_copy(update={"sample": None})
    unsampled = replace(source, manifest=source.manifest.model_copy(update={"content": content}))

    categories = make(unsampled)

    assert not categories.is_sampled
    assert categories.before.total > source.manifest.categories[""].before
    assert categories.after is not None
    assert categories.after.total == source.manifest.num_draws


def test_without_a_snapshot_there_is_no_after(source):
    """The tree of all images is shown alone."""
    categories = make(replace(source, manifest=None))

    assert categories.after is None
    assert categories.before.total == NUM_FILES - NUM_BROKEN


def test_without_categories_there_is_nothing(source):
    """A tree of images without category is no tree."""
    assert make_categories(with_tree(source, {"": (3, 1, 1), "unknown": (3, 1, 1)})) is None


def test_equal_categories_count_fully():
    """The effective number of equal categories is their number."""
    spread = measure_spread([7] * 20)

    assert spread.effective == pytest.approx(20)
    assert spread.largest_tenth == pytest.approx(0.1)
    assert spread.smallest_half == pytest.approx(0.5)


def test_a_long_tail_counts_less():
    """One large category among small ones is worth little more than one."""
    spread = measure_spread([1000, *[1] * 9])

    assert 1 < spread.effective < 1.2
    assert spread.largest_tenth == pytest.approx(1000 / 1009)
    assert spread.num_present == 10


def test_nothing_is_not_divided_by():
    """A snapshot that keeps nothing has a spread too."""
    assert measure_spread([0, 0]).effective == 0
