"""Forgetting, on datasets that went through real stages."""

import shutil

import pyarrow as pa
import pytest

from curation import storage
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.forget import Request, erase, find, parse_request
from curation.snapshot.config import MaterializeConfig
from curation.snapshot.materialize import materialize_snapshot
from curation.snapshot.read import read_manifest, read_parts
from curation.snapshot.verify import amendment_notes, verify_snapshot
from curation.tables import write_table
from schemas import dataset as layout
from schemas.error_codes import row_error
from schemas.images import IMAGES
from stages.registry import STAGES
from tests.curation.kept_dataset import publish, rows_of, run, write_pipeline

FORGOTTEN = "forgotten: the image was forgotten on request"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of two shards with a snapshot and a materialised table; copied before each use."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = write_pipeline(folder)
    dataset = run(pipeline)
    snapshot = publish(pipeline)
    materialize_snapshot(dataset, snapshot, MaterializeConfig())
    return folder, snapshot


@pytest.fixture
def dataset(made, tmp_path):
    shutil.copytree(made[0] / "dataset", tmp_path / "dataset")
    return Dataset.open(str(tmp_path / "dataset"))


def by_key(dataset):
    return {row["source_key"]: row for row in rows_of(dataset)}


def forget(dataset, request, **options):
    found = find(dataset, request, STAGES, **options)
    return found, erase(dataset, found, "asked to", "ticket 1", purge=False)


def test_bytes_and_values_go_and_the_row_stays(dataset):
    """Its key, its id and its hash stay, for every snapshot accounts for it; nothing else does."""
    before = by_key(dataset)
    victim = before["d1/img004.png"]

    _, done = forget(dataset, Request(image_ids=frozenset({victim["image_id"]})))

    after = by_key(dataset)
    assert done.num_rows == 1
    assert after["d1/img004.png"] == {**victim, "image_bytes": None, "source_error": FORGOTTEN}
    assert victim["image_bytes"] is not None
    assert {k: v for k, v in after.items() if k != "d1/img004.png"} == {
        k: v for k, v in before.items() if k != "d1/img004.png"
    }
    assert len(done.stage_files) == 2
    for path in done.stage_files:
        name, fingerprint, _, file = path.split("/")
        shard = int(file[6:14])
        rows = dataset.read_instance(name, fingerprint, shard).to_pylist()
        (row,) = [row for row in rows if row["row"] == victim["row"]]
        values = {k: v for k, v in row.items() if k not in ("shard", "row", "image_id")}
        assert values.pop(f"{name}_error") == FORGOTTEN
        assert set(values.values()) == {None}
        others = [row for row in rows if row["row"] != victim["row"]]
        assert all(row[f"{name}_error"] != FORGOTTEN for row in others)


def test_an_id_is_one_place_and_a_content_is_everywhere(dataset):
    """A copy at another place stays unless the content is named, or `everywhere` said."""
    rows = by_key(dataset)
    first, twin = rows["d0/img000.png"], rows["d2/twin.png"]
    assert first["content_sha256"] == twin["content_sha256"]
    by_id = Request(image_ids=frozenset({first["image_id"]}))

    one = find(dataset, by_id, STAGES)
    both = find(dataset, by_id, STAGES, everywhere=True)
    content = find(dataset, Request(contents=frozenset({first["content_sha256"]})), STAGES)

    assert (one.rows.num_rows, one.num_copies) == (1, 1)
    assert (both.rows.num_rows, both.num_copies) == (2, 0)
    assert both.rows.equals(content.rows)
    assert both.tombstones.contents == {first["content_sha256"]}


def test_a_phash_finds_what_looks_like_it(dataset):
    """The picture itself at radius 0; at the largest radius others too."""
    rows = by_key(dataset)
    place = rows["d0/img003.png"]
    (fingerprint,) = dataset.store.names("inspect")
    table = dataset.read_instance("inspect", fingerprint, place["shard"])
    phash = table["inspect_phash"].to_pylist()[place["row"]]
    request = parse_request([("here", f"phash:{phash:016x}")])

    same = find(dataset, request, STAGES)
    alike = find(dataset, request, STAGES, radius=31)

    assert place["image_id"] in same.rows["image_id"].to_pylist()
    assert len(alike.rows) > len(same.rows)


def test_a_phash_without_hashes_is_refused(made, tmp_path):
    """Rather than finding nothing and calling it forgotten."""
    shutil.copytree(made[0] / "dataset", tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "pipelines")
    with pytest.raises(UsageError, match="no applied pipeline has computed a pHash"):
        find(Dataset.open(str(tmp_path / "bare")), Request(phashes=frozenset({1})), STAGES)


def test_images_that_are_not_here_are_forbidden_all_the_same(dataset):
    """A list of what must never come in may be given before it comes."""
    found, done = forget(dataset, Request(contents=frozenset({b"x" * 32})))

    assert (found.num_unknown, done.num_rows, done.image_shards) == (1, 0, ())
    assert dataset.store.names("tombstones")


def test_snapshots_that_keep_the_image_are_named(dataset, made):
    """Whoever trained on them must be told."""
    victim = by_key(dataset)["d1/img004.png"]
    manifest = read_manifest(dataset, made[1])
    kept = pa.concat_tables(read_parts(dataset, manifest, "decisions"))
    assert victim["image_id"] in kept.filter(kept["kept"])["image_id"].to_pylist()

    found, _ = forget(dataset, Request(image_ids=frozenset({victim["image_id"]})))

    (taint,) = found.taints
    assert (taint.snapshot, taint.num_images, len(taint.materialized)) == (made[1], 1, 1)
    assert dataset.store.files(taint.materialized[0])
    assert verify_snapshot(dataset, made[1]) == []  # there are no captions in it
    assert amendment_notes(dataset, made[1]) == []


def test_purge_deletes_tables_with_the_bytes_and_only_those(dataset, made):
    """The image of this table is gone; the snapshot is whole."""
    victim = by_key(dataset)["d1/img004.png"]
    found = find(dataset, Request(image_ids=frozenset({victim["image_id"]})), STAGES)

    done = erase(dataset, found, "asked to", "", purge=True)

    assert done.purged == found.taints[0].materialized
    assert dataset.store.files(done.purged[0]) == []
    assert verify_snapshot(dataset, made[1]) == []
    data = b"".join(
        (dataset.store.local("") / name).read_bytes() for name in dataset.store.files("")
    )
    assert victim["image_bytes"] not in data


@pytest.mark.parametrize("commits", range(1, 5))
def test_killed_and_called_again_it_ends_the_same(dataset, monkeypatch, commits):
    """Tombstones come first, and what was dealt with is left alone."""
    victims = frozenset(row["image_id"] for row in rows_of(dataset)[3:8])
    whole = Dataset.open(str(shutil.copytree(dataset.store.root, f"{dataset.store.root}-whole")))
    forget(whole, Request(image_ids=victims))
    left = iter(range(commits))

    def kill(point, name):
        if point == "after" and next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "fault_hook", kill)
    with pytest.raises(KeyboardInterrupt):
        forget(dataset, Request(image_ids=victims))
    monkeypatch.setattr(storage, "fault_hook", None)
    forget(dataset, Request(image_ids=victims))

    assert contents(dataset) == contents(whole)


def test_called_twice_it_writes_nothing_the_second_time(dataset):
    """So a list can be given again, with more lines."""
    request = Request(image_ids=frozenset(row["image_id"] for row in rows_of(dataset)[:2]))
    forget(dataset, request)
    before = contents(dataset)

    _, again = forget(dataset, request)

    assert (again.image_shards, again.stage_files) == ((), ())
    assert contents(dataset) == before


def test_the_next_run_refuses_the_content_and_the_next_snapshot_leaves_it_out(tmp_path):
    """A copy that turns up later is a row without bytes."""
    pipeline = write_pipeline(tmp_path)
    dataset = run(pipeline)
    victim = by_key(dataset)["d1/img004.png"]
    forget(dataset, Request(contents=frozenset({victim["content_sha256"]})))
    (tmp_path / "lake" / "again.png").write_bytes(victim["image_bytes"])

    dataset = run(pipeline)
    manifest = read_manifest(dataset, publish(pipeline))

    late = by_key(dataset)["again.png"]
    assert late["image_bytes"] is None
    assert late["source_error"].startswith("tombstoned:")
    assert manifest.conservation.tombstoned == 2


@pytest.mark.parametrize("folder", ["inspect/", "images/"])
def test_two_calls_at_once_bring_nothing_back(dataset, monkeypatch, folder):
    """One that has read a file before the other put it finds the other's tombstone afterwards."""
    first, second = rows_of(dataset)[2], rows_of(dataset)[4]
    waiting = [find(dataset, Request(image_ids=frozenset({second["image_id"]})), STAGES)]
    one = find(dataset, Request(image_ids=frozenset({first["image_id"]})), STAGES)

    def interrupt(point, name):
        if point == "before" and name.startswith(folder) and waiting:
            erase(dataset, waiting.pop(), "asked to", "", purge=False)

    monkeypatch.setattr(storage, "fault_hook", interrupt)
    erase(dataset, one, "asked to", "", purge=False)

    assert not waiting
    rows = rows_of(dataset)
    for place in (2, 4):
        assert (rows[place]["image_bytes"], rows[place]["source_error"]) == (None, FORGOTTEN)
    (fingerprint,) = dataset.store.names("inspect")
    values = dataset.read_instance("inspect", fingerprint, first["shard"]).to_pylist()
    assert [values[n]["inspect_phash"] for n in (2, 4)] == [None, None]
    assert values[3]["inspect_phash"] is not None


@pytest.mark.parametrize("column", ["alt_text", "license", "metadata", "image_bytes"])
def test_a_refused_row_is_only_left_alone_if_there_is_nothing_in_it(dataset, column):
    """Its error alone does not say that its bytes and all its words are gone."""
    victim = by_key(dataset)["d1/img004.png"]
    shard, row = victim["shard"], victim["row"]
    forget(dataset, Request(image_ids=frozenset({victim["image_id"]})))
    values = dataset.read_images(shard).to_pylist()
    values[row] |= {"source_error": row_error("tombstoned")}
    values[row] |= {column: b"JANE" if column == "image_bytes" else "JANE"}
    path = layout.images_path(shard)
    write_table(dataset.store, path, pa.Table.from_pylist(values, IMAGES))

    _, done = forget(dataset, Request(image_ids=frozenset({victim["image_id"]})))

    assert done.image_shards == (shard,)
    assert dataset.read_images(shard, [column])[column].to_pylist()[row] is None


def contents(dataset):
    return {name: dataset.store.read(name) for name in dataset.store.files("")}
