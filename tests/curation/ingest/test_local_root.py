"""A folder as a root: what counts as a file, and what may be read."""

import os
import socket

import pytest

from curation.errors import UsageError
from curation.ingest.listing import list_files
from curation.ingest.local_root import LocalRoot, path_of, read_file


def names(root, folder=b""):
    return sorted(root.scan(folder))


def test_every_plain_file_counts(lake, write):
    """Hidden files, files of any extension and empty ones are files."""
    write(lake, {b".hidden": b"x", b"Thumbs.db": b"x", b"empty": b"", b"d/x": b"x"})

    assert names(LocalRoot(str(lake))) == [b".hidden", b"Thumbs.db", b"d/", b"empty"]


def test_our_own_temporary_files_do_not(lake, write):
    """Only names that our writer makes are left out, and they are counted."""
    ours = b".tmp-" + b"0123456789abcdef" * 2
    write(lake, {ours: b"half", b".tmp-holiday.jpg": b"x"})
    root = LocalRoot(str(lake))

    assert names(root) == [b".tmp-holiday.jpg"]
    assert root.skipped == {"unfinished temporary files": 1}


def test_pipes_and_sockets_are_left_out(lake, write, monkeypatch):
    """Opening them would wait for ever."""
    write(lake, {b"a": b"x"})
    os.mkfifo(lake / "pipe")
    monkeypatch.chdir(lake)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        root = LocalRoot(str(lake))

        assert names(root) == [b"a"]
    assert root.skipped == {"sockets, pipes and devices": 2}


def test_links_stay_below_the_root(lake, write, tmp_path):
    """A link to a file below the root is a file; any other link is left out and counted."""
    write(lake, {b"d/a": b"x"})
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "lake-too").mkdir()
    (lake / "inside").symlink_to("d/a")
    (lake / "outside").symlink_to("../secret")
    (lake / "sibling").symlink_to("../lake-too")
    (lake / "folder").symlink_to("d")
    (lake / "loop").symlink_to(".")
    (lake / "nothing").symlink_to("d/none")
    root = LocalRoot(str(lake))

    assert names(root) == [b"d/", b"inside"]
    assert root.skipped == {
        "links that leave the root": 3,
        "links to folders of the same root": 1,
        "links to nothing": 1,
    }


def test_a_root_may_itself_be_a_link(lake, write, tmp_path):
    """What counts is where the files are."""
    write(lake, {b"a": b"x"})
    (lake / "again").symlink_to("a")
    (tmp_path / "link").symlink_to("lake")
    root = LocalRoot(str(tmp_path / "link"))

    assert names(root) == [b"a", b"again"]
    assert root.read(b"again", 10)[1] == b"x"


def test_names_need_not_be_text(lake, write):
    """A name in another encoding is listed, named by its URI, and read."""
    key = b"caf\xe9/100%\xff.jpg"
    write(lake, {key: b"x"})
    root = LocalRoot(str(lake))

    (entry,) = list_files([root])

    assert entry.key == key
    assert entry.uri == f"file://{lake}/caf%E9/100%25%FF.jpg"
    assert path_of(entry.uri) == os.fsencode(lake) + b"/" + key
    assert root.read(key, 10)[1] == b"x"


def test_a_folder_that_cannot_be_listed_is_refused(lake, write):
    """Nothing is left out silently: here a folder whose path is longer than the system takes."""
    write(lake, {b"a": b"x"})
    home = os.open(lake, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=home)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=home)
        os.close(home)
        home = below
    os.close(home)

    with pytest.raises(
        UsageError, match=r"ddd/: this part .* cannot be listed \(File name too long"
    ):
        list(list_files([LocalRoot(str(lake))]))


def test_a_root_that_goes_away_is_refused(lake, write):
    """A lost mount must not look like an empty source."""
    write(lake, {b"a/1": b"x", b"b/1": b"x"})
    entries = list_files([LocalRoot(str(lake))])
    next(entries)
    lake.rename(lake.with_name("moved"))

    with pytest.raises(UsageError, match=r"source root .*lake: no such folder; mount it"):
        list(entries)


def test_a_folder_that_goes_away_is_not(lake, write):
    """It was deleted meanwhile, so its files are no longer there to list."""
    write(lake, {b"a/1": b"x", b"b/1": b"x", b"c": b"x"})
    entries = list_files([LocalRoot(str(lake))])
    next(entries)
    (lake / "b" / "1").unlink()
    (lake / "b").rmdir()

    assert [entry.key for entry in entries] == [b"c"]


def test_reading_tells_facts_and_bytes(lake, write):
    """The facts are those of the listing while nothing changes; above the limit nothing is read."""
    write(lake, {b"a": b"12345", b"empty": b""})
    root = LocalRoot(str(lake))

    assert root.read(b"a", 5) == (root.facts(b"a"), b"12345")
    assert root.read(b"empty", 5) == (root.facts(b"empty"), b"")
    assert root.read(b"a", 4) == (root.facts(b"a"), None)


def test_what_has_come_to_lie_outside_is_not_read(lake, write, tmp_path):
    """A file, or a folder above it, that became a link out of the root counts as gone."""
    write(lake, {b"a": b"x", b"d/b": b"x"})
    write(tmp_path, {b"out/b": b"secret"})
    (lake / "a").unlink()
    (lake / "a").symlink_to("../out/b")
    (lake / "d" / "b").unlink()
    (lake / "d").rmdir()
    (lake / "d").symlink_to("../out")
    root = LocalRoot(str(lake))

    for key in (b"a", b"d/b"):
        with pytest.raises(FileNotFoundError):
            root.read(key, 10)


def test_what_is_no_plain_file_is_not_read(lake, write):
    """A pipe in a file's place does not hold the reader; a folder is no file."""
    os.mkfifo(lake / "pipe")
    write(lake, {b"d/a": b"x"})
    root = LocalRoot(str(lake))

    for key in (b"pipe", b"d", b"none"):
        with pytest.raises(FileNotFoundError):
            root.read(key, 10)
    with pytest.raises(NotADirectoryError):
        root.read(b"d/a/b", 10)


def test_a_part_of_a_file_is_read_at_its_offset(lake, write):
    """As for a member of an archive."""
    write(lake, {b"a": b"0123456789"})
    path = os.fsencode(lake) + b"/a"

    assert read_file(path, 4, 3, 4)[1] == b"3456"
    assert read_file(path, 4, 8, 4)[1] == b"89"


def test_parts_are_read_of_plain_files_below_the_root_only(lake, write, tmp_path):
    """As whole files are; a part beyond the end is shorter."""
    write(lake, {b"a": b"0123456789", b"d/x": b""})
    write(tmp_path, {b"secret": b"secret"})
    (lake / "link").symlink_to(lake / "a")
    (lake / "out").symlink_to(tmp_path / "secret")
    os.mkfifo(lake / "pipe")
    root = LocalRoot(str(lake))

    assert root.read_range(b"a", 2, 5) == b"234"
    assert root.read_range(b"link", 8, 20) == b"89"
    assert root.read_range(b"a", 20, 30) == b""
    with root.open(b"a") as (facts, file):
        assert (facts.size, file.read()) == (10, b"0123456789")
    for key in (b"out", b"d", b"pipe", b"none", b"../secret"):
        with pytest.raises(FileNotFoundError):
            root.read_range(key, 0, 1)
    assert [root.reaches(key) for key in (b"a", b"link", b"out", b"../secret", b"none")] == [
        *(True, True, False, False, True)
    ]
