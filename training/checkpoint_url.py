"""A checkpoint as a user names it: a run's output, or one step below it."""

import re

from curation.errors import UsageError
from training.checkpoint import Checkpoints

_STEP = re.compile(r"(?P<output>.*?)/?step-(?P<step>\d{8})/?")


def find_checkpoint(url: str) -> tuple[Checkpoints, int]:
    """Return where a run is kept, and a step of it.

    Args:
        url: `<output>/step-<n>`, or `<output>` for the newest.

    Raises:
        UsageError: There is no complete checkpoint.
    """
    match = _STEP.fullmatch(url)
    if match:
        return Checkpoints(match["output"]), int(match["step"])
    checkpoints = Checkpoints(url)
    steps = checkpoints.steps()
    if not steps:
        message = f"{url}: there is no complete checkpoint; name a run's output, or a step of it"
        raise UsageError(message)
    return checkpoints, steps[-1]


def is_checkpoint(url: str) -> bool:
    """Say whether a URL names a run's output with a complete checkpoint, or a step of one."""
    return bool(_STEP.fullmatch(url)) or bool(Checkpoints(url).steps())
