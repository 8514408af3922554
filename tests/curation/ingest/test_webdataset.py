"""Tar archives as sources: which members are rows, and what stands beside them."""

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.ingest import spans
from curation.ingest.entries import START
from curation.ingest.load import load_bytes
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.webdataset import WebDatasetConfig, WebDatasetSource
from curation.ingest.work_list import freeze_lists, shard_rows
from tests.fakes.lake import TIME_NS
from tests.fakes.sources import write_tar

JPEG = b"\xff\xd8\xff"
LATER_NS = TIME_NS + 1_000_000_000


@pytest.fixture
def source(lake):
    return WebDatasetConfig(name="lake", roots=(str(lake),))


def by_key(rows, *names):
    return {row["source_key"].partition("!")[2]: tuple(row[n] for n in names) for row in rows}


def test_members_are_images_by_their_bytes_or_endings(lake, source, rows_of, caplog):
    """Side-cars are no rows; a broken image is one; others are left out and counted."""
    members = [
        ("1.jpg", JPEG + b"one"),
        ("1.txt", b"a cat"),
        ("2.picture", JPEG + b"two"),
        ("2.txt", b"BM is how a bitmap begins, and a sentence too"),
        ("3.png", b"no image"),
        ("3.cls", b"7"),
        ("4.npy", b"\x93NUMPY"),
        ("lonely.txt", b"without an image"),
    ]
    write_tar(lake / "a.tar", members)

    assert by_key(rows_of(source), "alt_text", "image_bytes") == {
        "1.jpg": ("a cat", JPEG + b"one"),
        "2.picture": ("BM is how a bitmap begins, and a sentence too", JPEG + b"two"),
        "3.png": (None, b"no image"),
    }
    assert "left out 2 members of archives that are no images" in caplog.text
    assert "left out 1 side-cars without an image" in caplog.text


def test_side_cars_share_the_name_up_to_the_first_point(lake, source, rows_of):
    """The convention of WebDataset; the folder counts, and a JSON object becomes the metadata."""
    members = [
        ("x/1.jpg", JPEG),
        ("x/1.seg.png", b"\x89PNG\r\n\x1a\n"),
        ("x/1.json", json.dumps({"caption": "one", "license": "CC0", "n": 1}).encode()),
        ("y/1.jpg", JPEG),
        ("y/1.txt", b"other"),
        ("y/1.seg.txt", b"of the mask"),
    ]
    write_tar(lake / "a.tar", members)

    assert by_key(rows_of(source), "alt_text", "license", "metadata") == {
        "x/1.jpg": ("one", "CC0", '{"caption":"one","license":"CC0","n":1}'),
        "x/1.seg.png": ("one", "CC0", '{"caption":"one","license":"CC0","n":1}'),
        "y/1.jpg": ("other", None, None),
    }


def test_repeated_names_are_told_apart(lake, source, rows_of):
    """By ordinals in the archive's order; each has the side-car of its own turn."""
    members = [("a.jpg", JPEG + b"%d" % n) for n in range(3)]
    members[1:1] = [("a.txt", b"first")]
    members += [("a.txt", b"second")]
    write_tar(lake / "a.tar", members)

    rows = rows_of(source)

    assert [(r["source_ordinal"], r["image_bytes"][3:], r["alt_text"]) for r in rows] == [
        (0, b"0", "first"),
        (1, b"1", "second"),
        (2, b"2", None),
    ]
    assert len({row["image_id"] for row in rows}) == 3


def test_members_that_could_lead_outside_are_refused(lake, source, rows_of, tmp_path):
    """Names are never paths, and what is no plain member is no image; each row says why."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(lake / "a.tar", "w") as archive:
        for name in ("/etc/x.jpg", "../secret.jpg", "a/../../secret.jpg", "fine..jpg"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("null.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("folder", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.jpg")
            archive.addfile(info)

    outside = "outside: the source names a place outside of itself"
    assert by_key(rows_of(source), "source_error", "image_bytes") == {
        "/etc/x.jpg": (outside, None),
        "../secret.jpg": (outside, None),
        "a/../../secret.jpg": (outside, None),
        "fine..jpg": (None, b"data"),
        "hard.jpg": ("refused: a link is not taken in", None),
        "link.jpg": ("refused: a link is not taken in", None),
        "null.jpg": ("refused: a device is not taken in", None),
        "pipe.jpg": ("refused: a device is not taken in", None),
    }


def test_a_broken_archive_is_a_row_beside_its_good_members(lake, source, rows_of):
    """Cut, empty, or no archive at all."""
    write_tar(lake / "cut.tar", [("1.jpg", JPEG + bytes(600)), ("2.jpg", JPEG + bytes(600))])
    data = (lake / "cut.tar").read_bytes()
    (lake / "cut.tar").write_bytes(data[:2600])
    (lake / "empty.tar").write_bytes(b"")
    (lake / "noise.tar").write_bytes(b"noise" * 1000)

    assert [(row["source_key"], row["source_error"]) for row in rows_of(source)] == [
        ("cut.tar!", "truncated: the tar data ends too early"),
        ("cut.tar!1.jpg", None),
        ("empty.tar!", "empty: the file has no bytes"),
        ("noise.tar!", "undecodable: the tar data cannot be decoded"),
    ]


def test_a_compressed_archive_is_refused(lake, source, rows_of):
    """With what to do about it."""
    (lake / "a.TAR.gz").write_bytes(b"\x1f\x8b")

    with pytest.raises(UsageError, match=r"a\.TAR\.gz: a compressed archive .* unpack it to a pl"):
        rows_of(source)


def test_an_ambiguous_name_is_refused(lake, source, rows_of):
    """`a.tar!b.tar!c` must be in one archive only."""
    write_tar(lake / "a.tar!b.tar", [("c.jpg", JPEG)])

    with pytest.raises(UsageError, match=r"has '\.tar!' in its path.*rename it"):
        rows_of(source)


def test_keys_come_in_byte_order_across_archives(lake, source, rows_of):
    """A name that ends sooner comes where `!` puts it."""
    for name in ("a.tar", "a.tar b.tar", "a.tar.tar", "a/x.tar", "B.TAR"):
        (lake / name).parent.mkdir(exist_ok=True)
        write_tar(lake / name, [("1.jpg", JPEG), ("0.jpg", JPEG)])

    keys = [row["source_key"] for row in rows_of(source)]

    assert keys == sorted(keys)
    assert len(keys) == 10


def test_an_archive_that_grew_has_new_rows_only(lake, write, dataset, source, ingest, lines):
    """What was there is told by its header, place and first bytes; a new caption is a change."""
    members = [(f"{n}.jpg", JPEG + b"%d" % n) for n in range(3)]
    members += [("0.txt", b"old")]
    write_tar(lake / "a.tar", members)
    ingest(dataset, source)
    write_tar(lake / "a.tar", [*members, ("3.jpg", JPEG), ("1.txt", b"late")], LATER_NS)
    ingest(dataset, source)
    assert lines(dataset, 1)[0] == [("a.tar!1.jpg", "changed"), ("a.tar!3.jpg", "new")]

    write_tar(lake / "a.tar", [*members, ("3.jpg", JPEG), ("1.txt", b"next")], LATER_NS + 10**9)
    ingest(dataset, source)
    assert lines(dataset, 2)[0] == [("a.tar!1.jpg", "changed")]


def test_an_archive_that_did_not_change_is_not_opened(lake, dataset, source, ingest, monkeypatch):
    """Its time and size tell."""
    write_tar(lake / "a.tar", [("1.jpg", JPEG)])
    write_tar(lake / "b.tar", [("1.jpg", JPEG)])
    ingest(dataset, source)
    data = bytearray((lake / "a.tar").read_bytes())
    data[:512] = b"x" * 512  # would be `undecodable`
    (lake / "a.tar").write_bytes(data)
    os.utime(lake / "a.tar", ns=(TIME_NS, TIME_NS))

    assert ingest(dataset, source) == []
    os.utime(lake / "a.tar", ns=(LATER_NS, LATER_NS))
    assert ingest(dataset, source) == [1]


def test_an_archive_that_grows_between_listing_and_reading_costs_nothing(lake, source, dataset):
    """The members that were listed are still what they were."""
    members = [("1.jpg", JPEG + b"1"), ("2.jpg", JPEG + b"2")]
    write_tar(lake / "a.tar", members)
    list(freeze_lists(dataset, source))
    write_tar(lake / "a.tar", [*members, ("3.jpg", JPEG)], LATER_NS)

    table = make_image_shard(shard_rows(dataset, 0, 0, 0), source, Tombstones())

    assert table["image_bytes"].to_pylist() == [JPEG + b"1", JPEG + b"2"]


def test_large_members_are_not_read(lake, rows_of, source):
    """And large side-cars neither; the row says so."""
    write_tar(
        lake / "a.tar", [("1.jpg", JPEG + bytes(9)), ("2.jpg", JPEG), ("2.txt", b"x" * 2**21)]
    )
    small = source.model_copy(update={"max_file_bytes": 4})

    assert by_key(rows_of(small), "source_error", "metadata") == {
        "1.jpg": ("too_large: 12 bytes are more than the limit of 4", None),
        "2.jpg": (None, '{"sidecar_error":"txt: more than 1048576 bytes"}'),
    }


def test_a_shard_reads_its_ranges_together(lake, source, dataset, monkeypatch):
    """Neighbours in an archive are one read, for ingest as for what was left in place."""
    members = [(f"{n}.{ending}", JPEG + b"%d" % n) for n in range(3) for ending in ("jpg", "txt")]
    write_tar(lake / "a.tar", members)
    left = source.model_copy(update={"store": "reference"})
    list(freeze_lists(dataset, left))
    reads = []

    class Counted(spans.Spans):
        def __init__(self, wanted, read):
            def counted(start, stop):
                reads.append((start, stop))
                return read(start, stop)

            super().__init__(wanted, counted)

    monkeypatch.setattr("curation.ingest.webdataset.Spans", Counted)
    monkeypatch.setattr("curation.ingest.load.Spans", Counted)

    table = make_image_shard(shard_rows(dataset, 0, 0, 0), left, Tombstones())
    assert len(reads) == 1
    assert load_bytes(table, ("file",)) == [JPEG + b"%d" % n for n in range(3)]
    assert len(reads) == 2
    assert table["source_offset"].to_pylist() == [512, 2560, 4608]
    assert table["source_length"].to_pylist() == [4, 4, 4]


def test_bytes_that_changed_in_place_are_not_given(lake, source, dataset):
    """By reference the hash tells, whatever the archive's time says."""
    write_tar(lake / "a.tar", [("1.jpg", JPEG + b"1"), ("2.jpg", JPEG + b"2")])
    left = source.model_copy(update={"store": "reference"})
    list(freeze_lists(dataset, left))
    table = make_image_shard(shard_rows(dataset, 0, 0, 0), left, Tombstones())
    data = (lake / "a.tar").read_bytes()
    (lake / "a.tar").write_bytes(data.replace(JPEG + b"1", JPEG + b"x"))

    assert load_bytes(table, ("file",)) == [
        "changed: the file differs from what was listed",
        JPEG + b"2",
    ]
    (lake / "a.tar").unlink()
    assert set(load_bytes(table, ("file",))) == {"unavailable: the source could not be read"}


def test_an_archive_of_many_members_is_indexed_in_passing(lake, tmp_path, source):
    """A hundred thousand members: as many rows as images, each shard with its own ranges."""
    header = bytearray(tarfile.TarInfo("000000.xxx").tobuf(tarfile.USTAR_FORMAT))
    bare = sum(header[:148]) + sum(header[156:]) + 8 * 32 - sum(header[:10]) - sum(header[124:135])
    with (lake / "a.tar").open("wb") as file:
        for n in range(50_000):
            for ending, data in ((b"jpg", JPEG + b"%d" % n), (b"txt", b"%d" % n)):
                header[:10] = b"%06d.%s" % (n, ending)
                header[124:135] = b"%011o" % len(data)
                header[148:155] = b"%06o\0" % (bare + sum(header[:10]) + sum(header[124:135]))
                file.write(header + data.ljust(512, b"\0"))
        file.write(bytes(1024))
    dataset = Dataset.open_or_create(str(tmp_path / "many"))
    lists = list(freeze_lists(dataset, source))

    rows = shard_rows(dataset, 40, lists[10].seq, 10)
    table = make_image_shard(rows, source, Tombstones())

    assert lists[-1].shards.stop == 49
    assert table["alt_text"].to_pylist() == [str(n) for n in range(40 * 1024, 41 * 1024)]


def test_ranges_on_a_store_are_read_together(memory, lake, dataset, source, monkeypatch):
    """What was left in an archive on an object store comes in one request."""
    write_tar(lake / "a.tar", [(f"{n}.jpg", JPEG + b"%d" % n) for n in range(3)])
    memory.pipe_file("/bucket/a b%.tar", (lake / "a.tar").read_bytes())
    there = source.model_copy(update={"roots": ("memory://bucket",), "store": "reference"})
    list(freeze_lists(dataset, there))
    table = make_image_shard(shard_rows(dataset, 0, 0, 0), there, Tombstones())
    reads = []
    cat_file = type(memory).cat_file

    def noted(self, path, start=None, end=None, **settings):
        reads.append((start, end))
        return cat_file(self, path, start=start, end=end, **settings)

    monkeypatch.setattr(type(memory), "cat_file", noted)

    assert load_bytes(table, ("memory",)) == [JPEG + b"%d" % n for n in range(3)]
    assert reads == [(512, 2564)]


NAMES = st.text("a!. /tr", min_size=1, max_size=6).filter(lambda name: name.strip("/ ") == name)


@given(st.sets(NAMES, min_size=1, max_size=4), st.sets(NAMES, min_size=1, max_size=4))
def test_any_names_give_one_order(archives, members):
    """Whatever stands before `.tar` and behind `!`, places rise and resume."""
    paths = {f"{name}.tar" for name in archives if "//" not in name and ".tar!" not in f"{name}!"}
    paths = {path for path in paths if "." not in path.split("/") and ".." not in path.split("/")}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "always.tar").touch()
        for path in sorted(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_tar(root / path, [(f"{name}.jpg", JPEG) for name in members])
        config = WebDatasetConfig(name="lake", roots=(folder,))

        places = [entry.place for entry in flat(config, START)]
        middle = places[len(places) // 2]

        assert places == sorted(set(places))
        assert len(places) == len(paths) * len(members) + 1
        assert [entry.place for entry in flat(config, middle)] == [p for p in places if p > middle]


def flat(config, after):
    for container in WebDatasetSource(config).entries(after):
        yield from container.entries()


def test_names_need_not_be_text(lake, source, rows_of):
    """Bytes that are no UTF-8, and what keys escape."""
    name = "caf\udce9 100%!.jpg"
    write_tar(lake / "a.tar", [(name, JPEG)])

    (row,) = rows_of(source)

    assert row["source_key"] == "a.tar!caf%E9 100%25!.jpg"
    assert row["image_bytes"] == JPEG
