"""What a user asks to forget, in words that name images."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from curation.errors import UsageError

_PREFIXED = re.compile(r"(id|sha256|phash):(.*)")
_LENGTHS = {"id": 32, "sha256": 64, "phash": 16}


@dataclass(frozen=True)
class Request:
    """Images to be forgotten.

    Attributes:
        image_ids: Images at one place, 16 bytes each.
        contents: SHA-256 of contents to be forgotten wherever they are, 32 bytes each.
        phashes: Perceptual hashes of pictures to be forgotten wherever they are.
    """

    image_ids: frozenset[bytes] = frozenset()
    contents: frozenset[bytes] = frozenset()
    phashes: frozenset[int] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.image_ids or self.contents or self.phashes)


def parse_request(names: Iterable[tuple[str, str]]) -> Request:
    """Read what names images: `id:`, `sha256:` and `phash:`, or hexadecimal digits alone.

    Without a prefix the length says what it is: 32 digits (or a UUID) an image_id, 64 a SHA-256,
    16 a pHash. Empty lines and lines that begin with `#` say nothing.

    Args:
        names: (where it stands, for messages; the name).

    Raises:
        UsageError: Says where, for the first name that is none.
    """
    found: dict[str, set[bytes]] = {kind: set() for kind in _LENGTHS}
    for where, text in names:
        name = text.strip()
        if name and not name.startswith("#"):
            kind, value = _parse(where, name)
            found[kind].add(value)
    hashes = frozenset(int.from_bytes(value, "big") for value in found["phash"])
    return Request(frozenset(found["id"]), frozenset(found["sha256"]), hashes)


def _parse(where: str, name: str) -> tuple[str, bytes]:
    kind, digits = None, name
    if match := _PREFIXED.fullmatch(name):
        kind, digits = match[1], match[2].strip()
    digits = digits.lower()
    if kind in (None, "id") and len(digits) == 36:
        try:
            return "id", uuid.UUID(digits).bytes
        except ValueError:
            pass  # said below
    for known, length in _LENGTHS.items():
        if kind in (None, known) and re.fullmatch(f"[0-9a-f]{{{length}}}", digits):
            return known, bytes.fromhex(digits)
    message = (
        f"{where}: {name[:80]!r} names no image; expected an image_id (UUID or 32 hexadecimal "
        "digits), a SHA-256 (64 digits) or a pHash (16 digits), or one of these after id:, "
        "sha256: or phash:"
    )
    raise UsageError(message)
