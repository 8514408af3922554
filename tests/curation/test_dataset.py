"""Opening, refusing and listing a dataset."""

import json
import os
import time
import uuid

import pyarrow as pa
import pytest

from curation.dataset import Dataset
from curation.errors import ConfigError, DatasetError, StorageError
from curation.fingerprint import pretty_json
from curation.storage import ABANDONED_S, Store
from curation.tables import write_table
from schemas import dataset as layout
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST


@pytest.fixture
def dataset(tmp_path):
    return Dataset.open_or_create(str(tmp_path / "data"), max_shard_rows=3)


def describe(**changes):
    """Return a `dataset.json` with some values changed."""
    value = {
        "format": "longtail-dataset",
        "layout": 1,
        "dataset_id": "0" * 32,
        "max_shard_rows": 10,
        "max_shard_bytes": 1 << 20,
    }
    return pretty_json({**value, **changes})


def list_rows(shards):
    """Make a work list whose lines go to `shards`, null for vanished ones."""
    columns = {name: [None] * len(shards) for name in INGEST_LIST.names}
    return pa.table(columns | {"shard": shards, "row": [0] * len(shards)}, schema=INGEST_LIST)


def test_a_new_dataset_keeps_its_limits(dataset):
    """Limits count when it is made; whoever opens it later gets those, and the same id."""
    again = Dataset.open_or_create(dataset.store.url, max_shard_rows=99)

    assert again.info == dataset.info == Dataset.open(dataset.store.url).info
    assert again.info.max_shard_rows == 3
    assert uuid.UUID(again.info.dataset_id).version == 4


def test_two_that_create_at_once_agree(tmp_path, monkeypatch):
    """Who loses the race opens what the other made."""
    url = str(tmp_path / "data")
    create = Store.create

    def create_late(store, name, data):
        create(store, name, describe(dataset_id="other"))
        return create(store, name, data)

    monkeypatch.setattr(Store, "create", create_late)

    assert Dataset.open_or_create(url).info.dataset_id == "other"


def test_nothing_there_is_refused(tmp_path):
    """Opening never makes a dataset."""
    with pytest.raises(DatasetError, match="no dataset here .dataset.json is missing."):
        Dataset.open(str(tmp_path / "nowhere"))

    assert not (tmp_path / "nowhere").exists()


def test_a_newer_layout_is_refused(tmp_path):
    """The sentence says which layouts are meant and what to do."""
    (tmp_path / "dataset.json").write_bytes(describe(layout=2, news="unknown to us"))

    with pytest.raises(
        DatasetError,
        match="written in layout 2, this version reads up to layout 1; install a newer longtail",
    ):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"layout: 1"])
def test_what_is_not_json_is_refused(tmp_path, content):
    """A damaged description is named, not guessed at."""
    (tmp_path / "dataset.json").write_bytes(content)

    with pytest.raises(DatasetError, match="dataset.json: not JSON; restore the file"):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize(
    "content", [b"[]", b"7", b"null", b"{}", b'{"layout": "1"}', b'{"layout": 1, "format": "x"}']
)
def test_other_json_is_refused(tmp_path, content):
    """A `dataset.json` of another program is none of ours."""
    (tmp_path / "dataset.json").write_bytes(content)

    with pytest.raises(DatasetError, match="not the description of a dataset"):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_shard_rws": 5}, "dataset.json.max_shard_rws: unknown key"),
        ({"max_shard_rows": "many"}, "dataset.json.max_shard_rows: Input should be a valid int"),
    ],
)
def test_odd_values_are_refused(tmp_path, changes, sentence):
    """A key or value that layout 1 does not have is named with its path."""
    (tmp_path / "dataset.json").write_bytes(describe(**changes))

    with pytest.raises(ConfigError, match=sentence):
        Dataset.open(str(tmp_path))


def test_a_foreign_folder_is_left_alone(tmp_path):
    """A folder with other content is no place for a dataset."""
    (tmp_path / "holiday.jpg").write_bytes(b"x")

    with pytest.raises(DatasetError, match="holds 'holiday.jpg' but no dataset.json"):
        Dataset.open_or_create(str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_half_made_dataset_is_no_foreign_folder(tmp_path):
    """Who was killed while making `dataset.json` leaves a temporary, and may try again."""
    (tmp_path / ".tmp-0123").write_bytes(b"{")

    assert Dataset.open_or_create(str(tmp_path)).info.layout == 1


def test_a_file_is_no_place_for_a_dataset(tmp_path):
    """A dataset needs a folder."""
    (tmp_path / "data").write_bytes(b"x")

    with pytest.raises(StorageError, match="name another folder"):
        Dataset.open_or_create(str(tmp_path / "data"))


def test_a_dataset_in_memory(tmp_path):
    """Any fsspec URL will do."""
    url = f"memory://{tmp_path.name}-{uuid.uuid4().hex}"

    made = Dataset.open_or_create(url)

    assert Dataset.open(url).info == made.info
    assert made.image_shards() == []


def test_shards_are_found_by_listing(dataset):
    """Numbers come sorted over groups; temporaries and strangers do not count."""
    for shard in (1000, 2, 999):
        dataset.store.put(layout.images_path(shard), b"x")
    dataset.store.put(layout.instance_path("luma", "0123", 5), b"x")
    dataset.store.put("images/00000/.tmp-1", b"x")
    dataset.store.put("images/00000/notes.txt", b"x")
    dataset.store.put("images/old/shard-00000007.parquet", b"x")

    assert dataset.image_shards() == [2, 999, 1000]
    assert dataset.instance_shards("luma", "0123") == [5]
    assert dataset.instance_shards("luma", "4567") == []


def test_columns_of_images_are_read_by_name(dataset):
    """Whoever names columns does not fetch the bytes."""
    rows = pa.table({name: [None] for name in IMAGES.names}, schema=IMAGES)
    write_table(dataset.store, layout.images_path(0), rows)

    assert dataset.read_images(0, ["source_key"]).column_names == ["source_key"]
    assert dataset.read_images(0).schema.names == IMAGES.names
    assert set(dataset.files.digests(layout.IMAGES, 0)) == set(IMAGES.names) - {"image_bytes"}


def test_ingests_promise_their_shards(dataset):
    """Each list says which shards it holds; a list of vanished files holds none."""
    write_table(dataset.store, layout.list_path(0, 0), list_rows([0, 0, 1]))
    write_table(dataset.store, layout.list_path(0, 1), list_rows([2]))
    write_table(dataset.store, layout.list_path(0, 2), list_rows([]))
    dataset.store.put(layout.ingest_done_path(0), json.dumps({"seq": 0}).encode())
    write_table(dataset.store, layout.list_path(1, 0), list_rows([None, None]))
    write_table(dataset.store, layout.list_path(1, 1), list_rows([None, 3]))

    first, second = dataset.ingests()

    assert (first.seq, first.lists, first.done) == (0, (0, 1, 2), {"seq": 0})
    assert (second.seq, second.lists, second.done) == (1, (0, 1), None)
    assert dataset.list_shards(0, 0) == range(2)
    assert dataset.list_shards(0, 2) == dataset.list_shards(1, 0) == range(0)
    assert dataset.listed_shards() == {0: (0, 0), 1: (0, 0), 2: (0, 1), 3: (1, 1)}


def test_a_run_removes_what_killed_writers_left_behind(tmp_path):
    """Temporary files older than a day go as their folder is listed; younger ones may be alive."""
    dataset = Dataset.open_or_create(str(tmp_path / "d"))
    dataset.store.put("images/00000/shard-00000000.parquet", b"x")
    folder = tmp_path / "d" / "images" / "00000"
    old, young, foreign = (f".tmp-{c * 32}" for c in ("a", "b", "z"))
    before = time.time() - ABANDONED_S - 60
    for name in (old, young, foreign):
        (folder / name).write_bytes(b"half")
    for name in (old, foreign):
        os.utime(folder / name, (before, before))

    assert Dataset.open(str(tmp_path / "d")).image_shards() == [0]
    assert (folder / old).exists()  # who only reads removes nothing

    again = Dataset.open_or_create(str(tmp_path / "d"))
    assert again.image_shards() == [0]
    assert sorted(path.name for path in folder.iterdir()) == [
        young,
        foreign,
        "shard-00000000.parquet",
    ]
