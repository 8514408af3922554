"""The object store of a Ray that is started here."""

import shutil
from collections import namedtuple

from jobs import connect

Usage = namedtuple("Usage", "total used free")


def test_the_store_follows_the_shared_memory(monkeypatch):
    """A quarter of what is free, never less than answers need, never a large machine's all."""
    sizes = {64 << 20: 256 << 20, 8 << 30: 2 << 30, 1 << 40: 8 << 30}
    for free, size in sizes.items():
        usage = Usage(0, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        assert connect.object_store_bytes() == size
