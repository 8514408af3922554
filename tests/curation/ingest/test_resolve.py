"""Paths in lists: below the roots, or nowhere."""

import pytest

from curation.ingest.local_root import LocalRoot
from curation.ingest.remote_root import RemoteRoot
from curation.ingest.resolve import key_bytes, resolve
from curation.storage import Store


@pytest.fixture
def roots(tmp_path):
    (tmp_path / "lake").mkdir()
    return [LocalRoot(str(tmp_path / "lake")), RemoteRoot(Store("memory://bucket/lake"))]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b.jpg", b"a/b.jpg"),
        ("./a//b.jpg", b"a/b.jpg"),
        ("a/...jpg", b"a/...jpg"),
        ("a\\..\\b", b"a\\..\\b"),
        ("%2e%2e/b", b"%2e%2e/b"),
        ("caf\udce9", b"caf\xe9"),
    ],
)
def test_a_relative_path_is_a_key(roots, path, key):
    """Of any root; nothing in it is unquoted."""
    assert resolve(path, roots) == (roots, key)


OUTSIDE = ["..", "../a", "a/../b", "a/..", "", ".", "/", "a\0b", "/etc/passwd", "//etc/passwd"]
ELSEWHERE = ["file:///etc/passwd", "memory://bucket/lakes/a", "s3://bucket/lake/a", "http://x/y"]


@pytest.mark.parametrize("path", [*OUTSIDE, *ELSEWHERE])
def test_a_path_that_leads_outside_is_none(roots, path):
    """Also where it would come back."""
    assert resolve(path, roots) is None


def test_an_absolute_path_is_found_below_its_root(roots, tmp_path):
    """As a path, as a URL, and on a store."""
    local, remote = roots
    assert resolve(f"{tmp_path}/lake/a/b", roots) == ([local], b"a/b")
    assert resolve(f"file://{tmp_path}/lake/a", roots) == ([local], b"a")
    assert resolve(f"{remote.url}/a", roots) == ([remote], b"a")
    assert resolve(f"{tmp_path}/lake/../x", roots) is None
    assert resolve(f"{tmp_path}/lakes/x", roots) is None


def test_a_base_is_put_before_relative_paths_only(roots, tmp_path):
    """A table's own folder."""
    assert resolve("a", roots, b"t/") == (roots, b"t/a")
    assert resolve(f"{tmp_path}/lake/a", roots, b"t/") == (roots[:1], b"a")
    assert resolve("../a", roots, b"t/") is None


def test_halves_of_surrogate_pairs_are_some_bytes():
    """They name no file, and do not raise."""
    assert key_bytes("\ud800") == b"\xed\xa0\x80"
