"""A duplicate group has one split, drawn from its smallest content."""

import hashlib

import numpy as np

from curation.snapshot.config import SplitConfig
from curation.snapshot.split import NO_SPLIT, split_groups


def contents(count):
    """Make `count` content hashes."""
    return np.array(
        [hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(count)], "S32"
    )


def split(group, content, share=0.5, salt="s", current=None):
    """Split rows that are all current unless said."""
    known = np.ones(len(content), bool) if current is None else np.array(current)
    config = SplitConfig(validation=share, salt=salt)
    return split_groups(np.array(group, np.int64), content, known, config)


def test_the_share_is_kept_and_larger_shares_contain_smaller():
    """Raising the share moves images to validation only."""
    few, many = (split(range(2000), contents(2000), share) for share in (0.1, 0.3))

    assert 150 < few.sum() < 250
    assert 540 < many.sum() < 660
    assert (many >= few).all()


def test_a_group_has_one_split_that_its_smallest_content_gives():
    """Joining a group changes the split only through a smaller content."""
    content = contents(300)
    alone = split(range(300), content)

    together = split([i // 3 for i in range(300)], content)

    for start in range(0, 300, 3):
        smallest = min(range(start, start + 3), key=lambda i: content[i].ljust(32, b"\0"))
        assert set(together[start : start + 3].tolist()) == {alone[smallest]}


def test_rows_without_content_or_not_current_have_none():
    """Superseded and unreadable rows take no part."""
    content = contents(4)
    content[1] = b""

    found = split([0, 1, 2, 3], content, share=1.0, current=[True, True, False, True])

    assert found.tolist() == [1, NO_SPLIT, NO_SPLIT, 1]


def test_nobody_and_everybody():
    """A share of 0 and of 1 leave nothing to luck."""
    assert set(split(range(50), contents(50), 0.0).tolist()) == {0}
    assert set(split(range(50), contents(50), 1.0).tolist()) == {1}


def test_another_salt_is_another_split():
    """The salt draws anew."""
    first, second = (split(range(200), contents(200), salt=salt) for salt in "ab")

    assert 60 < (first != second).sum() < 140
