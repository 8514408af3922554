"""Every file of a source, one by one, in byte order of the full key.

A depth-first walk gives that order when a folder sorts as its name with `/`: `a.jpg` comes before
what is in `a/`, since `.` is the smaller byte. So a walk holds one folder for each level, its first
files come at once however large the source is, and it resumes after any key without listing the
folders before it.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from curation.errors import UsageError
from curation.ingest.entries import Entry
from curation.ingest.facts import Facts
from curation.ingest.identity import encode_key
from curation.ingest.roots import Root

Scanned = Mapping[bytes, Facts | None]
"""Names in one folder, sub-folders with a `/`, with facts where the folder's listing tells them."""

Sift = Callable[[Root, bytes, Scanned], Scanned]
"""Given a root, a folder of it and its names, returns the names to list."""


def _all(root: Root, folder: bytes, names: Scanned) -> Scanned:
    return names


def list_files(
    roots: Sequence[Root], after: bytes = b"", *, tail: bytes = b"", sift: Sift = _all
) -> Iterator[Entry]:
    """List every file below `roots` whose key is greater than `after`, in byte order of the key.

    Files are not opened: what they hold is for the stages to say.

    Args:
        after: Key to resume after.
        tail: Stands behind every file's key in that order, and in `after`. With `!`, files come in
            the order of the keys of what is inside them, and one that `after` is inside of is
            listed again.
        sift: Says which names of a folder are listed.

    Raises:
        UsageError: A root holds no file at all (a mount may be missing), two roots hold the same
            key, or a folder cannot be listed.
    """
    walks = [_walk(root, after, tail, sift) for root in roots]
    merged = walks[0]
    if len(walks) > 1:
        merged = heapq.merge(*walks, key=lambda entry: entry.key + tail)
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


def _walk(root: Root, after: bytes, tail: bytes, sift: Sift) -> Iterator[Entry]:
    found_any = False
    stack = [_scan(root, b"", tail, sift)]
    while stack:
        folder, names = stack[-1]
        name, facts = next(names, (b"", None))
        key = folder + name
        if not name:
            stack.pop()
        elif name.endswith(b"/"):
            if key > after or after.startswith(key):
                stack.append(_scan(root, key, tail, sift))
            else:
                found_any = True  # listed by whoever froze `after`
        else:
            found_any = True
            if key + tail > after or (tail and after.startswith(key + tail)):
                facts = facts or root.facts(key)
                if facts is not None:  # else deleted since its folder was read
                    yield Entry(key, root.uri(key), facts)
    if not found_any:
        message = f"source root {root.url}: holds no file; mount it, or take it out of source.roots"
        raise UsageError(message)


def _scan(
    root: Root, folder: bytes, tail: bytes, sift: Sift
) -> tuple[bytes, Iterator[tuple[bytes, Facts | None]]]:
    def order(item: tuple[bytes, Facts | None]) -> bytes:
        name, _ = item
        return name if name.endswith(b"/") else name + tail

    return folder, iter(sorted(sift(root, folder, root.scan(folder)).items(), key=order))
