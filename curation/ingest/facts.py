"""What a store tells about a file without reading it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_EPOCH = datetime.fromtimestamp(0, UTC)

# fsspec leaves the names to each store: local and SFTP, S3, GCS and Azure, memory.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_ETAGS = ("ETag", "etag")


@dataclass(frozen=True, slots=True)
class Facts:
    """Size and version of a file, as far as its store tells.

    Attributes:
        size: Bytes.
        etag: The store's tag of the content, without quotes; null on a file system.
        mtime_ns: Time of the last modification in nanoseconds since 1970.
    """

    size: int | None
    etag: str | None
    mtime_ns: int | None

    def differs(self, other: "Facts") -> bool:
        """Say whether the file must be read again: its size, else its tag, else its time changed.

        Facts that either side does not know say nothing; times only count where tags are missing,
        since a copy of a bucket keeps the tags and not the times.
        """
        if self.size is not None and other.size is not None and self.size != other.size:
            return True
        if self.etag is not None and other.etag is not None:
            return self.etag != other.etag
        if self.mtime_ns is not None and other.mtime_ns is not None:
            return self.mtime_ns != other.mtime_ns
        return False


def facts_from_info(info: Mapping[str, Any]) -> Facts:
    """Read the facts out of what fsspec's `info` or `ls(detail=True)` says of one file."""
    size = info.get("size")
    etag = next((str(info[name]) for name in _ETAGS if info.get(name)), None)
    time = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    return Facts(
        size=None if size is None else int(size),
        etag=None if etag is None else etag.strip('"'),
        mtime_ns=None if time is None else _nanoseconds(time),
    )


def _nanoseconds(time: datetime | str | float) -> int:
    """Convert a store's time to whole microseconds, so that all its ways of telling it agree."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    elif not isinstance(time, datetime):
        time = datetime.fromtimestamp(time, UTC)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    since = time - _EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
