"""Beginning a training group again after it was lost, as often as it makes progress between."""

from collections.abc import Callable
from typing import TypeVar

from curation.errors import LongtailError
from training.workers import WorkersConfig

T = TypeVar("T")


class GroupLostError(LongtailError):
    """The processes of a run ended before the run did; its checkpoints are as they were.

    Attributes:
        is_charged: Whether it counts as a failure; machines that are taken away do not.
        is_late: Whether the processes did not start in time.
        details: Lines of code and the like, for whoever looks for the fault.
    """

    def __init__(
        self, reason: str, *, is_charged: bool = True, is_late: bool = False, details: str = ""
    ) -> None:
        super().__init__(reason)
        self.is_charged = is_charged
        self.is_late = is_late
        self.details = details


class TrainingLostError(LongtailError):
    """A run was given up: it lost its processes again and again without getting on."""


def keep_going(
    config: WorkersConfig,
    attempt: Callable[[int], T],
    *,
    newest: Callable[[], int | None],
    room: Callable[[bool], int],
    say: Callable[[str], None],
) -> T:
    """Train until a group of processes comes to its end.

    A failure counts only while no new checkpoint was written since the last one: a run of weeks on
    machines that come and go may lose more of them than any fixed number, and a run that dies at
    the same step each time ends soon.

    Args:
        config: How many processes, and how many failures.
        attempt: Trains with so many processes from the newest checkpoint on; raises
            `GroupLostError` where it may be tried again.
        newest: The step of the newest checkpoint.
        room: Waits for machines and says how many processes they hold; told whether to count on
            those that live alone.
        say: Told what happens, for people.

    Raises:
        TrainingLostError: Too many failures, or too few machines are left.
    """
    failures, known, size = 0, newest(), config.count
    while True:
        try:
            return attempt(size)
        except GroupLostError as lost:
            step = newest()
            if step != known:
                failures, known = 0, step
            failures += lost.is_charged
            begin = "from the beginning" if step is None else f"from step {step:,}"
            if failures > config.restarts:
                message = (
                    f"{lost}; given up after {failures} failures without a new checkpoint "
                    f"(workers.restarts is {config.restarts}); put it right and go on {begin} with "
                    "--resume"
                )
                raise TrainingLostError(message) from lost
            say(f"{lost}; going on {begin}")
            size = min(room(lost.is_late), config.count)
            if size < config.fewest:
                message = (
                    f"{lost}; {size} of {config.count} workers fit on the machines that are left, "
                    f"at least {config.fewest} must (workers.least); free machines and go on "
                    f"{begin} with --resume"
                )
                raise TrainingLostError(message) from lost
            if size < config.count:
                say(f"{size} of {config.count} workers fit on the machines that are left")
