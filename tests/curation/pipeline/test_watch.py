"""What a run says while it goes on, on a clock of our own."""

from typing import Any

from curation.pipeline.dispatch import Dispatch, StepEnd
from curation.pipeline.runner import Feed
from curation.pipeline.tasks import StepResult, Task
from curation.pipeline.watch import Watch


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self):
        return self.now


def make_dispatch():
    return Dispatch(lambda step: (), lambda step, name: [], lambda *charge: None, lambda end: None)


def make_watch():
    clock = Clock()
    events: list[Any] = []
    return clock, events, Watch(events.append, ["cpu"], clock)


def test_progress_is_said_about_once_a_second():
    """What is due, done and queued, however often it is asked."""
    clock, events, watch = make_watch()
    dispatch = make_dispatch()
    task = Task("shard", "shard-0", ("luma",), 0, num_rows=4)
    dispatch.add(task)
    dispatch.add(Task("shard", "shard-1", ("luma",), 1, num_rows=3))
    watch.begin(dispatch, None)
    watch.tick()
    assert events == []

    watch.ended(StepEnd(task, "luma", "done", StepResult("done", 4)))
    clock.now += 2.0
    watch.tick()
    watch.tick()

    assert events == [
        {
            "event": "progress",
            "seconds": 2.0,
            "rows": {"luma": 4},
            "due": {"luma": 7},
            "queues": {"cpu": {"ready": 2, "waiting": 0, "running": 0}},
            "listing": False,
        }
    ]


def test_a_listing_is_watched_where_nothing_runs_yet():
    """It is seen, and said to stand still after a minute."""
    clock, events, watch = make_watch()
    feed = Feed(iter([Task("shard", "shard-0", ("luma",), 0)]))
    watch.begin(None, feed)

    for _ in range(31):
        clock.now += 2.0
        watch.tick()

    progress = [event for event in events if event["event"] == "progress"]
    assert len(progress) == 31
    assert all(event["listing"] and event["queues"] == {} for event in progress)
    assert [event for event in events if event["event"] == "stalled"] == [
        {"event": "stalled", "seconds": 60.0, "queues": {}, "listing": True}
    ]
    assert len(feed.poll()) == 1


def test_what_ends_puts_off_the_line_about_standing_still():
    """A step that ends is a sign of life."""
    clock, events, watch = make_watch()
    watch.begin(make_dispatch(), None)
    task = Task("shard", "shard-0", ("luma",), 0)

    for _ in range(5):
        clock.now += 50.0
        watch.ended(StepEnd(task, "luma", "done", StepResult("done")))
        watch.tick()

    assert {event["event"] for event in events} == {"progress"}
    clock.now += 61.0
    watch.tick()
    assert events[-1]["event"] == "stalled"
