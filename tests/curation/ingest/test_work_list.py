"""Frozen lists: what they promise, and that nothing can part them from the source."""

import json

import pytest

from curation import storage
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.ingest.folder import FolderConfig, FolderSource
from curation.ingest.local_root import LocalRoot
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows

LATER_NS = 1_800_000_000_000_000_000


class WatchedRoot(LocalRoot):
    """A local root that remembers the folders that were listed."""

    def __init__(self, path):
        super().__init__(path)
        self.scanned = []

    def scan(self, folder):
        self.scanned.append(folder)
        return super().scan(folder)


class KilledError(Exception):
    """Stands for the end of the process."""


def files(*names, size=1):
    return {f"{name}".encode(): f"{name}".encode().ljust(size) for name in names}


def ingest_files(dataset):
    """Return name -> content of everything below `ingest/`."""
    return {name: dataset.store.read(name) for name in dataset.store.files("ingest")}


def done(dataset, seq):
    return json.loads(dataset.store.read(f"ingest/{seq:08d}/done.json"))


def test_a_list_holds_whole_shards(lake, write, dataset, source):
    """Ten files in shards of three, two shards a list: the last shard and list are shorter."""
    write(lake, files(*range(10)))

    lists = list(freeze_lists(dataset, source))

    assert [(frozen.seq, frozen.number, frozen.shards) for frozen in lists] == [
        (0, 0, range(2)),
        (0, 1, range(2, 4)),
    ]
    tables = [dataset.read_list(0, number) for number in (0, 1, 2)]
    assert [table["shard"].to_pylist() for table in tables] == [
        [0, 0, 0, 1, 1, 1],
        [2, 2, 2, 3],
        [],
    ]
    assert tables[0]["row"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert [key for table in tables for key in table["key"].to_pylist()] == sorted(
        map(str, range(10))
    )
    assert done(dataset, 0) == {
        "format": 1,
        "seq": 0,
        "source": {
            "name": "lake",
            "kind": "folder",
            "roots": [str(lake)],
            "store": "bytes",
            "sync": False,
        },
        "lists": 2,
        "shards": [0, 4],
        "rows": {"new": 10, "changed": 0, "vanished": 0},
    }


def test_a_shard_ends_at_the_byte_limit(lake, write, tmp_path):
    """Listed sizes count; a file above the limit is alone, one that is not read counts nothing."""
    dataset = Dataset.open_or_create(str(tmp_path / "ds"), max_shard_rows=9, max_shard_bytes=10)
    write(lake, {b"a": bytes(4), b"b": bytes(6), b"c": bytes(1), b"d": bytes(15), b"e": bytes(1)})
    write(lake, {b"f": bytes(99), b"g": bytes(9), b"h": bytes(1)})
    source = FolderConfig(name="lake", roots=(str(lake),), max_file_bytes=20, list_shards=1)

    lists = [dataset.read_list(f.seq, f.number) for f in freeze_lists(dataset, source)]

    assert [table["key"].to_pylist() for table in lists] == [
        ["a", "b"],
        ["c"],
        ["d"],
        ["e", "f", "g"],
        ["h"],
    ]
    assert [set(table["shard"].to_pylist()) for table in lists] == [{0}, {1}, {2}, {3}, {4}]


def test_the_first_shard_is_promised_before_the_listing_ends(lake, write, dataset, source):
    """A list is on disk as soon as it is full, with most folders still unseen."""
    write(lake, files(*(f"{folder:03d}/x" for folder in range(100))))
    root = WatchedRoot(str(lake))

    frozen = next(freeze_lists(dataset, source, opened=FolderSource(source, roots=[root])))

    assert frozen.shards == range(2)
    assert dataset.listed_shards() == {0: (0, 0), 1: (0, 0)}
    assert len(root.scanned) < 10


def test_a_killed_ingest_resumes_to_the_same_bytes(lake, write, source, tmp_path, monkeypatch):
    """Killed at any commit, once or again and again, the lists are those of a quiet run."""
    write(lake, files(*range(10)))
    quiet = Dataset.open_or_create(str(tmp_path / "quiet"), max_shard_rows=3)
    list(freeze_lists(quiet, source))
    expected = ingest_files(quiet)
    assert len(expected) == 4

    def run_until_killed(dataset, countdown):
        """Run with the process dying at commit step `countdown`; return whether it lived."""
        steps = iter(range(countdown))

        def die(point, path):
            if next(steps, None) is None:
                raise KilledError(f"{point} {path}")

        monkeypatch.setattr(storage, "fault_hook", die)
        try:
            list(freeze_lists(dataset, source))
        except KilledError:
            return False
        finally:
            monkeypatch.setattr(storage, "fault_hook", None)
        return True

    for step in range(100):
        dataset = Dataset.open_or_create(str(tmp_path / f"killed-{step}"), max_shard_rows=3)
        if run_until_killed(dataset, step):
            break
        list(freeze_lists(dataset, source))
        assert ingest_files(dataset) == expected, step
    assert step == 3 * len(expected)

    often = Dataset.open_or_create(str(tmp_path / "often"), max_shard_rows=3)
    while not run_until_killed(often, 2):
        pass
    assert ingest_files(often) == expected


def test_resuming_lists_nothing_twice(lake, write, dataset, source):
    """The folders before the last frozen key are not listed again."""
    write(lake, files(*(f"{folder:03d}/x" for folder in range(20))))
    lists = freeze_lists(dataset, source)
    next(lists)
    next(lists)
    lists.close()
    root = WatchedRoot(str(lake))

    assert [
        frozen.number
        for frozen in freeze_lists(dataset, source, opened=FolderSource(source, roots=[root]))
    ] == [2, 3]
    assert root.scanned == [b"", *(b"%03d/" % folder for folder in range(11, 20))]


def test_nothing_new_leaves_nothing_behind(lake, write, dataset, source, ingest):
    """A second run over the same files writes no file at all."""
    write(lake, files(*range(4)))
    ingest(dataset, source)
    before = dataset.store.files("")

    assert ingest(dataset, source) == []
    assert dataset.store.files("") == before


def test_the_next_ingest_lists_what_differs(lake, write, dataset, source, ingest, lines):
    """New files and changed ones, with the shard numbers going on."""
    write(lake, files(*range(4)))
    ingest(dataset, source)
    write(lake, {b"1": b"other bytes", b"00": b"new"})
    write(lake, files(3), LATER_NS)

    assert ingest(dataset, source) == [2]
    assert lines(dataset, 1) == [[("00", "new"), ("1", "changed"), ("3", "changed")], []]
    assert done(dataset, 1)["shards"] == [2, 3]
    assert done(dataset, 1)["rows"] == {"new": 1, "changed": 2, "vanished": 0}
    assert ingest(dataset, source) == []


def test_the_latest_line_counts(lake, write, dataset, source, ingest, lines):
    """A file that changes back differs from its latest line, not from its first."""
    write(lake, files("a", "b"))
    ingest(dataset, source)
    write(lake, {b"b": b"longer"})
    ingest(dataset, source)
    write(lake, files("b"))
    ingest(dataset, source)

    assert [lines(dataset, seq)[0] for seq in (0, 1, 2)] == [
        [("a", "new"), ("b", "new")],
        [("b", "changed")],
        [("b", "changed")],
    ]


def test_a_moved_lake_is_the_same_source(lake, write, dataset, source, ingest):
    """Keys are below the root, so another root with the same files has nothing new."""
    write(lake, files(*range(4)))
    ingest(dataset, source)
    moved = lake.rename(lake.with_name("elsewhere"))

    assert ingest(dataset, source.model_copy(update={"roots": (str(moved),)})) == []


def test_vanished_files_are_told_with_sync(lake, write, dataset, source, ingest, lines):
    """Without `sync` they are left alone; with it they are told once, and may come back."""
    write(lake, files("a", "b", "c"))
    ingest(dataset, source)
    (lake / "a").unlink()
    (lake / "c").unlink()
    assert ingest(dataset, source) == []

    sync = source.model_copy(update={"sync": True})
    assert ingest(dataset, sync) == []
    assert lines(dataset, 1) == [[("a", "vanished"), ("c", "vanished")], []]
    assert dataset.read_list(1, 0)["shard"].to_pylist() == [None, None]
    assert done(dataset, 1)["shards"] == [1, 1]
    assert ingest(dataset, sync) == []
    assert len(dataset.ingests()) == 2

    write(lake, files("c"))
    assert ingest(dataset, sync) == [1]
    assert lines(dataset, 2) == [[("c", "new")], []]


def test_vanished_lines_fill_a_list_too(lake, write, dataset, source, ingest, lines):
    """A list stays small when all is gone, and still holds whole shards."""
    write(lake, files(*"abcdefghijklm"))
    ingest(dataset, source)
    for name in "abcdefghikl":
        (lake / name).unlink()
    write(lake, files("j1", "m1"))
    sync = source.model_copy(update={"sync": True})

    assert ingest(dataset, sync) == [5, 6]
    assert [len(lines_) for lines_ in lines(dataset, 1)] == [6, 6, 1, 0]
    assert dataset.listed_shards() == {
        0: (0, 0), 1: (0, 0), 2: (0, 1), 3: (0, 1), 4: (0, 2), 5: (1, 1), 6: (1, 2)
    }  # fmt: skip


def test_another_source_waits_for_the_end(lake, write, dataset, source, ingest):
    """Shard numbers belong to one ingest at a time; the sentence names who must finish."""
    write(lake, files(*range(10)))
    next(freeze_lists(dataset, source))
    pond = source.model_copy(update={"name": "pond"})

    with pytest.raises(UsageError, match=r"ingest 0 of source 'lake' has not ended; run the pipel"):
        freeze_lists(dataset, pond)

    ingest(dataset, source)
    assert ingest(dataset, pond) == [4, 5, 6, 7]
    assert done(dataset, 1)["rows"]["new"] == 10


def test_a_refused_root_is_refused_before_listing(dataset, source, lake):
    """The call itself raises, not the first step of the iterator."""
    with pytest.raises(UsageError, match="no such folder"):
        freeze_lists(dataset, source.model_copy(update={"roots": (f"{lake}/none",)}))


def test_two_drivers_write_one_list(lake, write, dataset, source):
    """Both see the same files: each list is written once, and both come to the end."""
    write(lake, files(*range(10)))
    one, other = freeze_lists(dataset, source), freeze_lists(dataset, source)
    seen = [next(one), next(other), next(other), next(one), *one, *other]

    assert [frozen.number for frozen in seen] == [0, 0, 1, 1]
    assert dataset.ingests()[0].done is not None
    assert dataset.ingests()[0].lists == (0, 1, 2)


@pytest.mark.parametrize("first", [1, 2])
def test_two_drivers_that_see_different_files_agree(
    lake, write, dataset, source, make_shards, ingest, first
):
    """The slower one takes over what the faster one froze, and no shard is promised twice."""
    write(lake, files(*(f"d{n}/x" for n in range(9))))
    one, other = freeze_lists(dataset, source), freeze_lists(dataset, source)
    for _ in range(first):
        next(one)
    write(lake, files("d0/a", "d6/b", "d8/c"))  # folders that `one` has listed, or not yet
    by_other = [frozen.number for frozen in other]
    by_one = [frozen.number for frozen in one]

    # Neither leaves out a list that the other has frozen.
    assert by_other == [*range(len(by_other))]
    assert by_one == by_other[first:]
    shards = [shard for number in (0, 1, 2) for shard in dataset.list_shards(0, number)]
    assert shards == list(range(done(dataset, 0)["shards"][1]))
    make_shards(dataset, source)
    ingest(dataset, source)
    keys = [
        key
        for shard in dataset.image_shards()
        for key in dataset.read_images(shard, ["source_key"])["source_key"].to_pylist()
    ]
    assert sorted(keys) == sorted([*(f"d{n}/x" for n in range(9)), "d0/a", "d6/b", "d8/c"])


def test_pending_shards_are_listed_and_not_made(lake, write, dataset, source, make_shards):
    """Whatever the state of the listing, and with ingests before that are complete."""
    write(lake, files(*range(10)))
    lists = freeze_lists(dataset, source)
    next(lists)
    assert pending_shards(dataset) == {0: (0, 0), 1: (0, 0)}
    make_shards(dataset, source)
    assert pending_shards(dataset) == {}
    list(lists)
    assert pending_shards(dataset) == {2: (0, 1), 3: (0, 1)}
    assert pending_shards(dataset).items() <= dataset.listed_shards().items()
    make_shards(dataset, source)
    write(lake, files("x"))
    list(freeze_lists(dataset, source))
    assert pending_shards(dataset) == {4: (1, 0)}


def test_the_rows_of_a_shard_are_its_lines(lake, write, dataset, source):
    """In row order, and of that shard only."""
    write(lake, files(*range(10)))
    list(freeze_lists(dataset, source))

    rows = shard_rows(dataset, 3, 0, 1)

    assert rows.to_pydict()["key"] == ["9"]
    assert shard_rows(dataset, 1, 0, 0)["row"].to_pylist() == [0, 1, 2]
