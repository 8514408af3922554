"""Every file of a source, one by one, in byte order of the full key.

A depth-first walk gives that order when a folder sorts as its name with `/`: `a.jpg` comes before
what is in `a/`, since `.` is the smaller byte. So a walk holds one folder for each level, its first
files come at once however large the source is, and it resumes after any key without listing the
folders before it.
"""

import heapq
from collections.abc import Iterator, Sequence
from operator import attrgetter

from curation.errors import UsageError
from curation.ingest.entries import Entry
from curation.ingest.facts import Facts
from curation.ingest.identity import encode_key
from curation.ingest.roots import Root


def list_files(roots: Sequence[Root], after: bytes = b"") -> Iterator[Entry]:
    """List every file below `roots` whose key is greater than `after`, in byte order of the key.

    Files are not opened: what they hold is for the stages to say.

    Raises:
        UsageError: A root holds no file at all (a mount may be missing), two roots hold the same
            key, or a folder cannot be listed.
    """
    walks = [_walk(root, after) for root in roots]
    merged = walks[0] if len(walks) == 1 else heapq.merge(*walks, key=attrgetter("key"))
    previous: Entry | None = None
    for entry in merged:
        if previous is not None and previous.key == entry.key:
            message = (
                f"source.roots: {encode_key(entry.key)!r} is in two roots, as {previous.uri} and "
                f"as {entry.uri}; rename one, or make each root a source of its own"
            )
            raise UsageError(message)
        yield entry
        previous = entry


def _walk(root: Root, after: bytes) -> Iterator[Entry]:
    found_any = False
    stack = [_scan(root, b"")]
    while stack:
        folder, names = stack[-1]
        name, facts = next(names, (b"", None))
        key = folder + name
        if not name:
            stack.pop()
        elif name.endswith(b"/"):
            if key > after or after.startswith(key):
                stack.append(_scan(root, key))
            else:
                found_any = True  # listed by whoever froze `after`
        else:
            found_any = True
            if key > after:
                facts = facts or root.facts(key)
                if facts is not None:  # else deleted since its folder was read
                    yield Entry(key, root.uri(key), facts)
    if not found_any:
        message = f"source root {root.url}: holds no file; mount it, or take it out of source.roots"
        raise UsageError(message)


def _scan(root: Root, folder: bytes) -> tuple[bytes, Iterator[tuple[bytes, Facts | None]]]:
    return folder, iter(sorted(root.scan(folder).items(), key=lambda item: item[0]))
