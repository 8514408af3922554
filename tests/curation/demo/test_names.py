"""File names, from plain to hostile."""

import os
from random import Random

import pytest

from curation.demo.names import copy_stem, odd_path, plain_stem
from curation.ingest.identity import decode_key, encode_key


def test_no_two_numbers_get_one_name():
    """In whatever style they are drawn, with any generator."""
    stems = [plain_stem(Random(index % 7), "cat", index) for index in range(500)]
    copies = [copy_stem(Random(index % 7), stems[3], "cat", index) for index in range(500, 900)]

    assert len(set(stems + copies)) == 900


@pytest.mark.parametrize(
    ("detail", "path"),
    [
        ("", "a/b/x.jpg"),
        ("name_not_utf8", "a/b/caf\udce9-x.jpg"),
        ("name_percent", "a/b/100%25 x%.jpg"),
        ("name_glob", "a/b/x [1] {a,b} #2 & what?*.jpg"),
        ("name_upper_case", "a/b/x.JPG"),
        ("name_no_extension", "a/b/x"),
    ],
)
def test_odd_names_are_spelled_out(detail, path):
    """And survive the way to a key of ingest and back."""
    found = odd_path(Random(1), "a/b", "x", "jpg", detail)

    assert found == path
    assert decode_key(encode_key(os.fsencode(found))) == os.fsencode(path)


def test_deep_names_are_deep_and_unicode_names_are_not_ascii():
    """Both are below their category's folder."""
    deep, foreign = (
        odd_path(Random(1), "a/b", "x", "jpg", d) for d in ("name_deep", "name_unicode")
    )

    assert deep.startswith("a/b/")
    assert deep.count("/") > 10
    assert foreign.startswith("a/b/")
    assert not foreign.isascii()
