"""URLs that carry no secrets.

Addresses are stored beside the data and stand in logs and errors, so none may hold a password, a
key or a signature: credentials come from the environment.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from curation.errors import ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NO_HOST = frozenset({"file", "local"})
_USERS = frozenset(
    {"abfs", "abfss", "hdfs", "hf", "sftp", "smb", "ssh", "wasb", "wasbs", "webhdfs"}
)
"""Schemes in which a bare name before `@` is part of the address: a container, account or model."""

_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#\s]+)=([^&;#\s]*)")
_SECRET_PARAMETER = re.compile(
    r"^(?:sig|key|auth|pwd)$|signature|token|secret|passw|credential|api_?key|access_?key",
    re.IGNORECASE,
)
_HIDDEN = "***"


def redacted(text: str) -> str:
    """Return `text` with what is secret in the URLs that stand in it replaced by `***`."""
    return _URL.sub(lambda match: _redact(match[0]), text)


def check_url(url: str, where: str) -> None:
    """Refuse a URL with a user's name and password, or with a signature or token, in it.

    Raises:
        ConfigError: It has; the message does not repeat them.
    """
    hidden = _redact(url) if _WHOLE.match(url) else redacted(url)
    if hidden != url:
        message = (
            f"{where}: {hidden}: has credentials in it, and this address is stored and shown; give "
            "them through the environment and leave them out here"
        )
        raise ConfigError(message)


def check_values(values: Mapping[str, Any], where: str = "") -> None:
    """Refuse URLs with secrets wherever they stand in a configuration.

    Raises:
        ConfigError: As `check_url`, with the path to the value.
    """
    for path, text in _texts(values, where):
        check_url(text, path)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, path)


def _redact(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme.lower() in _NO_HOST:
        return url
    return f"{scheme}://{_without_user(scheme.lower(), rest)}"


def _without_user(scheme: str, rest: str) -> str:
    if "::" in rest:  # chained: each part may have its own
        first, _, others = rest.partition("::")
        return f"{_without_user(scheme, first)}::{redacted(others)}"
    rest = _PARAMETER.sub(_without_value, rest)
    host = rest.partition("/")[0]
    user, at, _ = host.rpartition("@")
    if at and (":" in user or scheme not in _USERS):
        return f"{_HIDDEN}@{rest[len(user) + 1 :]}" if user != _HIDDEN else rest
    _, colon, tail = host.rpartition(":")
    if not at and colon and "@" in rest and not (tail.isdigit() or tail.endswith("]")):
        # A key of a store may have slashes: `s3://ID:ab/cd@bucket`.
        return f"{_HIDDEN}@{rest.rpartition('@')[2]}"
    return rest


def _without_value(match: re.Match[str]) -> str:
    is_secret = bool(match[2]) and _SECRET_PARAMETER.search(match[1]) is not None
    return f"{match[1]}={_HIDDEN}" if is_secret else match[0]
