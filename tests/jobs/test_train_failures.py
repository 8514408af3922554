"""What failures of Ray Train mean for a run."""

import pytest
from ray.exceptions import ActorDiedError, RayActorError
from ray.train import ControllerError, PreemptionError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2.api.preemption import PreemptionInfo

from curation.errors import SnapshotError, StorageError
from jobs.restarts import GroupLostError
from jobs.train_failures import explain
from training.guard import TrainingStoppedError


def of_workers(**failures):
    """Return the error of a group whose processes failed: `w1=error`."""
    return WorkerGroupError("lines of code", {int(n[1:]): e for n, e in failures.items()})


def lost(error):
    """Return what a failure means, which must be a lost group."""
    meant = explain(error)
    assert isinstance(meant, GroupLostError)
    return meant


@pytest.mark.parametrize("final", [SnapshotError("gone"), TrainingStoppedError("no number")])
def test_what_would_happen_again_ends_the_run(final):
    """Whatever it did to the other processes."""
    assert explain(of_workers(w0=RuntimeError("connection closed"), w1=final)) is final


def test_a_dead_process_is_named_before_those_that_missed_it():
    """Connections that break are a consequence."""
    dead = WorkerHealthCheckFailedError("poll failed", failure=ActorDiedError())
    meant = lost(of_workers(w0=RuntimeError("connection closed"), w1=dead))

    assert str(meant) == "process 1 was lost: it died"
    assert meant.is_charged
    assert meant.details == ""


def test_a_machine_that_was_taken_away_is_not_charged():
    """With a warning before it, or without one."""
    gone = WorkerHealthCheckFailedError("poll failed", failure=RayActorError(preempted=True))

    assert not lost(of_workers(w0=gone)).is_charged
    assert not lost(PreemptionError(PreemptionInfo(None, {"a": [0]}))).is_charged


def test_a_fault_in_the_code_is_shown_whole():
    """One of ours is a sentence already; any other comes with the lines that Ray Train kept."""
    meant = lost(of_workers(w0=ValueError("shapes\nand more")))
    assert str(meant) == "process 0 failed: ValueError: shapes"
    assert "lines of code" in meant.details
    ours = lost(of_workers(w0=RuntimeError("closed"), w1=StorageError("s3://x: is full")))
    assert (str(ours), ours.details) == ("process 1 failed: s3://x: is full", "")


def test_a_group_that_does_not_start_is_late_or_broken():
    """After the time limit, or because a process died on the way."""
    assert lost(ControllerError(WorkerGroupStartupTimeoutError(4))).is_late
    broken = lost(ControllerError(WorkerGroupStartupFailedError("an actor died")))
    assert not broken.is_late
    assert "could not be started: WorkerGroupStartupFailedError: an actor died" in str(broken)
