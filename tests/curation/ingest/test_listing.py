"""Order, resumption and laziness of the walk."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.ingest.facts import Facts
from curation.ingest.listing import list_files
from curation.ingest.local_root import LocalRoot


class KeptRoot:
    """A root whose keys are given, and which remembers the folders that were listed."""

    def __init__(self, keys, url="kept://root"):
        self.url = url
        self.skipped: Counter[str] = Counter()
        self.scanned = []
        self._keys = keys

    def check(self):
        return

    def uri(self, key):
        return f"{self.url}/{key!r}"

    def scan(self, folder):
        self.scanned.append(folder)
        below = (key[len(folder) :] for key in self._keys if key.startswith(folder))
        return {
            name + slash: None if slash else self.facts(folder + name)
            for name, slash, _ in (key.partition(b"/") for key in below)
        }

    def facts(self, key):
        return Facts(len(key), None, 0)

    def read(self, key, max_bytes):
        raise AssertionError(key)

    def reaches(self, key):
        raise AssertionError(key)

    def open(self, key):
        raise AssertionError(key)

    def read_range(self, key, start, stop):
        raise AssertionError(key)


def keys_of(entries):
    return [entry.key for entry in entries]


def without_files_as_folders(keys):
    """Drop keys that would need a file to be a folder too."""
    return {key for key in keys if not any(other.startswith(key + b"/") for other in keys)}


PARTS = st.binary(min_size=1, max_size=2).map(lambda part: part.replace(b"/", b"0"))
KEYS = st.sets(st.lists(PARTS, min_size=1, max_size=3).map(b"/".join), min_size=1, max_size=12)
TREES = KEYS.map(without_files_as_folders)


@given(TREES, st.data())
def test_keys_come_in_byte_order_and_resume_anywhere(keys, data):
    """A walk gives the sorted keys, and from after any key the rest of them."""
    expected = sorted(keys)
    after = data.draw(st.sampled_from([b"", *expected]))

    found = keys_of(list_files([KeptRoot(keys)], after))

    assert found == [key for key in expected if key > after]


@given(TREES, st.integers(1, 3))
def test_several_roots_are_one_listing(keys, num_roots):
    """Keys spread over roots come merged in byte order."""
    parts = [
        {k for i, k in enumerate(sorted(keys)) if i % num_roots == n} for n in range(num_roots)
    ]
    roots = [KeptRoot(part) for part in parts if part]

    assert keys_of(list_files(roots)) == sorted(keys)


def test_a_point_sorts_before_a_slash(lake, write):
    """`a.jpg` and `a-b` come before what is in `a/`, as in a list of object keys."""
    write(lake, dict.fromkeys((b"a/z.jpg", b"a.jpg", b"a-b", b"a0", b"a/.b/c"), b"x"))

    found = keys_of(list_files([LocalRoot(str(lake))]))

    assert found == [b"a-b", b"a.jpg", b"a/.b/c", b"a/z.jpg", b"a0"]


def test_folders_before_the_last_key_are_not_listed_again():
    """Resuming lists the root, the folders on the way to the key, and what comes after."""
    root = KeptRoot({b"a/1", b"b/1", b"b/c/1", b"b/c/2", b"b/d/1", b"e/1"})

    assert keys_of(list_files([root], b"b/c/1")) == [b"b/c/2", b"b/d/1", b"e/1"]
    assert root.scanned == [b"", b"b/", b"b/c/", b"b/d/", b"e/"]


def test_a_listing_starts_before_it_has_seen_everything():
    """The first file needs the folders that lead to it, and no others."""
    root = KeptRoot({b"%03d/file" % number for number in range(100)})

    entries = list_files([root])

    assert next(entries).key == b"000/file"
    assert root.scanned == [b"", b"000/"]


def test_a_tree_may_be_deeper_than_the_recursion_limit():
    """The walk keeps its own stack."""
    key = b"d/" * 3000 + b"file"

    assert keys_of(list_files([KeptRoot({key})])) == [key]


def test_a_key_in_two_roots_is_refused():
    """Both places are named, and what comes before is listed."""
    roots = [KeptRoot({b"a", b"b"}, "kept://one"), KeptRoot({b"b", b"c"}, "kept://two")]
    entries = list_files(roots)

    assert next(entries).key == b"a"
    with pytest.raises(UsageError, match=r"'b' is in two roots, as kept://one/.* kept://two/"):
        list(entries)


def test_an_empty_root_is_refused(lake):
    """A root with folders and no file at all is more likely a lost mount than a source."""
    (lake / "empty" / "below").mkdir(parents=True)

    with pytest.raises(UsageError, match=r"source root .*lake: holds no file; mount it"):
        list(list_files([LocalRoot(str(lake))]))


def test_nothing_after_the_last_key_is_no_empty_root():
    """A resumed listing that is at its end says nothing of the root."""
    assert keys_of(list_files([KeptRoot({b"a/1", b"b"})], b"b")) == []
    assert keys_of(list_files([KeptRoot({b"a/1"})], b"b")) == []


def test_a_file_deleted_while_listing_is_left_out(lake, write):
    """It was in its folder's names, and is gone when its facts are asked for."""
    write(lake, {b"a": b"x", b"b": b"x", b"c": b"x"})
    entries = list_files([LocalRoot(str(lake))])

    assert next(entries).key == b"a"
    (lake / "b").unlink()

    assert keys_of(entries) == [b"c"]


@given(TREES, st.data())
def test_files_can_come_in_the_order_of_what_is_inside(keys, data):
    """Sorted with `!` behind each, and resumed inside one of them, which is listed again."""
    expected = sorted(keys, key=lambda key: key + b"!")
    after = data.draw(st.sampled_from(expected)) + b"!" + data.draw(PARTS)

    assert keys_of(list_files([KeptRoot(keys)], tail=b"!")) == expected
    found = keys_of(list_files([KeptRoot(keys)], after, tail=b"!"))
    assert found == [key for key in expected if key + b"!" > after or after.startswith(key + b"!")]


def test_names_can_be_kept_out_of_a_listing():
    """Folder by folder, with all of its names in view."""
    keys = {b"a", b"d/a", b"d/b"}

    def sift(root, folder, names):
        return {name: facts for name, facts in names.items() if (folder, name) != (b"d/", b"a")}

    assert keys_of(list_files([KeptRoot(keys)], sift=sift)) == [b"a", b"d/b"]
