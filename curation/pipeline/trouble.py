"""What went wrong in a task: charges against its steps, or what hinders it as a whole."""

import logging

from curation.errors import ContractError, LongtailError
from curation.pipeline.hindrance import hindrance, setup_hindrance
from curation.pipeline.tasks import StepResult
from curation.urls import redacted

MAX_TEXT = 1000
"""Characters of a charge's text."""

log = logging.getLogger("longtail.worker")


class Trouble:
    """Turns the exceptions of one task into results of its steps; all texts are free of secrets.

    Attributes:
        hindrance: Why the task could not be worked on, through no fault of its shard; empty while
            there is no such trouble. The first sentence stays.
    """

    def __init__(self) -> None:
        self.hindrance = ""

    def result(self, step: str, where: str, error: Exception, file: str = "") -> StepResult:
        """Return a charge against a step, or a skip if no shard is at fault.

        Args:
            step: The step that ran.
            where: What it was done to.
            error: What was raised.
            file: The file that it was raised over, where that is not the step's own.
        """
        message = str(error) if file in str(error) else f"{file}: {error}"
        log.warning("%s, %s: %s", step, where, redacted(message), exc_info=error)
        if sentence := hindrance(f"{step}, {where}", error):
            return self._hindered(sentence)
        code = "contract" if isinstance(error, ContractError) else "exception"
        text = redacted(f"{type(error).__name__}: {message}")[:MAX_TEXT]
        return StepResult("failed", code=code, text=text)

    def of_setup(self, step: str, error: Exception) -> StepResult:
        """Return a skip for a step whose stage cannot be set up: no shard was in hand."""
        # What we say on purpose says it all; only what nobody foresaw needs the place in the code.
        trace = None if isinstance(error, LongtailError) else error
        log.warning("%s cannot be set up: %s", step, redacted(str(error)), exc_info=trace)
        return self._hindered(setup_hindrance(step, error))

    def _hindered(self, sentence: str) -> StepResult:
        self.hindrance = self.hindrance or redacted(sentence)
        return StepResult("skipped")
