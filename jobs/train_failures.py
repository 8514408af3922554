"""What it means when Ray Train gives up a group of processes."""

from collections.abc import Mapping

from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2.api.exceptions import (
    ControllerError,
    PreemptionError,
    TrainingFailedError,
    WorkerGroupError,
)

from curation.errors import LongtailError, UsageError
from jobs.restarts import GroupLostError
from training.guard import TrainingStoppedError

_FINAL = (UsageError, TrainingStoppedError)
"""What would go wrong again in the same way."""


def explain(error: TrainingFailedError) -> LongtailError:
    """Return what a failure means: the end of the run, or a group that was lost."""
    if isinstance(error, PreemptionError):
        return GroupLostError("machines were taken away", is_charged=False)
    if isinstance(error, WorkerGroupError):
        return _of_workers(error.worker_failures, str(error))
    assert isinstance(error, ControllerError)
    cause = error.controller_failure
    if isinstance(cause, WorkerGroupStartupTimeoutError):
        message = (
            "the processes could not be started in time, because others use the cluster or nodes "
            "did not come up"
        )
        return GroupLostError(message, is_late=True)
    return GroupLostError(f"the processes could not be started: {_first_line(cause)}")


def _of_workers(failures: Mapping[int, Exception], words: str) -> LongtailError:
    """Return what failures of processes mean; those of one are often why others fail."""
    for error in failures.values():
        if isinstance(error, _FINAL):
            return error
    for number, error in sorted(failures.items()):
        cause = error
        if isinstance(error, WorkerHealthCheckFailedError):
            cause = error.health_check_failure
        if isinstance(cause, RayActorError):
            is_taken = cause.preempted
            reason = "its machine was taken away" if is_taken else "it died"
            return GroupLostError(f"process {number} was lost: {reason}", is_charged=not is_taken)
    number, error = min(failures.items(), key=lambda item: not isinstance(item[1], LongtailError))
    is_ours = isinstance(error, LongtailError)
    return GroupLostError(
        f"process {number} failed: {_first_line(error)}", details="" if is_ours else words
    )


def _first_line(error: BaseException) -> str:
    """Return an error's kind, unless its words are ours, and the first of its words."""
    words = (str(error).strip().splitlines() or [""])[0]
    return words if isinstance(error, LongtailError) else f"{type(error).__name__}: {words}"
