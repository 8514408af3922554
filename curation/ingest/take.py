"""One whole file that a list names, read where it lies below a root."""

import logging
from collections.abc import Sequence

from curation.ingest.entries import Line, Taken
from curation.ingest.facts import Facts
from curation.ingest.roots import Root
from schemas.error_codes import row_error

_log = logging.getLogger(__name__)


def take_file(line: Line, key: bytes, roots: Sequence[Root], max_bytes: int) -> Taken:
    """Read the file `key`, which a list's line names, or say why there are no bytes.

    It is read at the line's URI where that lies below a root. Where the source has moved since it
    was listed, it is looked for under the roots of today; never outside of them.

    - `changed` (transient): size, tag or time differ from the line, or the file has gone. The next
      ingest lists what is there now; a file that has gone needs `sync`.
    - `unavailable` (transient): the store did not give it, or this user may not read it.
    - `too_large`: more than `max_bytes`; it is not read.

    Raises:
        UsageError: The root has gone altogether.
    """
    uri: str = line["uri"]
    listed = Facts(line["num_bytes"], line["etag"], line["mtime_ns"])
    if listed.size is not None and listed.size > max_bytes:
        return too_large(uri, listed.size, max_bytes)
    root = find_root(uri, key, roots)
    if root is None:
        return Taken(uri, error=row_error("changed"))
    uri = root.uri(key)
    try:
        facts, data = root.read(key, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        root.check()  # a lost mount is no row's error
        return Taken(uri, error=row_error("changed"))
    except OSError as error:
        _log.warning("%s: cannot be read: %s", uri, error)
        return Taken(uri, error=row_error("unavailable"))
    if listed.differs(facts):
        return Taken(uri, error=row_error("changed"))
    if data is None:
        return too_large(uri, facts.size, max_bytes)
    return Taken(uri, data, len(data))


def too_large(uri: str, size: int | None, max_bytes: int) -> Taken:
    """Say that an image is larger than the user allows."""
    error = row_error("too_large", num_bytes=size, limit=max_bytes)
    return Taken(uri, num_bytes=size, error=error)


def find_root(uri: str, key: bytes, roots: Sequence[Root]) -> Root | None:
    """Return the root that gives `key` the address `uri`, else the first that holds `key`."""
    for root in roots:
        if root.uri(key) == uri:
            return root
    return next((root for root in roots if root.facts(key) is not None), None)
