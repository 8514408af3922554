"""What becomes of a URL."""

from dataclasses import dataclass

from schemas.error_codes import row_error


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file behind a URL, decoded from any `Content-Encoding`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no file: `code: text` in the words of `schemas.error_codes`."""

    error: str


Outcome = Fetched | Failed


class FetchError(Exception):
    """A request that brought no file.

    Attributes:
        error: `code: text`.
        again: Whether another request may be made right away, after the back-off.
        wait_s: Time that the server asked to be left alone; null where it did not.
        silent: Whether there was no answer at all, which counts against the host.
    """

    def __init__(
        self,
        code: str,
        *,
        again: bool = False,
        wait_s: float | None = None,
        silent: bool = False,
        **facts: object,
    ) -> None:
        self.error = row_error(code, **facts)
        self.again = again
        self.wait_s = wait_s
        self.silent = silent
        super().__init__(self.error)
