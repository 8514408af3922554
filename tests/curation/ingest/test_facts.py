"""What stores tell about files, and when a file must be read again."""

from datetime import UTC, datetime

import pytest

from curation.ingest.facts import Facts, facts_from_info

LISTED = Facts(10, "tag", 1000)


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        (Facts(10, "tag", 1000), False),
        (Facts(11, "tag", 1000), True),
        (Facts(10, "other", 1000), True),
        (Facts(10, "tag", 2000), False),
        (Facts(10, None, 1000), False),
        (Facts(10, None, 2000), True),
        (Facts(None, None, None), False),
    ],
)
def test_size_then_tag_then_time_decide(found, differs):
    """A tag overrules the time; what a store does not tell says nothing."""
    assert LISTED.differs(found) is differs
    assert found.differs(LISTED) is differs


@pytest.mark.parametrize(
    ("info", "facts"),
    [
        (
            {"size": 5, "ETag": '"abc"', "LastModified": datetime(2024, 1, 1, tzinfo=UTC)},
            Facts(5, "abc", 1_704_067_200_000_000_000),
        ),
        (
            {"size": "5", "etag": "CJ", "updated": "2024-01-01T00:00:00.25Z"},
            Facts(5, "CJ", 1_704_067_200_250_000_000),
        ),
        ({"size": 0, "created": 1_704_067_200.25}, Facts(0, None, 1_704_067_200_250_000_000)),
        ({"size": 0, "created": datetime(2024, 1, 1)}, Facts(0, None, 1_704_067_200_000_000_000)),  # noqa: DTZ001
        ({"size": None}, Facts(None, None, None)),
    ],
)
def test_stores_word_their_facts_differently(info, facts):
    """S3, GCS and memory each have their own names and types for the same things."""
    assert facts_from_info(info) == facts


def test_a_listing_and_a_question_agree(memory):
    """The memory store's listing tells a number where `info` tells a date, of the same moment."""
    memory.pipe_file("/bucket/a", b"x")

    listed = facts_from_info(memory.ls("/bucket", detail=True)[0])

    assert listed.mtime_ns is not None
    assert facts_from_info(memory.info("/bucket/a")) == listed
