"""The closed vocabulary of row errors, and the one place that words them.

A row error is stored as `code: text`. The text is made from a template and from facts about the
input only, never from a library's exception, so that it is the same on every machine and run.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorCode:
    """One kind of row error: whether trying again may help, and its wording."""

    transient: bool
    template: str


ERROR_CODES: dict[str, ErrorCode] = {
    # The file itself.
    "empty": ErrorCode(False, "the file has no bytes"),
    "unsupported": ErrorCode(False, "the first bytes are of no allowed image format"),
    "undecodable": ErrorCode(False, "the {format} data cannot be decoded"),
    "truncated": ErrorCode(False, "the {format} data ends too early"),
    "bomb": ErrorCode(False, "{width} x {height} pixels are more than max_pixels = {max_pixels}"),
    "too_large": ErrorCode(False, "{num_bytes} bytes are more than the limit of {limit}"),
    "forgotten": ErrorCode(False, "the image was forgotten on request"),
    "tombstoned": ErrorCode(False, "a tombstone forbids this image"),
    # The way to a file on the web.
    "bad_url": ErrorCode(False, "the URL cannot be asked for: {reason}"),
    "forbidden_address": ErrorCode(False, "{host} has an address that is not public"),
    "redirects": ErrorCode(False, "more than {limit} redirects"),
    "not_found": ErrorCode(False, "the server has nothing there (HTTP {status})"),
    "denied": ErrorCode(False, "the server does not give it (HTTP {status})"),
    "bad_response": ErrorCode(False, "the server's answer cannot be used: {reason}"),
    "opted_out": ErrorCode(False, "the server's headers forbid this use ({directive})"),
    "web_page": ErrorCode(False, "an HTML page came in place of a file"),
    # The place that a source names for it.
    "missing": ErrorCode(False, "no file is at the place that the source names"),
    "outside": ErrorCode(False, "the source names a place outside of itself"),
    "refused": ErrorCode(False, "a {kind} is not taken in"),
    # The process that worked on it.
    "crashed": ErrorCode(False, "{signal}"),
    "memory": ErrorCode(False, "more than {limit_mb} MB were needed"),
    # A service that was asked about it.
    "rejected": ErrorCode(False, "the service does not take this request (HTTP {status})"),
    "service_failed": ErrorCode(True, "the service failed, or broke off its answer"),
    "unseen": ErrorCode(True, "the model did not receive the image"),
    # Another column.
    "missing_input": ErrorCode(False, "{column} is null"),
    "not_selected": ErrorCode(False, "the stage's where leaves it out"),
    "nonfinite": ErrorCode(False, "{column} came out as NaN or infinity"),
    # Passing troubles: `--retry-transient` tries these again.
    "timeout": ErrorCode(True, "no answer within {seconds} s"),
    "rate_limited": ErrorCode(True, "the service asked for fewer requests"),
    "unavailable": ErrorCode(True, "the source could not be read"),
    "changed": ErrorCode(True, "the file differs from what was listed"),
    "insecure": ErrorCode(True, "the server could not prove that it is {host}"),
    "deferred": ErrorCode(True, "its shard had no more room or time for it"),
}


def row_error(code: str, **facts: object) -> str:
    """Word the error `code` for the input that `facts` describe.

    Raises:
        KeyError: `code` is not in the vocabulary, or its template asks for a fact that is missing.
    """
    return f"{code}: {ERROR_CODES[code].template.format(**facts)}"


def error_code(error: str) -> str:
    """Return the code of a stored `code: text`."""
    return error.split(":", 1)[0]


def is_row_error(text: str) -> bool:
    """Say whether `text` is `code: text` with a code of the vocabulary."""
    code, separator, words = text.partition(": ")
    return code in ERROR_CODES and bool(separator and words)


def is_transient(error: str) -> bool:
    """Say whether trying the row again may help."""
    return ERROR_CODES[error_code(error)].transient
