"""One seam for shards in files and in spans, while other processes turn one into the other."""

import pytest

from curation import shard_files, spans
from curation.compact import compact_group, find_groups
from curation.dataset import Dataset
from curation.spans import expand_span
from schemas import dataset as layout
from tests.curation.small_dataset import make_small_dataset
from tests.fakes.groups import set_group_size


@pytest.fixture(autouse=True)
def _groups_of_two(monkeypatch):
    set_group_size(monkeypatch, 2)


@pytest.fixture
def dataset(tmp_path):
    return make_small_dataset(tmp_path / "small")


@pytest.fixture
def folder(dataset):
    """The folder of a stage that has all three shards."""
    (fingerprint,) = dataset.store.names("size")
    return layout.instance_folder("size", fingerprint)


def compact(dataset):
    """Do it as another process does."""
    other = Dataset.open(dataset.store.url)
    assert {compact_group(other, group) for group in find_groups(other)} == {None}


def everything(dataset, folder):
    return [(dataset.files.read(folder, n), dataset.files.digests(folder, n)) for n in (0, 1, 2)]


def test_a_reader_that_listed_before_finds_the_span(dataset, folder):
    """And one that listed the span finds the files; each time the same values."""
    assert dataset.files.shards(folder) == [0, 1, 2]
    before = everything(dataset, folder)
    schema = dataset.files.schema(folder, 0)

    compact(dataset)
    assert everything(dataset, folder) == before
    assert dataset.files.shards(folder) == [0, 1, 2]
    assert dataset.files.schema(folder, 0).remove_metadata() == schema.remove_metadata()
    expand_span(dataset.store, folder, 0)
    assert everything(dataset, folder) == before
    assert all(dataset.files.exists(folder, n) for n in (0, 1, 2))
    assert not dataset.files.exists(folder, 3)


def test_a_span_is_listed_once_among_the_files(dataset, folder):
    """Whoever takes files instead of shards takes each row once."""
    compact(dataset)

    shards = dataset.files.shards(folder)

    assert dataset.files.files(folder, shards) == (
        f"{folder}/00000/span.parquet",
        f"{folder}/00001/shard-00000002.parquet",
    )
    assert dataset.files.files(layout.IMAGES, [0]) == (layout.images_path(0),)


def test_a_shard_that_is_nowhere_is_missing_under_its_own_name(dataset, folder):
    """The error names the shard's file, whatever was looked for besides."""
    for name in (folder, layout.IMAGES):
        with pytest.raises(FileNotFoundError, match=r"shard-00000007\.parquet"):
            dataset.files.read(name, 7)


def test_a_footer_is_read_once_until_the_file_is_another(dataset, folder, monkeypatch):
    """A footer of a thousand row groups is megabytes; an outdated one would give wrong rows."""
    read = []

    def count(file, group, where):
        read.append(group)
        return spans.read_footer(file, group, where)

    monkeypatch.setattr(shard_files, "read_footer", count)
    compact(dataset)
    before = everything(dataset, folder)
    assert read == [0]
    longer = dataset.files.read(folder, 0).slice(0, 2)
    Dataset.open(dataset.store.url).files.replace(folder, 0, longer)
    compact(dataset)

    assert dataset.files.read(folder, 0).equals(longer)
    assert read == [0, 0]
    assert before[1][0].equals(dataset.files.read(folder, 1))


def test_only_so_many_footers_are_held(dataset, folder, monkeypatch):
    """Memory does not grow with the number of groups."""
    monkeypatch.setattr(shard_files, "_FOOTERS", 1)
    compact(dataset)
    (fingerprint,) = dataset.store.names("score")

    for name in (folder, f"score/{fingerprint}", folder):
        assert len(dataset.files.read(name, 0)) == 4
        assert len(dataset.files._footers) == 1


def test_deleting_a_shard_expands_its_group(dataset, folder):
    """The others stay, each in its own file, and the shard is gone for everybody."""
    compact(dataset)
    listed = Dataset.open(dataset.store.url)
    listed.files.shards(folder)

    dataset.files.delete(folder, 1)

    for reader in (dataset, listed, Dataset.open(dataset.store.url)):
        assert not reader.files.exists(folder, 1)
        assert len(reader.files.read(folder, 0)) == 4
        with pytest.raises(FileNotFoundError):
            reader.files.read(folder, 1)
    assert dataset.files.shards(folder) == [0, 2]
    dataset.files.delete(folder, 1)  # nothing happens where there is none
