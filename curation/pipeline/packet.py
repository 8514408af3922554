"""The views of one shard in one anonymous memory file, made in one process and seen in another.

First the pixels, view after view; then an index as JSON: for each row its image id and where its
view lies, or the `code: text` that says why there is none; then the length of the index, in eight
bytes. The file has no name and no place: it is handed on by its descriptor, and is gone with the
last process that holds it, however that ends. It counts as memory of the machine, but not as
address space of a child, which writes and reads it piece by piece.
"""

import json
import mmap
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.pixels import Header, PixelSpec, View

MAX_SIZE_PX = 512
"""The largest edge of views that are worth handing on: 0.75 MB of pixels for a file of about 0.3.
Of larger ones the file is read and decoded where they are looked at."""

_LENGTH = struct.Struct("<Q")


def is_worth_packing(spec: PixelSpec) -> bool:
    """Say whether views are small enough to be made elsewhere and handed on."""
    return spec.fit != "full" and spec.size_px <= MAX_SIZE_PX


def packet_bytes(spec: PixelSpec, num_rows: int) -> int:
    """Return how large a packet can be."""
    return num_rows * (3 * spec.size_px**2 + 512)


class PacketWriter:
    """Takes the views of a shard, some rows at a time.

    Raises:
        OSError: The machine has no memory or descriptor left; so do `add` and `finish`.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.memfd_create("longtail-packet"), "wb")
        self._ids: list[str] = []
        self._views: list[Any] = []
        self._num_bytes = 0

    def add(self, ids: Sequence[bytes], views: Sequence[View | str]) -> None:
        """Take the next rows: their image ids and their views, or why there is none."""
        self._ids.extend(image_id.hex() for image_id in ids)
        for view in views:
            if isinstance(view, str):
                self._views.append(view)
            else:
                self._file.write(np.ascontiguousarray(view.pixels).data)
                height, width, _ = view.pixels.shape
                self._views.append([self._num_bytes, height, width, asdict(view.header)])
                self._num_bytes += view.pixels.nbytes

    def finish(self) -> int:
        """Return the descriptor of the whole packet; it is the caller's to close.

        Raises:
            OSError: The machine has no memory or descriptor left.
        """
        index = json.dumps({"ids": self._ids, "views": self._views}).encode()
        self._file.write(index)
        self._file.write(_LENGTH.pack(len(index)))
        self._file.flush()
        descriptor = os.dup(self._file.fileno())
        self._file.close()
        return descriptor

    def drop(self) -> None:
        """Forget all that was taken."""
        with suppress(OSError):  # what it could not write before, it tries once more
            self._file.close()


class Packet:
    """The views of a shard, read one by one.

    Args:
        descriptor: Of the packet; it stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        end = os.fstat(descriptor).st_size - _LENGTH.size
        (length,) = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, end))
        index = json.loads(os.pread(descriptor, length, end - length))
        self._rows = {
            bytes.fromhex(i): v for i, v in zip(index["ids"], index["views"], strict=True)
        }

    def holds(self, ids: Sequence[bytes]) -> bool:
        """Say whether these images are in it."""
        return all(image_id in self._rows for image_id in ids)

    def view(self, image_id: bytes) -> View | str:
        """Return the view of an image, or the `code: text` that says why there is none."""
        found = self._rows[image_id]
        if isinstance(found, str):
            return found
        offset, height, width, header = found
        data = os.pread(self._descriptor, height * width * 3, offset)
        return View(np.frombuffer(data, np.uint8).reshape(height, width, 3), Header(**header))


def packet_array(descriptor: int) -> NDArray[np.uint8]:
    """Return a packet's bytes without a copy; the descriptor may be closed."""
    return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), np.uint8)


def packet_file(data: NDArray[np.uint8]) -> int:
    """Return the descriptor of a packet with these bytes; it is the caller's to close.

    Raises:
        OSError: The machine has no memory or descriptor left.
    """
    with os.fdopen(os.memfd_create("longtail-packet"), "wb", buffering=0) as file:
        rest = data.data.cast("B")
        while rest:
            rest = rest[file.write(rest) :]
        return os.dup(file.fileno())
