"""Words that came with forgotten images leave the work lists, and do not come back."""

import hashlib
import json
import os

import pytest

from curation import storage
from curation.dataset import Dataset
from curation.forget import Request, erase, find
from curation.ingest.lists import ListConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows
from curation.tables import to_parquet
from schemas.dataset import images_path
from stages.registry import STAGES

FILES = {"a.png": b"1", "b.png": b"2", "c.png": b"3"}


class Lake:
    """Files that a list names, and the dataset that they go to."""

    def __init__(self, folder):
        self.folder = folder
        self.captions = {name: f"JANE DOE in {name}" for name in FILES}
        for name, data in FILES.items():
            (folder / "files").mkdir(exist_ok=True)
            self.write(name, data)
        self.dataset = Dataset.open_or_create(str(folder / "dataset"), max_shard_rows=2)

    def write(self, name, data):
        """Put a file where the list looks for it."""
        (self.folder / "files" / name).write_bytes(data)

    def ingest(self, **options):
        """List and take in; return the changes of this ingest."""
        lines = [
            json.dumps({"path": name, "caption": text, "phone": "555"})
            for name, text in self.captions.items()
        ]
        (self.folder / "l.jsonl").write_text("\n".join(lines))
        source = ListConfig(
            name="lake",
            roots=(str(self.folder / "files"),),
            lists=(str(self.folder / "l.jsonl"),),
            caption_column="caption",
            list_shards=1,
            **options,
        )
        num_before = len(self.dataset.ingests())
        list(freeze_lists(self.dataset, source))
        for shard, (seq, number) in pending_shards(self.dataset).items():
            rows = shard_rows(self.dataset, shard, seq, number)
            table = make_image_shard(rows, source, read_tombstones(self.dataset))
            self.dataset.store.put(images_path(shard), to_parquet(table))
        return [
            (line["key"], line["change"], line["alt_text"])
            for state in self.dataset.ingests()[num_before:]
            for number in state.lists
            for line in self.dataset.read_list(state.seq, number).to_pylist()
        ]

    def forget(self, data):
        request = Request(contents=frozenset([hashlib.sha256(data).digest()]))
        found = find(self.dataset, request, STAGES)
        return erase(self.dataset, found, "asked to", "", purge=False)

    def words(self):
        """Return (key, text) for every text in the work lists."""
        return [
            (line["key"], line[name])
            for state in self.dataset.ingests()
            for number in state.lists
            for line in self.dataset.read_list(state.seq, number).to_pylist()
            for name in ("alt_text", "metadata", "license")
            if line[name]
        ]


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path)
    assert len(lake.ingest()) == 3
    return lake


def keys(words):
    return {key for key, _ in words}


def test_the_words_go_and_the_lines_stay(lake):
    """Also the metadata; the words of others stay, and so do ids."""
    before = [lake.dataset.read_list(0, n).to_pylist() for n in range(2)]
    ids = [lake.dataset.read_images(n, ["image_id"]) for n in range(2)]

    done = lake.forget(FILES["b.png"])

    assert keys(lake.words()) == {"a.png", "c.png"}
    assert done.lists == ("ingest/00000000/list-00000000.parquet",)
    after = [lake.dataset.read_list(0, n).to_pylist() for n in range(2)]
    before[0][1] |= {"alt_text": None, "metadata": None}
    assert after == before
    assert [lake.dataset.list_shards(0, n) for n in range(2)] == [range(1), range(1, 2)]
    assert ids == [lake.dataset.read_images(n, ["image_id"]) for n in range(2)]
    assert lake.forget(FILES["b.png"]).lists == ()


def test_the_next_ingest_neither_lists_the_place_nor_its_words(lake):
    """Whether they are as they were or others; a place that was not forgotten is listed."""
    lake.forget(FILES["b.png"])
    assert lake.ingest() == []

    lake.captions = {name: f"JANE again in {name}" for name in FILES}

    assert lake.ingest() == [
        ("a.png", "changed", "JANE again in a.png"),
        ("c.png", "changed", "JANE again in c.png"),
    ]
    assert keys(lake.words()) == {"a.png", "c.png"}


def test_another_image_at_the_place_is_listed_without_words_at_first(lake):
    """Nobody knows yet that it is another one; once it is taken in, its words are a change."""
    lake.forget(FILES["b.png"])
    lake.write("b.png", b"another")

    assert lake.ingest() == [("b.png", "changed", None)]
    assert lake.ingest() == [("b.png", "changed", "JANE DOE in b.png")]
    assert lake.ingest() == []


def test_the_same_image_with_another_date_stays_without_words(lake):
    """It is refused again, and then known."""
    lake.forget(FILES["b.png"])
    os.utime(lake.folder / "files" / "b.png", ns=(0, 1_800_000_000_000_000_000))

    assert lake.ingest() == [("b.png", "changed", None)]
    assert lake.ingest() == []


def test_a_place_that_vanished_and_came_back_stays_without_words(lake):
    """Vanished lines hold no words either."""
    lake.forget(FILES["b.png"])
    caption = lake.captions.pop("b.png")
    del lake.captions["c.png"]
    assert lake.ingest(sync=True) == [("b.png", "vanished", None), ("c.png", "vanished", None)]
    lake.captions["b.png"] = caption

    assert lake.ingest(sync=True) == [("b.png", "new", None)]
    assert lake.ingest(sync=True) == []


def test_a_copy_that_was_listed_later_loses_its_words_with_the_next_call(lake):
    """Its row never had them."""
    lake.forget(FILES["b.png"])
    lake.write("d.png", FILES["b.png"])
    lake.captions["d.png"] = "JANE DOE elsewhere"
    lake.ingest()
    row = lake.dataset.read_images(2).to_pylist()[0]
    assert (row["source_key"], row["alt_text"], row["metadata"]) == ("d.png", None, None)

    lake.forget(FILES["b.png"])

    assert keys(lake.words()) == {"a.png", "c.png"}
    assert lake.ingest() == []


def test_two_calls_at_once_bring_no_words_back(lake, monkeypatch):
    """Both rewrite the same list."""
    waiting = [FILES["a.png"]]

    def interrupt(point, name):
        if point == "before" and name.startswith("ingest/") and waiting:
            lake.forget(waiting.pop())

    monkeypatch.setattr(storage, "fault_hook", interrupt)
    lake.forget(FILES["b.png"])

    assert not waiting
    assert keys(lake.words()) == {"c.png"}
