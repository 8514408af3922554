"""What every kind of source keeps, over the dict of kinds."""

import pickle

import pyarrow as pa
import pytest

from curation import storage
from curation.config import validate
from curation.dataset import Dataset
from curation.errors import ConfigError, UsageError
from curation.ingest.entries import START, Container, Entry, Place
from curation.ingest.kinds import SOURCES, open_source
from curation.ingest.load import load_bytes
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows
from curation.pipeline.config import parse_pipeline
from curation.tables import to_parquet
from schemas.dataset import images_path
from tests.fakes.lake import TIME_NS, image_bytes
from tests.fakes.runs import read_images, read_instance, run_stages
from tests.fakes.sources import FAKES, config_of

KINDS = sorted(SOURCES)
VERSIONED = [kind for kind in KINDS if kind != "urls"]  # of a URL, listing knows nothing but words
NOT_BY_REFERENCE = {
    "parquet": r"no range of bytes to refer to.*use store: bytes",
    "urls": r"what is behind a URL changes and goes away.*store: bytes",
}
LATER_NS = TIME_NS + 1_000_000_000
IMAGES = {f"img{n:02d}.png": b"\x89PNG\r\n\x1a\n" + b"%d" % n * (n + 1) for n in range(12)}


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def make(tmp_path):
    """Make an empty dataset with shards of three rows."""

    def dataset(name="dataset"):
        return Dataset.open_or_create(str(tmp_path / name), max_shard_rows=3)

    return dataset


def ingest(dataset, config):
    """Run one ingest to its end; return the shards that it made."""
    list(freeze_lists(dataset, config))
    return make_shards(dataset, config)


def make_shards(dataset, config):
    """Make what is listed and missing."""
    pending = pending_shards(dataset)
    for shard, (seq, number) in pending.items():
        rows = shard_rows(dataset, shard, seq, number)
        table = make_image_shard(rows, config, Tombstones())
        dataset.store.put(images_path(shard), to_parquet(table))
    return list(pending)


def held(dataset):
    """Return (id, bytes) of every row, by id."""
    names = ["image_id", "image_bytes"]
    return sorted(
        tuple(row.values())
        for shard in dataset.image_shards()
        for row in dataset.read_images(shard, names).to_pylist()
    )


def lists(dataset):
    return {name: dataset.store.read(name) for name in dataset.store.files("ingest")}


def flat(config, after=START):
    """List a source with every container opened."""
    for found in open_source(config).entries(after):
        if isinstance(found, Container):
            yield from found.entries()
        else:
            yield found


def test_every_kind_has_a_fake():
    """A new kind is held to this contract."""
    assert sorted(FAKES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_entries_come_by_place_and_resume_anywhere(kind, tmp_path):
    """Each place once, in order, and the same entries from after any of them."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path)

    entries = list(flat(config))
    places = [entry.place for entry in entries]

    assert len(entries) == len(IMAGES)
    assert places == sorted(set(places))
    assert all(isinstance(entry, Entry) for entry in entries)
    for index, place in enumerate(places):
        assert list(flat(config, place)) == entries[index + 1 :]
    assert list(flat(config, Place(b"\xff"))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_containers_name_what_is_inside(kind, tmp_path):
    """Keys inside begin with the container's prefix, and no other key does."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)

    for found in open_source(config_of(kind, tmp_path)).entries(START):
        if isinstance(found, Container):
            inside = list(found.entries())
            assert inside
            assert all(entry.key.startswith(found.prefix) for entry in inside)
            assert {entry.container for entry in inside} == {found.facts}


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_a_row_with_its_bytes(kind, tmp_path, make):
    """Untouched, whatever holds them."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    dataset = make()

    assert ingest(dataset, config_of(kind, tmp_path)) == [0, 1, 2, 3]
    assert sorted(data for _, data in held(dataset)) == sorted(IMAGES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_two_ingests_hold_what_one_does(kind, tmp_path, make):
    """A part of the images and then all of them, or all of them at once: the same current rows."""
    half = dict(list(IMAGES.items())[:5])
    FAKES[kind].write(tmp_path, half, TIME_NS)
    twice, once = make("twice"), make("once")
    ingest(twice, config_of(kind, tmp_path))
    FAKES[kind].write(tmp_path, IMAGES, LATER_NS if kind in ("parquet", "webdataset") else TIME_NS)
    ingest(twice, config_of(kind, tmp_path))
    ingest(once, config_of(kind, tmp_path))

    assert len(held(once)) == len(IMAGES)
    assert sorted(set(held(twice))) == held(once)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_new_leaves_nothing_behind(kind, tmp_path, make):
    """A second ingest of the same content writes no file."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    dataset = make()
    ingest(dataset, config_of(kind, tmp_path))
    before = dataset.store.files("")

    assert ingest(dataset, config_of(kind, tmp_path)) == []
    assert dataset.store.files("") == before


@pytest.mark.parametrize("kind", VERSIONED)
def test_a_changed_image_is_changed_and_a_vanished_one_vanishes(kind, tmp_path, make):
    """With `sync`; the other places keep their ids."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    dataset = make()
    ingest(dataset, config_of(kind, tmp_path, sync=True))
    before = dict(held(dataset))
    now = {name: data for name, data in IMAGES.items() if name != "img03.png"}
    now["img05.png"] = b"\x89PNG\r\n\x1a\nanother"
    FAKES[kind].write(tmp_path, now, LATER_NS)
    ingest(dataset, config_of(kind, tmp_path, sync=True))

    changes = pa.concat_tables(dataset.read_list(1, n) for n in dataset.ingests()[1].lists)
    by_change = {
        kind: [row["key"] for row in changes.to_pylist() if row["change"] == kind]
        for kind in ("new", "changed", "vanished")
    }
    gone = by_change["vanished"] or [  # a list still names it, and says that nothing is there
        row["key"] for row in changes.to_pylist() if row["error"] is not None
    ]
    after = dict(held(dataset))
    assert [key.endswith("img03.png") for key in gone] == [True]
    assert by_change["new"] == []
    assert any(key.endswith("img05.png") for key in by_change["changed"])
    assert {data for id, data in after.items() if id not in before} == {now["img05.png"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_listing_resumes_to_the_same_bytes(kind, tmp_path, make, monkeypatch):
    """Killed at every commit in turn, the frozen lists are those of a quiet run."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path, list_shards=1)
    list(freeze_lists(make("quiet"), config))
    expected = lists(make("quiet"))
    dataset = make("often")
    runs = 0

    def run_until_killed():
        steps = iter(range(2))

        def die(point, path):
            if next(steps, None) is None:
                raise KilledError(f"{point} {path}")

        monkeypatch.setattr(storage, "fault_hook", die)
        try:
            list(freeze_lists(dataset, config))
        except KilledError:
            return False
        finally:
            monkeypatch.setattr(storage, "fault_hook", None)
        return True

    while not run_until_killed():
        runs += 1

    assert runs >= 4
    assert lists(dataset) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_is_a_pure_function_of_its_lines(kind, tmp_path, make):
    """By anybody, twice, and row by row as a retry reads it: the same table."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path)
    dataset = make()
    list(freeze_lists(dataset, config))
    rows = shard_rows(dataset, 1, 0, 0)

    table = make_image_shard(rows, config, Tombstones())
    again = make_image_shard(rows, pickle.loads(pickle.dumps(config)), Tombstones())
    single = [
        make_image_shard(rows.slice(row, 1), config, Tombstones()) for row in range(len(rows))
    ]

    assert table["source_error"].null_count == len(rows) == 3
    assert table.equals(again)
    assert table.equals(pa.concat_tables(single))


@pytest.mark.parametrize("kind", VERSIONED)
def test_content_that_changes_after_listing_is_changed_and_listed_again(kind, tmp_path, make):
    """No bytes that were not listed come in, and the next ingest takes them."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path)
    dataset = make()
    list(freeze_lists(dataset, config))
    now = {name: b"\x89PNG\r\n\x1a\nnow " + data[8:] for name, data in IMAGES.items()}
    FAKES[kind].write(tmp_path, now, LATER_NS)
    make_shards(dataset, config)
    errors = {
        text
        for shard in dataset.image_shards()
        for text in dataset.read_images(shard, ["source_error"])["source_error"].to_pylist()
    }
    ingest(dataset, config)

    assert errors == {"changed: the file differs from what was listed"}
    assert sorted(data for _, data in held(dataset) if data) == sorted(now.values())


@pytest.mark.parametrize("kind", KINDS)
def test_content_that_changes_in_the_middle_of_a_listing_is_taken_in_the_end(kind, tmp_path, make):
    """Half of it was frozen as it was before; the next ingest finds that half."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path, list_shards=1)
    dataset = make()
    first = freeze_lists(dataset, config)
    next(first)
    first.close()
    now = {name: b"\x89PNG\r\n\x1a\nnow " + data[8:] for name, data in IMAGES.items()}
    FAKES[kind].write(tmp_path, now, LATER_NS)
    ingest(dataset, config)
    ingest(dataset, config)

    assert sorted(data for _, data in held(dataset) if data) == sorted(now.values())
    assert ingest(dataset, config) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_runs_over_it(kind, tmp_path):
    """From the section in a pipeline file to a stage's columns; in place where that is possible."""
    FAKES[kind].write(tmp_path, {name: image_bytes(name) for name in IMAGES}, TIME_NS)
    store = "bytes" if kind in NOT_BY_REFERENCE else "reference"
    section = {"kind": kind, **FAKES[kind].section(tmp_path), "store": store}
    session = run_stages(tmp_path / "ds", tmp_path / "lake", {"luma": {}}, source=section)

    images, luma = read_images(session), read_instance(session, "luma")
    assert images["source_error"].null_count == len(IMAGES)
    assert images["image_bytes"].null_count == (0 if store == "bytes" else len(IMAGES))
    assert luma["luma_error"].null_count == len(luma) == len(IMAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_in_place_is_found_again(kind, tmp_path, make):
    """By reference the same bytes come, by the row's address and hash; or it is refused."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    if kind in NOT_BY_REFERENCE:
        with pytest.raises(ConfigError, match=NOT_BY_REFERENCE[kind]):
            config_of(kind, tmp_path, store="reference")
        return
    config = config_of(kind, tmp_path, store="reference")
    dataset = make()
    ingest(dataset, config)
    tables = [dataset.read_images(shard) for shard in dataset.image_shards()]

    assert all(table["image_bytes"].null_count == len(table) for table in tables)
    loaded = [data for table in tables for data in load_bytes(table, config.protocols)]
    assert sorted(loaded) == sorted(IMAGES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_moved_source_has_nothing_new(kind, tmp_path, make):
    """Keys are below the roots, so another place with the same files is the same source."""
    FAKES[kind].write(tmp_path / "here", IMAGES, TIME_NS)
    dataset = make()
    ingest(dataset, config_of(kind, tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")

    assert ingest(dataset, config_of(kind, tmp_path / "there")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_root_is_no_error_of_rows(kind, tmp_path, make):
    """The shard fails with a sentence, to be made when the mount is back."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    config = config_of(kind, tmp_path)
    dataset = make()
    list(freeze_lists(dataset, config))
    (tmp_path / "lake").rename(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="no such folder; mount it"):
        make_image_shard(shard_rows(dataset, 0, 0, 0), config, Tombstones())


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_gives_the_same_rows_as_a_folder(kind, tmp_path, make, memory_files):
    """Only addresses and versions differ."""
    FAKES[kind].write(tmp_path, IMAGES, TIME_NS)
    for path in sorted(tmp_path.rglob("*.*")):
        memory_files.pipe_file(f"/bucket/{path.relative_to(tmp_path)}", path.read_bytes())
    there = {"roots": ["memory://bucket/lake"]}
    if kind == "list":
        there["lists"] = ["memory://bucket/list.jsonl"]
    local, remote = make("local"), make("remote")

    ingest(local, config_of(kind, tmp_path))
    ingest(remote, config_of(kind, tmp_path, **there))

    assert held(remote) == held(local)
    assert len(held(local)) == len(IMAGES)


@pytest.fixture
def memory_files():
    """The memory file system, empty before and after."""
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_is_checked_in_sentences(kind, tmp_path):
    """An unknown key gets the nearest known one, with the path that the user wrote."""
    section = {"name": "lake", "kind": kind, **FAKES[kind].section(tmp_path), "syncc": True}
    text = f"name: x\ndataset: y\nsource: {section}\n"

    with pytest.raises(ConfigError) as caught:
        parse_pipeline(text, "p.yaml")

    assert str(caught.value) == "p.yaml: source.syncc: unknown key (did you mean sync?)"


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_keeps_its_source(kind, tmp_path):
    """What is written to the dataset is read as the same configuration."""
    section = {"name": "lake", "kind": kind, **FAKES[kind].section(tmp_path)}
    config = parse_pipeline(f"name: x\ndataset: y\nsource: {section}\n", "p.yaml")

    assert type(config.source) is SOURCES[kind].config_type
    assert parse_pipeline(config.to_yaml(), "again") == config
    assert config.source == validate(SOURCES[kind].config_type, section, "source")


def test_an_unknown_kind_is_refused_with_the_nearest():
    """And with all that there are."""
    text = "name: x\ndataset: y\nsource: {name: a, kind: web_dataset, roots: [b]}\n"

    with pytest.raises(ConfigError) as caught:
        parse_pipeline(text, "p.yaml")

    assert str(caught.value) == (
        f"p.yaml: source.kind: expected one of {', '.join(KINDS)}, found 'web_dataset' "
        "(did you mean webdataset?)"
    )
