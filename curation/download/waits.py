"""How long to wait before another try."""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}")


def backoff_s(url: str, tried: int, first_s: float, longest_s: float) -> float:
    """Return the wait after `tried` requests for `url`, in seconds.

    It doubles with each, up to `longest_s`, and between half and the whole of that is drawn from
    the URL's hash: the URLs of a host that failed together do not come back together.
    """
    whole = min(longest_s, first_s * 2.0 ** (tried - 1))
    digest = hashlib.sha256(f"{tried} {url}".encode(errors="surrogateescape")).digest()
    drawn = int.from_bytes(digest[:4], "little") / 2**32
    return whole * (1 + drawn) / 2


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, which holds seconds or a date; null where it says nothing.

    Source: RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
