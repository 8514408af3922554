"""Duplicate groups and who stands for them."""

from dataclasses import replace

from curation.report.duplicates import choose_groups, count_duplicates
from tests.curation.report.report_dataset import NUM_COPIES


def test_groups_are_counted_by_size_and_link(source):
    """Three pictures were taken in twice."""
    facts = count_duplicates(source)

    assert facts is not None
    assert facts.num_groups == NUM_COPIES
    assert facts.num_rows == 2 * NUM_COPIES
    assert facts.sizes == (("2", NUM_COPIES),)
    assert facts.links == (("exact", 0, 2 * NUM_COPIES),)


def test_one_member_of_each_group_stands_for_it(source):
    """The representative comes first; the others are out as duplicates."""
    groups = choose_groups(source)

    assert len(groups) == NUM_COPIES
    for group in groups:
        first, second = group.members
        assert first.is_representative
        assert first.reason in (None, "unsampled")
        assert not second.is_representative
        assert second.reason == "duplicate"
        assert (second.method, second.distance) == ("exact", 0)


def test_without_a_snapshot_nobody_stands_for_a_group(source):
    """Groups are shown as the relation knows them."""
    groups = choose_groups(replace(source, manifest=None))

    assert len(groups) == NUM_COPIES
    assert not any(member.is_representative for group in groups for member in group.members)


def test_without_the_relation_there_are_none(source):
    """A pipeline without dedup has no such section."""
    without = replace(source, manifest=None, instances=source.instances[:1])

    assert count_duplicates(without) is None
    assert choose_groups(without) == []
