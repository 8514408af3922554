"""What a corpus will hold, before anything is painted."""

from collections import Counter

import pytest

from curation.demo.catalogue import LEAVES
from curation.demo.edits import EDITS
from curation.demo.plan import counts, make_plan
from tests.curation.demo.plans import planned


def paths(plan):
    return [path for one in plan for path in (one.path, *(copy.path for copy in one.copies))]


@pytest.mark.parametrize("images", [1, 2, 20, 99, 150, 2000])
def test_a_plan_has_as_many_files_as_asked_for(images):
    """Copies and broken files included, whatever the number."""
    assert len(paths(make_plan(images, 0, 0.5))) == images


def test_a_plan_depends_on_its_arguments_alone():
    """Twice the same; another seed gives another plan."""
    assert planned(seed=4) == planned(seed=4)
    assert planned(seed=4) != planned(seed=5)


def test_the_shares_of_the_kinds_are_those_promised():
    """3 % exact copies, 15 % near copies, 2 % hard negatives."""
    wanted = counts(2000)

    assert (wanted.exact_copy, wanted.near_copy, wanted.hard_negative) == (60, 300, 40)
    assert 0.7 < wanted.unique / 2000 < 0.8


def test_no_two_files_share_a_name_even_where_case_is_ignored():
    """Paths of copies are planned without extension and still differ."""
    names = [path.lower().rpartition(".")[0] or path.lower() for path in paths(planned(2000))]

    assert len(set(names)) == len(names) == 2000


def test_sizes_have_the_mean_asked_for():
    """Up to the few files whose size is what is odd about them."""
    plan = make_plan(400, 0, 0.5)
    areas = [one.size[0] * one.size[1] for one in plan]

    assert sum(areas) / len(areas) == pytest.approx(0.5e6, rel=0.05)


def test_hard_negatives_come_in_families_of_one_layout_and_one_size():
    """A family is painted by one template leaf."""
    hard = [one for one in planned(400) if one.kind == "hard_negative"]
    families = Counter(one.template for one in hard)

    assert families
    assert set(families.values()) == {4}
    assert all(LEAVES[one.leaf].template for one in hard)
    assert len({(one.template, one.size, one.leaf) for one in hard}) == len(families)


def test_an_exact_copy_is_of_the_original_or_of_a_near_copy_made_before():
    """So that a group can be made from first to last."""
    for one in planned(600):
        for position, copy in enumerate(one.copies, 1):
            assert copy.of < position
            assert copy.of == 0 or one.copies[copy.of - 1].edit in EDITS


def test_some_originals_have_several_copies():
    """As pictures do that travel."""
    sizes = Counter(len(one.copies) for one in planned(600))

    assert sizes[0] > sizes[1] > 0
    assert max(sizes) > 2
