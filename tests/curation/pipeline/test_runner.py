"""The feed: tasks that come while a wave runs."""

import threading

import pytest

from curation.pipeline.runner import Feed
from curation.pipeline.tasks import Task


def shard_task(shard):
    return Task("shard", f"shard-{shard}", ("images",), shard)


def drain(feed):
    """Wait until the generator has ended, and take what it made."""
    found = []
    while not feed.is_done:
        feed.wait(1)
        found.extend(feed.poll())
    return found


def test_tasks_come_in_order():
    """Nothing is lost and nothing comes twice."""
    tasks = [shard_task(n) for n in range(100)]

    feed = Feed(iter(tasks))

    assert drain(feed) == tasks
    assert feed.poll() == []
    assert feed.is_empty


def test_tasks_come_before_the_listing_ends():
    """The first shard starts while the source is still listed."""
    go_on = threading.Event()

    def listing():
        yield shard_task(0)
        go_on.wait(30)
        yield shard_task(1)

    feed = Feed(listing())
    while feed.is_empty:
        feed.wait(0.01)

    assert [task.shard for task in feed.poll()] == [0]
    assert not feed.is_done
    go_on.set()
    assert [task.shard for task in drain(feed)] == [1]


def test_a_feed_is_not_done_before_it_is_polled():
    """A task in the queue is work, even when the listing has ended."""
    feed = Feed(iter([shard_task(0)]))
    feed.wait(30)

    assert not feed.is_empty
    assert not feed.is_done
    feed.poll()
    assert feed.is_done


def test_planned_shards_are_left_out():
    """What a plan holds already does not come again."""
    feed = Feed(shard_task(n) for n in range(4))
    feed.skip([0, 2, None])

    assert [task.shard for task in drain(feed)] == [1, 3]


def test_an_error_of_the_listing_is_raised_to_who_polls():
    """Tasks made before it are handed out first; the error is never taken for the end."""

    def listing():
        yield shard_task(0)
        message = "the source has gone"
        raise OSError(message)

    feed = Feed(listing())
    feed.wait(30)

    assert [task.shard for task in feed.poll()] == [0]
    with pytest.raises(OSError, match="the source has gone"):
        feed.poll()
    assert not feed.is_done
