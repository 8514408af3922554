"""Ids of layout 1, frozen: computed once from the definition, apart from our code.

An id that changes here would part every dataset from its tombstones, snapshots and draws.
"""

import hashlib
import os
import uuid

import pytest

from curation.dataset import Dataset
from curation.ingest.folder import FolderConfig
from curation.ingest.identity import encode_key, image_id
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.work_list import freeze_lists, shard_rows

PIXELS = hashlib.sha256(b"pixels").digest()
OTHER = hashlib.sha256(b"other").digest()

CASES = {
    "plain": (b"a.jpg", 0, PIXELS, "a.jpg", "c5184a16-23ad-8969-bc1c-49c7d4bcd1b7"),
    "unicode": (
        "été/写真.jpg".encode(),
        0,
        PIXELS,
        "été/写真.jpg",
        "09e660c6-ecd7-8c57-89e7-40e6aa4fc74d",
    ),
    "no UTF-8": (
        b"caf\xe9/\xff%.jpg",
        0,
        PIXELS,
        "caf%E9/%FF%25.jpg",
        "29c0d6c2-228d-8bc7-af52-b203f7129ce0",
    ),
    "member": (
        b"set.tar!a.jpg",
        0,
        PIXELS,
        "set.tar!a.jpg",
        "10332073-2f1c-8435-b2b1-1cce9b0b2daa",
    ),
    "repeated member": (
        b"set.tar!a.jpg",
        1,
        PIXELS,
        "set.tar!a.jpg",
        "f5e5cdcd-50af-8197-82b7-2bd7f38b97d7",
    ),
    "changed bytes": (b"a.jpg", 0, OTHER, "a.jpg", "65586f76-5eb1-8244-90e3-66b1a3d3ccfe"),
    "another place": (b"b/a.jpg", 0, PIXELS, "b/a.jpg", "8fce0fca-bf51-8bf9-89f8-136570533f02"),
    "unreadable": (b"a.jpg", 0, None, "a.jpg", "b4b151da-8055-876b-bb1f-3216465e13b7"),
}


@pytest.mark.parametrize("case", CASES)
def test_ids_and_keys_are_frozen(case):
    """The id of an image at a place, and the text of its key."""
    key, ordinal, content, text, expected = CASES[case]

    assert str(uuid.UUID(bytes=image_id("lake", key, ordinal, content))) == expected
    assert encode_key(key) == text


def test_a_moved_root_gives_the_same_ids(tmp_path):
    """The same file below two roots, and twice below one, through the whole of ingest."""
    found = []
    for root in ("here", "there"):
        (tmp_path / root / "b").mkdir(parents=True)
        for name in ("a.jpg", "b/a.jpg", os.fsdecode(b"caf\xe9")):
            (tmp_path / root / name).write_bytes(b"pixels")
        dataset = Dataset.open_or_create(str(tmp_path / f"{root}-dataset"))
        source = FolderConfig(name="lake", roots=(str(tmp_path / root),))
        list(freeze_lists(dataset, source))
        table = make_image_shard(shard_rows(dataset, 0, 0, 0), source, Tombstones())
        ids = [str(uuid.UUID(bytes=value)) for value in table["image_id"].to_pylist()]
        found.append(dict(zip(table["source_key"].to_pylist(), ids, strict=True)))

    assert found[0] == found[1]
    assert found[0]["a.jpg"] == CASES["plain"][-1]
    assert found[0]["b/a.jpg"] == CASES["another place"][-1]
    assert list(found[0]) == ["a.jpg", "b/a.jpg", "caf%E9"]
