"""Going on after lost processes: what is counted, and when it ends."""

import pytest

from jobs.restarts import GroupLostError, TrainingLostError, keep_going
from training.workers import WorkersConfig


class Run:
    """A run whose groups are lost as a script says.

    Args:
        script: For each group the newest checkpoint at its end, and how it was lost; null for well.
        rooms: How many processes fit after each loss; all of them once there are none left.
    """

    def __init__(self, script, rooms=()):
        self.script = list(script)
        self.rooms = list(rooms)
        self.step = None
        self.sizes, self.said, self.asked = [], [], []

    def attempt(self, size):
        self.sizes.append(size)
        self.step, error = self.script.pop(0)
        if error is not None:
            raise error
        return "done"

    def room(self, only_alive):
        self.asked.append(only_alive)
        return self.rooms.pop(0) if self.rooms else 100

    def go(self, **settings):
        return keep_going(
            WorkersConfig(count=4, **settings),
            self.attempt,
            newest=lambda: self.step,
            room=self.room,
            say=self.said.append,
        )


LOST = GroupLostError("process 1 was lost: it died")


def test_failures_without_progress_are_counted():
    """So many as `restarts` are mended, one more is not."""
    run = Run([(None, LOST)] * 2 + [(9, None)])
    assert run.go(restarts=2) == "done"
    assert run.said == ["process 1 was lost: it died; going on from the beginning"] * 2

    with pytest.raises(TrainingLostError, match=r"after 3 failures .*workers.restarts is 2"):
        Run([(None, LOST)] * 3).go(restarts=2)


def test_a_new_checkpoint_forgives_earlier_failures():
    """A long run on machines that come and go is never given up while it gets on."""
    run = Run([(step, LOST) for step in range(50)] + [(50, None)])

    assert run.go(restarts=1) == "done"
    assert run.said[-1].endswith("going on from step 49")


def test_machines_that_are_taken_away_are_not_charged():
    """That is what they are lent for."""
    taken = GroupLostError("machines were taken away", is_charged=False)

    assert Run([(None, taken)] * 9 + [(1, None)]).go(restarts=0) == "done"


def test_fewer_processes_go_on_where_they_may():
    """As many as fit, down to `least`; and all of them once there is room again."""
    run = Run([(1, LOST), (2, LOST), (3, None)], rooms=[2, 4])
    assert run.go(least=2) == "done"
    assert run.sizes == [4, 2, 4]
    assert "2 of 4 workers fit on the machines that are left" in run.said

    with pytest.raises(TrainingLostError, match="1 of 4 workers fit .* at least 2 must"):
        Run([(1, LOST)], rooms=[1]).go(least=2)
    with pytest.raises(TrainingLostError, match="3 of 4 workers fit .* at least 4 must"):
        Run([(1, LOST)], rooms=[3]).go()


def test_nodes_that_did_not_come_up_are_not_counted_on():
    """After a start that took too long only living machines count."""
    run = Run([(1, LOST), (1, GroupLostError("late", is_late=True)), (2, None)])
    run.go()

    assert run.asked == [False, True]


def test_what_a_restart_cannot_mend_passes_through():
    """Only a lost group is tried again."""
    run = Run([(None, ValueError("wrong"))])
    with pytest.raises(ValueError, match="wrong"):
        run.go()

    assert run.said == []
