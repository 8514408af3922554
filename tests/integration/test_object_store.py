"""Datasets and sources on an object store: S3 as moto serves it, over HTTP, in this process."""

import pickle
from pathlib import Path

import pytest

from curation.compact import compact_group, find_groups
from curation.dataset import Dataset
from curation.errors import DatasetError, StorageError, UsageError
from curation.ingest.folder import FolderConfig
from curation.ingest.listing import list_files
from curation.ingest.roots import open_roots
from curation.storage import Store
from tests.curation.cli.cli_runs import longtail
from tests.curation.small_dataset import make_small_dataset
from tests.fakes.groups import set_group_size
from tests.fakes.lake import image_bytes, image_keys
from tests.integration.conftest import BUCKET

pytestmark = pytest.mark.slow

ODD_KEY = "d1/né w%20+.png"


@pytest.fixture(scope="module")
def raw(endpoint: str) -> str:
    """Nine pictures, one with an odd name, an empty file, a folder's marker and an empty part."""
    store = Store(f"s3://{BUCKET}/raw")
    for key in [*image_keys(9), ODD_KEY]:
        store.put(key, image_bytes(key))
    store.put("d1/empty.jpg", b"")
    store.fs.pipe_file(f"{BUCKET}/raw/d0/", b"")
    store.fs.pipe_file(f"{BUCKET}/raw/d0//part.png", b"x")
    return store.url


def test_files_are_put_whole_read_listed_and_deleted(endpoint):
    """The store on S3 does what the one on a disk does."""
    store = pickle.loads(pickle.dumps(Store(f"s3://{BUCKET}/plain/")))

    store.put("a/b", b"first")
    store.put("a/b", b"second")
    store.put("a/empty", b"")

    assert (store.url, store.uri("a/b")) == (f"s3://{BUCKET}/plain", f"s3://{BUCKET}/plain/a/b")
    assert store.read("a/b") == b"second"
    assert store.read("a/empty") == b""
    assert store.size("a/b") == 6
    with store.open("a/b") as file:
        file.seek(3)
        assert file.read() == b"ond"
    assert store.names("") == ["a"]
    assert store.names("a") == ["b", "empty"]
    assert store.names("none") == []
    assert store.files("") == ["a/b", "a/empty"]
    assert store.exists("a/b")
    assert store.exists("a")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    with pytest.raises(FileNotFoundError):
        store.read("a/b")


@pytest.mark.parametrize("data", [b"first", b"", b"first" * (4 << 20)])
def test_only_one_creates_a_file(endpoint, data):
    """Who comes later is told so, and what the first one wrote stays.

    Writers that race are left to the store itself: moto asks whether the file is there before it
    has read the body, so between the two anybody gets past it.
    """
    name = f"created/{len(data)}"

    assert Store(f"s3://{BUCKET}/plain").create(name, data)
    assert not Store(f"s3://{BUCKET}/plain").create(name, b"later")
    assert Store(f"s3://{BUCKET}/plain").read(name) == data


def test_a_group_becomes_one_object_and_its_shards_again(endpoint, monkeypatch):
    """A footer that is held belongs to one object: a later span is read by its own."""
    set_group_size(monkeypatch, 2)
    dataset = make_small_dataset(f"s3://{BUCKET}/spans")
    (place,) = dataset.store.names("size")
    folder = f"size/{place}"
    files = {name: dataset.store.read(name) for name in dataset.store.files(folder)}
    tables = [dataset.files.read(folder, shard) for shard in (0, 1, 2)]

    assert [compact_group(dataset, group) for group in find_groups(dataset)] == [None, None]

    assert dataset.store.names(f"{folder}/00000") == ["span.parquet"]
    assert [dataset.files.read(folder, shard) for shard in (0, 1, 2)] == tables
    with dataset.store.open(f"{folder}/00000/span.parquet") as file:
        assert dataset.store.version(file)
    shorter = tables[0].slice(0, 1)
    Dataset.open(dataset.store.url).files.replace(folder, 0, shorter)
    assert {n: dataset.store.read(n) for n in files if "00000000" not in n} == {
        n: data for n, data in files.items() if "00000000" not in n
    }
    assert [compact_group(dataset, group) for group in find_groups(dataset)] == [None]
    assert [dataset.files.read(folder, n) for n in (0, 1, 2)] == [shorter, *tables[1:]]


def test_a_prefix_is_listed_in_order_with_its_facts(raw):
    """Tags and sizes come with the listing; markers are no files, empty parts cannot be named."""
    (root,) = open_roots(FolderConfig(name="lake", roots=(raw,)))

    entries = list(list_files([root]))

    assert [entry.key.decode() for entry in entries] == sorted(
        [*image_keys(9), ODD_KEY, "d1/empty.jpg"], key=str.encode
    )
    assert all(entry.facts.etag and entry.facts.size is not None for entry in entries)
    for entry in entries:
        facts, data = root.read(entry.key, 1 << 20)
        assert not entry.facts.differs(facts)
        assert data is not None
        assert len(data) == entry.facts.size
    assert root.skipped == {"keys with an empty part": 1}
    # A folder's marker has no bytes; the pictures resume after any key.
    assert [e.key for e in list_files([root], entries[4].key)] == [e.key for e in entries[5:]]


@pytest.mark.parametrize("kept", ["bytes", "reference"])
def test_a_pipeline_from_bucket_to_bucket(raw, tmp_path, capsys, kept):
    """Ingest, a stage, a second run, one without a source, SQL, a snapshot with its bytes."""
    url = f"s3://{BUCKET}/dataset-{kept}"
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    source = f"source: {{name: lake, roots: ['{raw}'], store: {kept}}}"
    head = f"dataset: {url}\nrun: {{max_shard_rows: 4}}\n"
    first.write_text(f"name: first\n{head}{source}\nstages: {{inspect: {{}}}}\n")
    second.write_text(
        f"name: second\n{head}stages: {{inspect: {{}}, embed: {{}}}}\n"
        "snapshot: {where: {intact: inspect_error IS NULL}}\n"
    )
    run = ["--runner", "local", "--workers", "2"]

    assert longtail(capsys, "run", first, *run).code == 0
    again = longtail(capsys, "run", first, *run)
    assert (again.code, again.out.split(":")[0]) == (0, "nothing to do")
    assert longtail(capsys, "run", second, *run).code == 0

    query = "SELECT source_key, inspect_width > 0, len(embed_vector) > 0, inspect_error FROM rows"
    asked = longtail(capsys, "sql", url, query, "--pipeline", "second", "--format", "csv")
    lines = asked.out.splitlines()[1:]
    assert asked.code == 0, asked.err
    assert sorted(lines) == sorted(
        [
            *(f"{key.replace('%', '%25')},true,true," for key in [*image_keys(9), ODD_KEY]),
            "d1/empty.jpg,,,empty: the file has no bytes",
        ]
    )
    assert Dataset.open(url).image_shards() == [0, 1, 2]
    assert longtail(capsys, "snapshot", "create", second).code == 0
    snapshots = Dataset.open(url).store.names("snapshots")
    assert len(snapshots) == 1
    made = longtail(capsys, "snapshot", "materialize", url, snapshots[0])
    assert (made.code, made.err) == (0, "")
    assert longtail(capsys, "snapshot", "verify", url, snapshots[0]).code == 0


def test_wrong_places_are_refused_in_sentences(raw, capsys):
    """No bucket, no dataset, something else there, a source that is not there."""
    with pytest.raises(DatasetError, match="no dataset here"):
        Dataset.open("s3://no-such-bucket/x")
    with pytest.raises(StorageError, match=r"cannot write: there is no such bucket; name another"):
        Dataset.open_or_create("s3://no-such-bucket/x")
    with pytest.raises(DatasetError, match=r"holds 'd0' but no dataset\.json"):
        Dataset.open_or_create(raw)
    with pytest.raises(UsageError, match="nothing is there; correct source.roots"):
        open_roots(FolderConfig(name="lake", roots=(f"s3://{BUCKET}/none",)))
    with pytest.raises(UsageError, match="not a folder; name the prefix"):
        open_roots(FolderConfig(name="lake", roots=(f"{raw}/d0/img000.png",)))


def test_a_store_that_cannot_be_reached_is_one_sentence(endpoint, monkeypatch, tmp_path, capsys):
    """Neither a wrong endpoint nor missing credentials end in a traceback."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    closed = longtail(capsys, "ls", f"s3://{BUCKET}/dataset")

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    unknown = longtail(capsys, "ls", f"s3://{BUCKET}/dataset")
    s3fs.S3FileSystem.clear_instance_cache()

    for ran in (closed, unknown):
        assert ran.code == 1
        assert ran.err.startswith(
            f"error: s3://{BUCKET}/dataset/dataset.json: the store cannot be "
        )
        assert len(ran.err.splitlines()) == 1
    assert "credentials" in unknown.err


def test_what_was_left_in_a_bucket_is_needed_there(raw, tmp_path):
    """A file that has gone from the bucket is a row's passing error, not a failed run."""
    from curation.ingest.load import load_bytes
    from curation.ingest.make_shard import make_image_shard
    from curation.ingest.tombstones import Tombstones
    from curation.ingest.work_list import freeze_lists, shard_rows

    place = Store(f"s3://{BUCKET}/left")
    place.put("a.png", image_bytes("a.png"))
    place.put("b.png", image_bytes("b.png"))
    dataset = Dataset.open_or_create(str(Path(tmp_path / "dataset")))
    source = FolderConfig(name="left", roots=(place.url,), store="reference")
    list(freeze_lists(dataset, source))
    images = make_image_shard(shard_rows(dataset, 0, 0, 0), source, Tombstones())
    place.delete("b.png")

    assert load_bytes(images, ("s3",)) == [
        image_bytes("a.png"),
        "unavailable: the source could not be read",
    ]
