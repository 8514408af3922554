"""The body of an answer, taken in piece by piece within limits that hold after decoding too."""

import zlib
from typing import Any

from curation.download.outcome import FetchError

_HEAD_BYTES = 2  # enough to tell the two forms of deflate apart


class Budget:
    """Bytes that one call may hold in memory, over all its files.

    Args:
        limit: Bytes; null for no limit.

    Attributes:
        is_spent: Whether a file was refused, so that no other need be begun.
    """

    def __init__(self, limit: int | None) -> None:
        self.is_spent = False
        self._left = limit

    def take(self, num_bytes: int) -> bool:
        """Take so many, and say whether they were there; if not, the budget is spent for good."""
        if self._left is None:
            return True
        if num_bytes > self._left:
            self.is_spent = True
            return False
        self._left -= num_bytes
        return True

    def give_back(self, num_bytes: int) -> None:
        """Return what was taken for a file that came to nothing."""
        if self._left is not None:
            self._left += num_bytes


class Body:
    """Collects an answer's body.

    Args:
        encoding: The `Content-Encoding` header; empty for none. We ask for none, but a server may
            know better.
        max_bytes: Most that the file may have, and as many may come over the wire.
        budget: What all files of the call share.

    Raises:
        FetchError: `bad_response` for an encoding that is not known.
    """

    def __init__(self, encoding: str, max_bytes: int, budget: Budget) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FetchError("bad_response", reason="an encoding that was not asked for")
        self._encoding = "" if encoding == "identity" else encoding
        self._inflater: Any = None  # zlib does not name its type
        self._max_bytes = max_bytes
        self._budget = budget
        self._head = b""
        self._num_wire_bytes = 0
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take in the next piece.

        Raises:
            FetchError: `too_large`; `deferred` where the budget is spent; `bad_response` where the
                encoding is broken.
        """
        self._num_wire_bytes += len(chunk)
        if self._num_wire_bytes > self._max_bytes:
            raise too_large(None, self._max_bytes)
        if not self._encoding:
            self._keep(chunk)
            return
        if self._inflater is None:
            chunk = self._head + chunk
            if len(chunk) < _HEAD_BYTES:
                self._head = chunk
                return
            self._inflater = zlib.decompressobj(_window(self._encoding, chunk))
        while chunk:
            room = self._max_bytes - len(self._data)
            try:
                piece = self._inflater.decompress(chunk, room + 1)
            except zlib.error as error:
                raise _broken() from error
            self._keep(piece)
            if self._inflater.unused_data:
                raise _broken()
            chunk = self._inflater.unconsumed_tail

    def finish(self) -> bytes:
        """Return the file.

        Raises:
            FetchError: `bad_response` where the encoded data ends too early.
        """
        is_whole = self._inflater.eof if self._inflater is not None else not self._head
        if not is_whole:
            raise _broken()
        return bytes(self._data)

    def drop(self) -> None:
        """Give back what the budget lent."""
        self._budget.give_back(len(self._data))
        self._data = bytearray()

    def _keep(self, piece: bytes) -> None:
        if len(self._data) + len(piece) > self._max_bytes:
            raise too_large(None, self._max_bytes)
        if not self._budget.take(len(piece)):
            raise FetchError("deferred")
        self._data += piece


def too_large(num_bytes: int | None, limit: int) -> FetchError:
    """Word `too_large`; null where only so much is known that there are more than `limit`."""
    found = f"at least {limit + 1}" if num_bytes is None else num_bytes
    return FetchError("too_large", num_bytes=found, limit=limit)


def _broken() -> FetchError:
    return FetchError("bad_response", reason="its encoding is broken")


def _window(encoding: str, chunk: bytes) -> int:
    """Return zlib's window setting; what is called deflate comes with and without a header."""
    if encoding != "deflate":
        return 16 + zlib.MAX_WBITS
    has_header = chunk[0] & 0x0F == 8 and (chunk[0] << 8 | chunk[1]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
