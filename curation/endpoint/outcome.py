"""What becomes of a request that brings no answer."""

from dataclasses import dataclass
from typing import Literal

from schemas.error_codes import row_error

Fault = Literal["row", "limit", "server"]
"""Whose fault a failure may be: the request's own; too many requests; the server's, perhaps."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no answer.

    Attributes:
        error: `code: text` in the words of `schemas.error_codes`.
        words: What the server did and said, for a sentence to a person; never to be stored.
    """

    error: str
    words: str = ""


class RequestError(Exception):
    """A request that brought no answer; it never leaves this package.

    Attributes:
        error: `code: text` for the row.
        words: What the server did, for a sentence to a person; free of secrets.
        fault: Whose it may be.
        again: Whether another request may be made, after the back-off.
        wait_s: Time that the server asked to be left alone; null where it did not.
    """

    def __init__(
        self,
        code: str,
        words: str,
        fault: Fault,
        *,
        again: bool = False,
        wait_s: float | None = None,
        **facts: object,
    ) -> None:
        self.error = row_error(code, **facts)
        self.words = words
        self.fault = fault
        self.again = again
        self.wait_s = wait_s
        super().__init__(self.error)
