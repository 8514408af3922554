"""A prefix of an object store as a root, with the store that lives in memory."""

import pytest

from curation.errors import UsageError
from curation.ingest.listing import list_files
from curation.ingest.remote_root import RemoteRoot
from curation.storage import Store


@pytest.fixture
def root(memory):
    for key in ("b.jpg", "b/1", "b/c/2", "é%20.jpg"):
        memory.pipe_file(f"/bucket/lake/{key}", key.encode())
    memory.pipe_file("/bucket/lake-too/x", b"x")
    return RemoteRoot(Store("memory://bucket/lake"))


def test_a_prefix_is_listed_as_a_folder_is(root):
    """Keys are below the prefix, in byte order, with the facts that the listing tells."""
    entries = list(list_files([root]))

    assert [entry.key for entry in entries] == [b"b.jpg", b"b/1", b"b/c/2", "é%20.jpg".encode()]
    assert [entry.uri for entry in entries][-1] == "memory:///bucket/lake/é%20.jpg"
    for entry in entries:
        assert entry.facts.size == len(entry.key)
        assert entry.facts.mtime_ns is not None
        assert not entry.facts.differs(root.facts(entry.key))


def test_a_file_is_read_whole_or_not_at_all(root):
    """Above the limit there are facts and no bytes."""
    assert root.read(b"b/1", 3)[1] == b"b/1"
    assert root.read(b"b/1", 2) == (root.facts(b"b/1"), None)


def test_an_empty_object_has_no_bytes(root, memory):
    """It is read without asking for a range, which S3 refuses for empty objects."""
    memory.pipe_file("/bucket/lake/empty", b"")

    facts, data = root.read(b"empty", 10)

    assert (facts.size, data) == (0, b"")


def test_what_is_not_there_is_not_read(root):
    """Neither a missing key, nor a prefix, nor a key that no URL can say."""
    for key in (b"none", b"b", b"b/none", b"caf\xe9"):
        assert root.facts(key) is None
        with pytest.raises(FileNotFoundError):
            root.read(key, 10)


def test_a_missing_prefix_is_refused(memory):
    """Also where a longer name begins with it."""
    memory.pipe_file("/bucket/lake-too/x", b"x")

    with pytest.raises(UsageError, match=r"memory:///bucket/lake: nothing is there"):
        RemoteRoot(Store("memory://bucket/lake")).check()


def test_a_file_is_no_prefix(memory):
    """A root that names one object is refused."""
    memory.pipe_file("/bucket/x.jpg", b"x")

    with pytest.raises(UsageError, match=r"x\.jpg: not a folder; name the prefix"):
        RemoteRoot(Store("memory://bucket/x.jpg")).check()


def test_parts_are_read_as_of_a_folder(root):
    """Shorter beyond the end; nothing is there where nothing is."""
    assert root.read_range(b"b/c/2", 2, 5) == b"c/2"
    assert root.read_range(b"b/c/2", 3, 50) == b"/2"
    with root.open(b"b/1") as (facts, file):
        assert (facts.size, file.read(), file.seek(0, 2)) == (3, b"b/1", 3)
    with pytest.raises(FileNotFoundError), root.open(b"none"):
        pass
    assert root.reaches(b"b/1")
    assert not root.reaches(b"b/../../lake-too/x")
