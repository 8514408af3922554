"""Roots that are refused, each with its sentence."""

import pytest

from curation.errors import ConfigError, UsageError
from curation.ingest.folder import FolderConfig
from curation.ingest.local_root import LocalRoot
from curation.ingest.remote_root import RemoteRoot
from curation.ingest.roots import open_roots
from curation.storage import Store


def roots_of(*urls, dataset=None, **settings):
    return open_roots(FolderConfig(name="lake", roots=urls, **settings), dataset)


def test_roots_open_in_the_order_given(lake, memory):
    """A path, a `file` URL and a URL of another store."""
    memory.pipe_file("/bucket/x", b"x")

    roots = roots_of(str(lake), f"file://{lake}", "memory://bucket")

    assert [type(root) for root in roots] == [LocalRoot, LocalRoot, RemoteRoot]
    assert [root.url for root in roots] == [str(lake), str(lake), "memory:///bucket"]


def test_a_missing_root_is_refused(tmp_path):
    """The sentence names the root and says what to do."""
    with pytest.raises(
        UsageError, match=r"source root .*/none: no such folder; mount it, or corre"
    ):
        roots_of(str(tmp_path / "none"))


def test_a_root_that_is_a_file_is_refused(tmp_path):
    """A source is a folder."""
    (tmp_path / "a.jpg").write_bytes(b"x")

    with pytest.raises(UsageError, match=r"source root .*/a\.jpg: not a folder; name the folder"):
        roots_of(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "an empty text is no folder"),
        ("zip://*::s3://bucket/x.zip", "chained URLs are not accepted"),
        ("http://host/x", r"'http' is not among source\.protocols \(file, s3, gs, memory\)"),
        ("S3://bucket", r"'S3' is not among .*\(did you mean s3\?\)"),
        ("memory://me:secret@bucket/x", "memory://bucket/x: has credentials in it"),
        ("ftp://me:secret@host/x", "ftp://host/x: 'ftp' is not among"),
    ],
)
def test_urls_that_are_refused(url, sentence):
    """Before anything is opened, and without repeating a secret."""
    with pytest.raises(ConfigError, match=sentence) as raised:
        roots_of(url)
    assert "secret" not in str(raised.value)


def test_protocols_are_what_the_user_allows(lake):
    """A source that may only read S3 reads no local folder."""
    with pytest.raises(ConfigError, match=r"'file' is not among source\.protocols \(s3\)"):
        roots_of(str(lake), protocols=("s3",))


@pytest.mark.parametrize(
    ("root", "dataset", "found"),
    [
        ("a", "a/ds", "holds the dataset"),
        ("a/ds/images", "a/ds", "lies in the dataset"),
        ("a", "a", "lies in the dataset"),
        ("link", "a/ds", "holds the dataset"),
    ],
)
def test_source_and_dataset_stay_apart(tmp_path, root, dataset, found):
    """A dataset that took in its own shards would never end; links do not hide it."""
    (tmp_path / "a" / "ds" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")

    with pytest.raises(ConfigError, match=f"{found} .*keep the two apart"):
        roots_of(str(tmp_path / root), dataset=Store(str(tmp_path / dataset)))


def test_source_and_dataset_stay_apart_on_a_store(memory):
    """Prefixes are compared by whole parts."""
    memory.pipe_file("/bucket/lake/x", b"x")

    with pytest.raises(ConfigError, match="holds the dataset"):
        roots_of("memory://bucket/lake", dataset=Store("memory://bucket/lake/ds"))
    assert roots_of("memory://bucket/lake", dataset=Store("memory://bucket/lake-ds"))
