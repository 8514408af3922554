"""Who a row is: the id of an image at its place, and keys as text.

Both are part of layout 1 and never change. `tests/golden/test_identity.py` holds them.
"""

import hashlib
import re
import struct
from urllib.parse import unquote_to_bytes

_MAGIC = b"longtail-id-1\0"
_UNREADABLE = bytes(32)
_ESCAPED = re.compile("[%\udc80-\udcff]")


def image_id(source_name: str, key: bytes, ordinal: int, content_sha256: bytes | None) -> bytes:
    r"""Return the 16 bytes that identify these bytes at this place.

    The source's root is not in it: moving the files elsewhere under the same source name changes
    no id. Other bytes at the same place get another id, and so do the same bytes at another place.

    Args:
        source_name: Stable name of the source, given by the user.
        key: Raw path below the source's root, `/`-separated, before any encoding.
        ordinal: 0 for the first file of this key, counting up where an archive repeats a name.
        content_sha256: SHA-256 of the file's bytes; null where it could not be read.

    Returns:
        A UUIDv8: the first 16 bytes of SHA-256 over `longtail-id-1\0`, the u32-LE length and the
        UTF-8 source name, the u32-LE length and the key, the u64-LE ordinal, and the content hash
        (32 zero bytes where unreadable), with the version and variant bits set.
        Source: RFC 9562, section 5.8.
    """
    name = source_name.encode()
    content = _UNREADABLE if content_sha256 is None else content_sha256
    assert len(content) == len(_UNREADABLE), len(content)
    message = b"".join(
        (
            _MAGIC,
            struct.pack("<I", len(name)),
            name,
            struct.pack("<I", len(key)),
            key,
            struct.pack("<Q", ordinal),
            content,
        )
    )
    identity = bytearray(hashlib.sha256(message).digest()[:16])
    identity[6] = 0x80 | identity[6] & 0x0F  # version 8
    identity[8] = 0x80 | identity[8] & 0x3F  # the variant of RFC 9562
    return bytes(identity)


def encode_key(key: bytes) -> str:
    """Write a raw key as text: `%` and bytes that are no UTF-8 become `%XX`, the rest stays.

    Text does not sort as the raw keys do: compare keys by `decode_key`.
    """
    text = key.decode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]) & 0xFF:02X}", text)


def decode_key(text: str) -> bytes:
    """Return the raw key that `encode_key` wrote."""
    return unquote_to_bytes(text)
