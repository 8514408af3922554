"""Reasons as bits, in the order of their steps."""

import numpy as np

from curation.snapshot.reasons import Reasons, vocabulary


def test_more_reasons_than_one_word_holds():
    """A hundred predicates are no limit, and the first bit is the reason."""
    names = [f"p{i}" for i in range(100)]
    reasons = Reasons(names, 3)
    reasons.add("p70", np.array([True, True, False]))
    reasons.add("p3", np.array([True]), start=1)
    reasons.add("p99", np.array([True, False, False]))

    reason, lists = reasons.columns(0, 3)

    assert reason.to_pylist() == ["p70", "p3", None]
    assert lists.to_pylist() == [["p70", "p99"], ["p3", "p70"], []]
    assert reasons.none().tolist() == [False, False, True]
    assert reasons.counts() == {"p3": 1, "p70": 1}


def test_steps_come_in_the_order_of_the_design():
    """What is known about the file first, then predicates as written, then the choice."""
    names = vocabulary(["images", "inspect"], ["images", "inspect", "embed"], ["size"])

    assert names == [
        "superseded",
        "tombstoned",
        "unreadable",
        "pending:images",
        "pending:inspect",
        "quarantined:images",
        "quarantined:inspect",
        "quarantined:embed",
        "size",
        "size:unknown",
        "split_moved",
        "duplicate",
        "unsampled",
    ]
