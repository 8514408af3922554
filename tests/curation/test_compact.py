"""Compacting and expanding groups of a dataset of three shards, of which two are a group."""

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import storage
from curation.compact import compact_group, find_groups
from curation.dataset import Dataset
from curation.errors import DatasetError
from curation.inventory import applied_instances, applied_pipelines
from curation.spans import expand_span
from curation.sql import open_tables
from curation.storage import Store
from curation.tables import DIGESTS, read_table, write_table
from schemas import dataset as layout
from tests.curation.small_dataset import REGISTRY, make_small_dataset
from tests.fakes.groups import set_group_size
from tests.fakes.runs import files_of

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _groups_of_two(monkeypatch):
    set_group_size(monkeypatch, 2)


@pytest.fixture
def dataset(tmp_path):
    return make_small_dataset(tmp_path / "small")


def folders_of(dataset):
    """Return instance -> its folder."""
    config = applied_pipelines(dataset)["small"]
    instances = applied_instances(dataset, config, REGISTRY)
    return {i.name: layout.instance_folder(i.name, i.fingerprint) for i in instances}


def compact(dataset):
    """Compact all that can be; return why groups were left."""
    return [compact_group(dataset, group) for group in find_groups(dataset)]


def stage_files(dataset):
    """Return path -> bytes of everything below the stages' folders."""
    found = {}
    for folder in folders_of(dataset).values():
        for name in dataset.store.files(folder):
            found[name] = dataset.store.read(name)
    return found


def answers(url):
    """Ask everything of the stages that can be asked, in a new `Dataset`."""
    dataset = Dataset.open(str(url))
    found = {}
    for name, folder in folders_of(dataset).items():
        shards = dataset.files.shards(folder)
        found[name] = [
            (
                shard,
                read_with_metadata(dataset, folder, shard),
                dataset.files.read(folder, shard, [f"{name}_error", "row"]).to_pydict(),
                dataset.files.digests(folder, shard),
                dataset.files.exists(folder, shard),
            )
            for shard in shards
        ]
    with open_tables(dataset, REGISTRY).query("SELECT * FROM rows ORDER BY shard, row") as result:
        found["sql"] = result.read().to_pylist()
    return found


def read_with_metadata(dataset, folder, shard):
    table = dataset.files.read(folder, shard)
    fields = [(f.name, str(f.type), f.nullable, f.metadata) for f in table.schema]
    return table.to_pylist(), fields, table.schema.metadata


class Killed(BaseException):
    """The process ends here."""


def kill_at(monkeypatch, number):
    """Raise at the n-th commit point from now; return a list of those that were reached."""
    reached = []

    def hook(point, path):
        reached.append((point, path))
        if len(reached) == number:
            raise Killed

    monkeypatch.setattr(storage, "fault_hook", hook)
    return reached


# Which groups ---------------------------------------------------------------------------------


def test_a_group_is_finished_when_all_its_shards_are_there(dataset):
    """Images never are; the group of shard 2 lacks shard 3, which nobody has listed."""
    size, score = folders_of(dataset).values()

    found = find_groups(dataset)

    assert [(g.path, len(g.files), g.has_span) for g in found] == [
        (f"{score}/00000", 2, False),
        (f"{size}/00000", 2, False),
    ]
    assert all(g.num_bytes == sum(dataset.store.size(f) for f in g.files) for g in found)


def test_a_group_with_a_shard_missing_is_not_finished(tmp_path):
    """One in quarantine is missing too."""
    dataset = make_small_dataset(tmp_path / "small", missing=[(1, "score")])

    assert [g.folder for g in find_groups(dataset)] == [folders_of(dataset)["size"]]


def test_shards_that_nobody_listed_make_no_group(dataset):
    """A whole group of files that no work list promises is left alone."""
    folder = folders_of(dataset)["size"]
    for shard in (2, 3):
        table = dataset.files.read(folder, 0)
        write_table(dataset.store, f"{folder}/{layout.shard_file(shard)}", table)

    assert {g.number for g in find_groups(dataset)} == {0}


# What it makes --------------------------------------------------------------------------------


def test_a_span_has_a_row_group_a_shard_and_their_digests(dataset):
    """And the schema of their files, so that whoever reads Parquet can read it."""
    folder = folders_of(dataset)["size"]
    paths = [f"{folder}/{layout.shard_file(shard)}" for shard in (0, 1)]
    tables = [read_table(dataset.store, path) for path in paths]
    old = pq.ParquetFile(dataset.store.local(paths[0])).schema_arrow
    digests = [dataset.files.digests(folder, shard) for shard in (0, 1)]

    assert compact(dataset) == [None, None]

    assert dataset.store.files(f"{folder}/00000") == [f"{folder}/00000/span.parquet"]
    span = pq.ParquetFile(dataset.store.local(f"{folder}/00000/span.parquet"))
    assert span.num_row_groups == 2
    kept = json.loads(span.metadata.metadata[b"longtail.digests"])
    assert kept == {"00000000": digests[0], "00000001": digests[1]}
    assert all(digests)
    assert [dataset.files.digests(folder, shard) for shard in (0, 1)] == digests
    assert span.schema_arrow.remove_metadata().equals(old.remove_metadata(), check_metadata=True)
    kept = {k: v for k, v in old.metadata.items() if k != DIGESTS}
    assert {k: v for k, v in (span.schema_arrow.metadata or {}).items() if k != DIGESTS} == kept
    assert [field.metadata for field in span.schema_arrow] == [field.metadata for field in old]
    whole = read_table(dataset.store, f"{folder}/00000/span.parquet")
    assert whole.equals(pa.concat_tables(tables), check_metadata=True)


@pytest.mark.parametrize("place", ["local", "memory"])
def test_readers_see_no_difference(tmp_path, place):
    """Values, order, metadata, digests and SQL are those of single files; so after expanding."""
    url = tmp_path / "small" if place == "local" else f"memory://compact-{next(_numbers)}"
    dataset = make_small_dataset(url)
    before, files = answers(dataset.store.url), stage_files(dataset)

    assert compact(dataset) == [None, None]

    assert len(stage_files(dataset)) == len(files) - 2
    assert answers(dataset.store.url) == before
    for folder in folders_of(dataset).values():
        expand_span(dataset.store, folder, 0)
    assert stage_files(dataset) == files  # byte for byte
    assert answers(dataset.store.url) == before


def test_compacting_again_gives_the_same_bytes(dataset):
    """A span is a pure function of what its shards hold."""
    compact(dataset)
    first = stage_files(dataset)
    for folder in folders_of(dataset).values():
        expand_span(dataset.store, folder, 0)

    compact(dataset)

    assert stage_files(dataset) == first
    assert find_groups(dataset) == []


def test_empty_shards_keep_their_place(dataset):
    """A shard without rows has a row group without rows."""
    folder = folders_of(dataset)["size"]
    path = f"{folder}/{layout.shard_file(0)}"
    write_table(dataset.store, path, read_table(dataset.store, path).slice(0, 0))
    files = stage_files(dataset)

    assert compact(dataset) == [None, None]

    assert [len(dataset.files.read(folder, shard)) for shard in (0, 1)] == [0, 4]
    expand_span(dataset.store, folder, 0)
    assert dataset.store.read(path) == files[path]


# Kills ----------------------------------------------------------------------------------------


def test_killed_at_any_commit_point_it_leaves_the_same_answers(tmp_path, monkeypatch):
    """Run again, it ends as if nobody had disturbed it."""
    whole = make_small_dataset(tmp_path / "whole")
    expected = answers(whole.store.url)
    reached = kill_at(monkeypatch, 0)
    compact(whole)
    num_points = len(reached)
    assert num_points == 2 * (3 + 2 * 2)  # of each group: one file put, two deleted
    for number in range(1, num_points + 1):
        dataset = make_small_dataset(tmp_path / str(number))
        kill_at(monkeypatch, number)
        with pytest.raises(Killed):
            compact(dataset)
        monkeypatch.setattr(storage, "fault_hook", None)
        assert answers(dataset.store.url) == expected, reached[number - 1]
        assert set(compact(dataset)) <= {None}
        assert stage_files(dataset) == stage_files(whole), reached[number - 1]


def test_expanding_killed_at_any_commit_point_leaves_the_same_answers(tmp_path, monkeypatch):
    """Until the span is gone it is what counts; run again, the files are those of before."""
    whole = make_small_dataset(tmp_path / "whole")
    expected, files = answers(whole.store.url), stage_files(whole)
    folder = folders_of(whole)["score"]
    compact(whole)
    reached = kill_at(monkeypatch, 0)
    expand_span(whole.store, folder, 0)
    num_points = len(reached)
    assert num_points == 2 * 3 + 2
    for number in range(1, num_points + 1):
        dataset = make_small_dataset(tmp_path / str(number))
        monkeypatch.setattr(storage, "fault_hook", None)
        compact(dataset)
        kill_at(monkeypatch, number)
        with pytest.raises(Killed):
            expand_span(dataset.store, folder, 0)
        monkeypatch.setattr(storage, "fault_hook", None)
        assert answers(dataset.store.url) == expected, reached[number - 1]
        expand_span(dataset.store, folder, 0)
        expand_span(dataset.store, folders_of(dataset)["size"], 0)
        assert stage_files(dataset) == files, reached[number - 1]


def test_shard_files_beside_a_span_do_not_count(dataset):
    """Whatever they hold: neither for readers nor when the group is expanded."""
    folder = folders_of(dataset)["size"]
    path = f"{folder}/{layout.shard_file(1)}"
    files, before = stage_files(dataset), answers(dataset.store.url)
    other = read_table(dataset.store, f"{folder}/{layout.shard_file(0)}")
    compact(dataset)
    write_table(dataset.store, path, other)

    assert answers(dataset.store.url) == before
    (group,) = find_groups(dataset)
    assert (group.files, group.has_span) == ((path,), True)
    expand_span(dataset.store, folder, 0)
    assert dataset.store.read(path) == files[path]


# Others at work -------------------------------------------------------------------------------


def test_a_group_that_is_rewritten_meanwhile_is_left_alone(dataset, monkeypatch):
    """What was written last stands: the span would bring back what was there before."""
    folder = folders_of(dataset)["size"]
    table = dataset.files.read(folder, 1)
    error = pa.array(["forgotten"] * len(table))
    index = table.schema.get_field_index("size_error")
    changed = table.set_column(index, table.schema.field(index), error)

    def change(point, path):
        if point == "before" and path == f"{folder}/00000/span.parquet":
            monkeypatch.setattr(storage, "fault_hook", None)
            dataset.files.replace(folder, 1, changed)

    monkeypatch.setattr(storage, "fault_hook", change)

    assert [why for why in compact(dataset) if why] == [
        "changed meanwhile; run the same command again"
    ]
    assert Dataset.open(dataset.store.url).files.read(folder, 1).equals(changed)
    assert compact(dataset) == [None]
    assert Dataset.open(dataset.store.url).files.read(folder, 1).equals(changed)


def test_a_span_that_was_taken_apart_meanwhile_costs_no_file(dataset, monkeypatch):
    """A group that was left half compacted, and that somebody rewrote before its turn came."""
    (group, *_) = find_groups(dataset)
    with monkeypatch.context() as patch:
        reached = kill_at(patch, 4)  # before, written and after the span; before the first delete
        with pytest.raises(Killed):
            compact_group(dataset, group)
        assert reached[-1][1].endswith("00000000.parquet"), reached
    stale = next(g for g in find_groups(dataset) if g.folder == group.folder)
    assert stale.has_span
    dataset.files.replace(group.folder, 0, dataset.files.read(group.folder, 0))
    there = dataset.store.names(group.path)

    assert compact_group(dataset, stale) == "changed meanwhile; run the same command again"
    assert (
        dataset.store.names(group.path)
        == there
        == [
            "shard-00000000.parquet",
            "shard-00000001.parquet",
        ]
    )


def test_a_shard_that_goes_meanwhile_ends_it(dataset, monkeypatch):
    """A retry has deleted a file that was listed."""
    (score, size) = find_groups(dataset)
    dataset.store.delete(size.files[1])

    assert compact_group(dataset, size) == "changed meanwhile; run the same command again"
    assert compact_group(dataset, score) is None


def test_who_rewrites_while_a_span_is_made_does_it_again(dataset, monkeypatch):
    """A change that fell between the span and the deletion of its files is not lost."""
    folder = folders_of(dataset)["size"]
    (_, group) = find_groups(dataset)
    table = dataset.files.read(folder, 1)
    index = table.schema.get_field_index("size_error")
    error = pa.array(["forgotten"] * len(table))
    changed = table.set_column(index, table.schema.field(index), error)

    def compact_now(point, path):
        if point == "before":
            monkeypatch.setattr(storage, "fault_hook", None)
            assert compact_group(Dataset.open(dataset.store.url), group) is None

    monkeypatch.setattr(storage, "fault_hook", compact_now)

    dataset.files.replace(folder, 1, changed)

    assert Dataset.open(dataset.store.url).files.read(folder, 1).equals(changed)
    names = dataset.store.names(f"{folder}/00000")
    assert names == ["shard-00000000.parquet", "shard-00000001.parquet"]


# Files that cannot be compacted ---------------------------------------------------------------


def test_files_with_other_descriptions_are_left_as_they_are(dataset):
    """A span has one schema, and readers shall see no difference."""
    folder = folders_of(dataset)["size"]
    path = f"{folder}/{layout.shard_file(1)}"
    table = read_table(dataset.store, path)
    write_table(dataset.store, path, table.replace_schema_metadata({"table": "of old"}))
    files = stage_files(dataset)

    (_, why) = compact(dataset)

    assert why == "columns are described otherwise from shard 1 on; stays as it is"
    assert {n: files[n] for n in files if n.startswith(folder)} == {
        n: data for n, data in stage_files(dataset).items() if n.startswith(folder)
    }


def test_a_file_with_other_values_than_its_footer_says_is_refused(dataset):
    """Nothing is deleted whose values cannot be vouched for."""
    folder = folders_of(dataset)["size"]
    path = dataset.store.local(f"{folder}/{layout.shard_file(1)}")
    table = pq.read_table(path)
    doubled = pa.compute.multiply(table["size_width"], 2)
    pq.write_table(
        table.set_column(3, table.schema.field(3), doubled.cast(pa.int32())),
        path,
    )
    files = files_of(Path(dataset.store.root))

    with pytest.raises(DatasetError, match="shard 1: the values of column size_width are not"):
        compact_group(dataset, find_groups(dataset)[1])

    assert files_of(Path(dataset.store.root)) == files


def test_what_is_no_span_is_refused(dataset):
    """The sentence names the shards that it should have held."""
    folder = folders_of(dataset)["size"]
    data = dataset.store.read(f"{folder}/{layout.shard_file(0)}")
    dataset.store.put(layout.span_path(folder, 0), data)

    with pytest.raises(DatasetError, match="not the span of shards 0 to 1; restore it"):
        Dataset.open(dataset.store.url).files.read(folder, 0)


def test_a_local_file_is_created_in_a_store_like_bytes(tmp_path):
    """Piece by piece, and only if nobody has made it."""
    (tmp_path / "here").write_bytes(b"x" * 100)
    for url in (str(tmp_path / "store"), f"memory://compact-{next(_numbers)}"):
        store = Store(url)
        assert store.create("a/b", tmp_path / "here")
        assert not store.create("a/b", tmp_path / "here")
        assert store.read("a/b") == b"x" * 100
        assert store.files("") == ["a/b"]


def test_large_values_stay_in_files_of_their_own(dataset):
    """A span has one row group a shard, and what is read row by row would be read whole."""
    before = stage_files(dataset)
    for name in before:
        if name.endswith(".parquet"):
            table = read_table(dataset.store, name)
            described = {**table.schema.field(3).metadata, b"storage": b"bulk"}
            field = table.schema.field(3).with_metadata(described)
            write_table(dataset.store, name, table.set_column(3, field, table.column(3)))

    left = compact(dataset)

    assert left
    assert set(left) == {"holds large values that are read row by row; stays as it is"}
    assert set(stage_files(dataset)) == set(before)
