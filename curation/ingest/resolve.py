"""Paths that a list or table names, found below the roots or refused."""

from collections.abc import Sequence

from curation.ingest.local_root import SCHEME
from curation.ingest.roots import Root


def key_bytes(text: str) -> bytes:
    """Return the raw bytes of a path that stands in a text.

    Python and JSON write a byte that is no UTF-8 as half a surrogate pair; others stay what they
    are, and name no file.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def resolve(text: str, roots: Sequence[Root], base: bytes = b"") -> tuple[list[Root], bytes] | None:
    """Find the key that a path names, and the roots that it can be below.

    A path is relative to the roots, or the absolute path or URL of something below one of them.

    Args:
        base: Folder below the roots that relative paths start at; empty, or with a `/` at its end.

    Returns:
        Null where it leads outside: also with `..`, wherever that would end.
    """
    path = key_bytes(text)
    found = list(roots)
    if b"://" in path or path.startswith(b"/"):
        absolute = path if b"://" in path else SCHEME.encode() + path
        found = [root for root in roots if absolute.startswith(_prefix(root))]
        if not found:
            return None
        path = absolute[len(_prefix(found[0])) :]
        found = found[:1]
        base = b""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts or not parts or b"\0" in path:
        return None
    return found, base + b"/".join(parts)


def _prefix(root: Root) -> bytes:
    url = root.url if "://" in root.url else SCHEME + root.url
    return url.rstrip("/").encode("utf-8", "surrogateescape") + b"/"
