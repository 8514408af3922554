"""Making snapshots: reasons, completeness, identity, and being killed on the way."""

import hashlib
import itertools

import pytest

from curation import storage
from curation.config import validate
from curation.errors import ConservationError, ContractError, SnapshotError
from curation.fingerprint import pretty_json
from curation.ingest.tombstones import add_tombstones
from curation.snapshot.config import SnapshotConfig
from curation.snapshot.create import create_snapshot, preview
from curation.snapshot.read import list_snapshots, read_parts, snapshot_path
from curation.snapshot.verify import verify_snapshot
from curation.tables import write_table
from schemas import dataset as layout
from schemas.tombstones import TOMBSTONES
from stages.sample import HierarchicalSampler
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset, unreadable

WHERE = {"size": "inspect_width >= 300", "pretty": "aesthetic_score < 70"}


def create(made, **options):
    """Create a snapshot and return its manifest."""
    options.setdefault("sampler", HierarchicalSampler())
    return create_snapshot(
        made.dataset, made.pipeline, made.instances, made.relations, code_version="1", **options
    ).manifest


def decisions(made, manifest):
    """Return key -> decision of a snapshot; keys from the images, by shard and row."""
    found = {}
    for table in read_parts(made.dataset, manifest, "decisions"):
        for row in table.to_pylist():
            found[row["shard"], row["row"]] = row
    return found


def reasons(made, manifest):
    """Return the reasons of all rows in order of shard and row."""
    return [row["reasons"] for _, row in sorted(decisions(made, manifest).items())]


def corpus():
    """Eighteen images: sizes and scores that rise, a group of three, one that is unreadable."""
    images = [
        Image(
            f"k{i}",
            width=100 * i + 100,
            score=i * 5.0,
            path=["a", "a/b", "c", None][i % 4],
            group="k1" if i in (1, 5, 9) else None,
        )
        for i in range(17)
    ]
    return [*images, unreadable("bad")]


def test_each_row_has_its_reasons_in_order(tmp_path):
    """The first reason is that of the step that comes first, and all that apply are listed."""
    images = [
        Image("good"),
        Image("small", width=100),
        Image("both", width=100, score=90.0),
        Image("unscored", score=None),
        unreadable("bad"),
        Image("twin", width=500, group="good"),
    ]
    made = make_dataset(tmp_path / "d", images, where=WHERE)

    manifest = create(made)

    assert reasons(made, manifest) == [
        [],
        ["size"],
        ["size", "pretty"],
        ["pretty:unknown"],
        ["unreadable", "size:unknown", "pretty:unknown"],
        ["duplicate"],
    ]
    rows = decisions(made, manifest).values()
    assert all(row["reason"] == (row["reasons"] or [None])[0] for row in rows)
    assert all(row["kept"] == (row["reasons"] == []) for row in rows)
    assert manifest.reasons["size"] == 2
    assert manifest.conservation.excluded["unreadable"] == 1


def test_rows_add_up(tmp_path):
    """Images = superseded + tombstoned + pending + quarantined + excluded + kept."""
    again = [Image("k2", b"new bytes"), Image("k3", vanished=True)]
    made = make_dataset(tmp_path / "d", corpus(), again, where=WHERE, sample={"size": 4})
    made.drop("aesthetic", 1)
    made.quarantine("categorize", 2)
    made.drop("categorize", 2)
    rows = [{"image_id": corpus()[12].image_id, "reason": "asked"}]
    add_tombstones(made.dataset, TOMBSTONES.empty_table().from_pylist(rows, schema=TOMBSTONES))

    found = create(made, allow_pending=True).conservation

    assert found.images == 19
    assert (found.superseded, found.tombstoned, found.pending, found.quarantined) == (2, 1, 4, 4)
    assert found.excluded == {"pretty": 3, "size": 2, "unreadable": 1}
    assert found.kept == 2


def test_a_tombstone_by_content_is_honoured_everywhere(tmp_path):
    """A forbidden content is out wherever it lies, also where its hash ends in zero."""
    content = next(b"x%d" % i for i in range(10**6) if _ends_in_zero(b"x%d" % i))
    images = [Image("a", content), Image("b", content), Image("c")]
    made = make_dataset(tmp_path / "d", images)
    rows = [{"content_sha256": _sha(content), "reason": "asked"}]
    add_tombstones(made.dataset, TOMBSTONES.empty_table().from_pylist(rows, schema=TOMBSTONES))

    manifest = create(made)

    assert reasons(made, manifest) == [["tombstoned"], ["tombstoned"], []]


def _sha(content):
    return hashlib.sha256(content).digest()


def _ends_in_zero(content):
    return _sha(content).endswith(b"\0")


def test_a_forgotten_row_counts_as_tombstoned(tmp_path):
    """The error that `forget` leaves names the reason."""
    made = make_dataset(tmp_path / "d", [Image("a"), unreadable("b", "forgotten")])

    assert reasons(made, create(made)) == [[], ["tombstoned"]]


def test_the_representative_is_the_largest_then_the_prettiest(tmp_path):
    """Area decides, then score, then the smaller id; only survivors stand for a group."""
    images = [
        Image("huge-but-ugly", width=9000, score=1.0, group="huge-but-ugly"),
        Image("large", width=800, score=30.0, group="huge-but-ugly"),
        Image("large-pretty", width=800, score=40.0, group="huge-but-ugly"),
        Image("small-prettiest", width=400, score=60.0, group="huge-but-ugly"),
    ]
    made = make_dataset(tmp_path / "d", images, where={"pretty": "aesthetic_score > 20"})

    assert reasons(made, create(made)) == [["pretty"], ["duplicate"], [], ["duplicate"]]


def test_the_representative_can_be_chosen_by_expressions(tmp_path):
    """`representative` lists numbers, the largest wins and null loses."""
    images = [
        Image("a", score=None, group="a"),
        Image("b", width=2000, score=10.0, group="a"),
        Image("c", width=100, score=20.0, group="a"),
    ]
    made = make_dataset(tmp_path / "d", images, representative=["aesthetic_score * 2"])

    assert reasons(made, create(made)) == [["duplicate"], ["duplicate"], []]


def test_an_order_that_is_no_number_is_refused(tmp_path):
    """A text cannot choose the largest."""
    made = make_dataset(tmp_path / "d", [Image("a")], representative=["source_key"])

    with pytest.raises(SnapshotError, match="representative.0: the expression is string"):
        create(made)


def test_a_predicate_that_is_not_boolean_is_refused(tmp_path):
    """A number is no verdict."""
    made = make_dataset(tmp_path / "d", [Image("a")], where={"size": "inspect_width"})

    with pytest.raises(SnapshotError, match="where.size: the expression is int32"):
        create(made)


def test_types_that_do_not_fit_are_refused_in_a_sentence(tmp_path):
    """What DuckDB cannot bind is refused before any row is read."""
    made = make_dataset(
        tmp_path / "d", [Image("a")], where={"x": "date_part('y', inspect_width) > 1"}
    )

    with pytest.raises(SnapshotError, match="snapshot: x: the SQL is wrong"):
        create(made)


def test_a_value_that_fails_names_its_predicate(tmp_path):
    """A cast that fails on a row names the one predicate among several."""
    where = {"fine": "inspect_width > 1", "number": "source_key::INTEGER > 3"}
    made = make_dataset(tmp_path / "d", [Image("12"), Image("abc")], where=where)

    with pytest.raises(SnapshotError, match="snapshot: number: .*abc.*TRY_CAST"):
        create(made)


@pytest.mark.parametrize("column", ["shard", "row", "image_bytes"])
def test_places_and_bytes_are_no_columns_for_predicates(tmp_path, column):
    """A predicate over the place of a row would change with the shard size."""
    made = make_dataset(tmp_path / "d", [Image("a")], where={"x": f"{column} IS NOT NULL"})

    with pytest.raises(SnapshotError, match=f"no column {column}"):
        create(made)


def test_image_ids_are_uuids_for_predicates(tmp_path):
    """Predicates see identifiers as SQL does."""
    image = Image("a")
    text = f"image_id = '{image.image_id.hex()}'::UUID"
    made = make_dataset(tmp_path / "d", [image, Image("b")], where={"one": text})

    assert reasons(made, create(made)) == [[], ["one"]]


@pytest.mark.parametrize("name", ["Size", "1x", "duplicate", "pending", "a:b", ""])
def test_names_of_predicates_are_plain_and_not_taken(name):
    """A predicate's name becomes a reason, so it is plain and none of ours."""
    with pytest.raises(Exception, match="predicate's name|reason that snapshots give"):
        validate(SnapshotConfig, {"where": {name: "true"}}, "snapshot")


# Completeness ------------------------------------------------------------------------------------


def test_missing_shards_are_refused_with_the_way_out(tmp_path):
    """A stage that has not finished is named, with what to do."""
    made = make_dataset(tmp_path / "d", corpus())
    made.drop("aesthetic", 1)

    with pytest.raises(SnapshotError, match="aesthetic lacks 1 of 5 shards.*--allow-pending"):
        create(made)


def test_an_ingest_that_still_lists_is_refused(tmp_path):
    """More shards may come, so the snapshot would not be of the whole."""
    made = make_dataset(tmp_path / "d", [Image("a")])
    made.dataset.store.delete(layout.ingest_done_path(0))

    with pytest.raises(SnapshotError, match="ingest 0 has not listed all"):
        create(made)
    assert create(made, allow_pending=True).conservation.kept == 1


def test_a_list_that_is_frozen_meanwhile_changes_nothing(tmp_path, monkeypatch):
    """A snapshot beside a running listing is of the lists that stood when it began."""
    made = make_dataset(tmp_path / "d", [Image("a"), Image("b")], [Image("c"), Image("a", b"new")])
    store = made.dataset.store
    path = layout.list_path(1, 0)
    late = store.read(path)
    store.delete(path)
    store.delete(layout.ingest_done_path(1))
    before = create(made, allow_pending=True)
    look = type(made.dataset).image_shards

    def freeze_one_more(dataset):
        store.put(path, late)
        return look(dataset)

    monkeypatch.setattr(type(made.dataset), "image_shards", freeze_one_more)
    during = create(made, allow_pending=True)
    after = create(made, allow_pending=True)

    assert during.id == before.id
    assert during.conservation.images == 2
    assert (after.conservation.images, after.conservation.superseded) == (4, 1)


def test_pending_rows_name_the_instance_and_keep_other_verdicts(tmp_path):
    """What can be judged is judged; what needs the missing columns is not."""
    made = make_dataset(tmp_path / "d", [Image("a", width=1), Image("b")], where=WHERE)
    made.drop("aesthetic", 0)

    manifest = create(made, allow_pending=True)

    assert reasons(made, manifest) == [["pending:aesthetic", "size"], ["pending:aesthetic"]]


def test_an_unused_instance_may_be_unfinished(tmp_path):
    """Only instances whose columns are read count."""
    images = [Image("a")]
    made = make_dataset(tmp_path / "d", images, stages=("inspect", "aesthetic"))
    other = make_dataset(tmp_path / "e", images, stages=("inspect",))

    assert set(create(made).content.parents) == {"inspect", "aesthetic"}
    assert set(create(other).content.parents) == {"inspect"}


def test_quarantined_shards_need_no_permission(tmp_path):
    """A shard that was given up is out with a reason, while a failing one is still missing."""
    made = make_dataset(tmp_path / "d", corpus())
    made.drop("aesthetic", 1)
    made.quarantine("aesthetic", 1, "failing")
    with pytest.raises(SnapshotError, match="aesthetic lacks 1"):
        create(made)
    made.quarantine("aesthetic", 1)

    assert create(made).conservation.quarantined == 4


def test_what_waits_for_something_given_up_names_that(tmp_path):
    """A shard blocked by its upstream is quarantined by it, not pending for ever."""
    made = make_dataset(tmp_path / "d", [Image("a")])
    for name in ("inspect", "aesthetic"):
        made.drop(name, 0)
    made.quarantine("inspect", 0)
    made.relations["dedup"].tables.clear()

    manifest = create(made)

    assert reasons(made, manifest) == [["quarantined:inspect"]]


def test_a_shard_that_was_never_taken_in_counts_from_its_list(tmp_path):
    """Rows of a quarantined image shard are in the decisions, without id, and supersede nothing."""
    first, second = [Image("a"), Image("b")], [Image("a", b"new"), Image("c")]
    made = make_dataset(tmp_path / "d", first, second)
    made.dataset.store.delete(layout.images_path(1))
    for name in ("inspect", "aesthetic", "categorize"):
        made.drop(name, 1)
    del made.relations["dedup"].tables[1]
    made.quarantine(layout.IMAGES, 1)

    manifest = create(made)

    assert reasons(made, manifest) == [
        [],
        [],
        ["superseded", "quarantined:images"],
        ["quarantined:images"],
    ]
    assert decisions(made, manifest)[1, 0]["image_id"] is None
    assert manifest.conservation.images == 4


def test_a_list_that_disagrees_with_its_shard_is_our_bug(tmp_path):
    """Rows that went missing between list and shard stop the snapshot."""
    made = make_dataset(tmp_path / "d", [Image("a"), Image("b")], stages=())
    shard = made.dataset.read_images(0)
    write_table(made.dataset.store, layout.images_path(0), shard.slice(0, 1))

    with pytest.raises(ConservationError, match="shard 0: 1 rows, but its list has 2"):
        create(made)


def test_rows_that_are_not_those_of_the_images_are_refused(tmp_path):
    """A stage's file must have the rows of the image shard, in order."""
    made = make_dataset(tmp_path / "d", [Image("a"), Image("b")])
    fingerprint = made.instance("inspect").fingerprint
    table = made.dataset.read_instance("inspect", fingerprint, 0)
    path = layout.instance_path("inspect", fingerprint, 0)
    write_table(made.dataset.store, path, table.take([1, 0]))

    with pytest.raises(ContractError, match="shard 0: the rows of inspect are not those"):
        create(made)


# Identity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_rows", [1, 7, 100])
def test_shard_size_changes_neither_id_nor_decisions(tmp_path, shard_rows):
    """The same images in other shards give the same snapshot."""
    options = {"where": WHERE, "sample": {"size": 6}, "split": {"validation": 0.4}}
    again = [Image("k2", b"new bytes"), Image("k4", b"newer"), Image("k3", vanished=True)]
    one = make_dataset(tmp_path / "one", corpus(), again, shard_rows=4, **options)
    two = make_dataset(tmp_path / "two", corpus(), again, shard_rows=shard_rows, **options)

    first, second = create(one), create(two)

    assert first.id == second.id
    assert first.content == second.content
    assert _by_image(one, first) == _by_image(two, second)


def _by_image(made, manifest):
    rows = decisions(made, manifest).values()
    return {
        row["image_id"]: {k: v for k, v in row.items() if k not in ("shard", "row")} for row in rows
    }


def test_layout_of_sql_is_no_difference_but_its_meaning_is(tmp_path):
    """Whitespace outside quotes does not count; another threshold does."""
    made = make_dataset(tmp_path / "d", corpus(), where={"size": "inspect_width  >=\n 300"})

    first = preview_id(made)

    assert first == preview_id(made.with_snapshot(where={"size": "inspect_width >= 300"}))
    assert first != preview_id(made.with_snapshot(where={"size": "inspect_width >= 301"}))
    assert first != preview_id(made.with_snapshot(where={"big": "inspect_width >= 300"}))


def preview_id(made, **options):
    """Return the id that creating would give."""
    manifest = preview(
        made.dataset,
        made.pipeline,
        made.instances,
        made.relations,
        HierarchicalSampler(),
        **options,
    )
    return manifest.id


def test_preview_says_the_same_and_writes_nothing(tmp_path):
    """The preview runs the same code."""
    made = make_dataset(tmp_path / "d", corpus(), where=WHERE, sample={"size": 4})
    before = sorted(made.dataset.store.files(""))

    seen = preview(
        made.dataset,
        made.pipeline,
        made.instances,
        made.relations,
        HierarchicalSampler(),
        code_version="1",
    )

    assert sorted(made.dataset.store.files("")) == before
    made_for_good = create(made)
    left_out = {"files": {}, "created_at": ""}
    assert seen.model_copy(update=left_out) == made_for_good.model_copy(update=left_out)


def test_creating_again_finds_the_same_snapshot(tmp_path):
    """The second call writes nothing and says so."""
    made = make_dataset(tmp_path / "d", corpus())
    options = (made.dataset, made.pipeline, made.instances, made.relations)

    first, second = create_snapshot(*options), create_snapshot(*options)

    assert (first.is_new, second.is_new) == (True, False)
    assert first.manifest == second.manifest
    assert len(list_snapshots(made.dataset)) == 1


class KilledError(Exception):
    """The process ends here."""


def test_killed_at_any_commit_it_leaves_no_snapshot_and_can_go_on(tmp_path, monkeypatch):
    """There is no snapshot before its manifest, and going on gives what was to come."""
    options = {"where": WHERE, "sample": {"size": 4}}
    made = make_dataset(tmp_path / "d", corpus(), **options)
    whole = create(make_dataset(tmp_path / "whole", corpus(), **options))
    killed = 0

    while not list_snapshots(made.dataset):
        commits = itertools.count()

        def kill(point, path, commits=commits, last=killed):
            if next(commits) == last:
                raise KilledError(point)

        monkeypatch.setattr(storage, "fault_hook", kill)
        with pytest.raises(KilledError):
            create(made)
        monkeypatch.setattr(storage, "fault_hook", None)
        killed += 1

    assert killed == 9  # before, written and after each of two files and the manifest
    found = create(made)
    assert found.id == whole.id
    assert found.files == whole.files


# Splits ------------------------------------------------------------------------------------------


def test_held_splits_exclude_images_that_moved(tmp_path):
    """An image that changed sides since the previous snapshot is counted, and held out if asked."""
    made = make_dataset(tmp_path / "d", corpus(), split={"validation": 0.5})
    old = create(made)
    salted = made.with_snapshot(split={"validation": 0.5, "salt": "other"})

    counted = create(salted, previous=old.id)
    held = create(salted, previous=old.id[:8], hold_split=True)

    assert counted.num_moved == held.num_moved > 0
    assert held.reasons["split_moved"] == held.num_moved
    assert "split_moved" not in counted.reasons
    assert held.previous == old.id
    assert held.id != counted.id


def test_holding_splits_needs_the_previous_snapshot(tmp_path):
    """There is nothing to hold without it."""
    made = make_dataset(tmp_path / "d", [Image("a")])

    with pytest.raises(SnapshotError, match="--hold-split needs --previous"):
        create(made, hold_split=True)


# The sampler -------------------------------------------------------------------------------------


def test_sampling_reports_the_tree_and_what_was_missing(tmp_path):
    """Counts before and after are in the manifest, and so is a size that cannot be reached."""
    made = make_dataset(tmp_path / "d", corpus(), sample={"size": 1000, "repeat_cap": 2})

    manifest = create(made)

    assert manifest.num_draws == 2 * manifest.conservation.kept
    assert manifest.num_missing == 1000 - manifest.num_draws
    assert manifest.categories[""].draws == manifest.num_draws
    assert set(manifest.categories) == {"", "a", "a/", "a/b", "c", "unknown"}


def test_without_sampling_every_survivor_is_in_once(tmp_path):
    """No `sample:` keeps all, at weight 1."""
    made = make_dataset(tmp_path / "d", corpus())

    manifest = create(made, sampler=None)
    (data,) = read_parts(made.dataset, manifest, "data")

    assert manifest.num_draws == manifest.conservation.kept == len(data) == 15
    assert set(data["repeat"].to_pylist()) == {1}
    assert set(data["weight"].to_pylist()) == {1.0}
    assert set(data["captions"].to_pylist()[0]) == set()
    assert manifest.categories["a/b"].kept + manifest.categories["a"].kept > 0


def test_an_empty_selection_is_a_snapshot_too(tmp_path):
    """Nothing passes: decisions say why, and the training table is empty."""
    made = make_dataset(tmp_path / "d", corpus(), where={"no": "false"}, sample={"size": 5})

    manifest = create(made)

    assert manifest.conservation.kept == 0
    assert manifest.files["data/part-00000.parquet"].num_rows == 0


def test_of_two_instances_of_a_stage_one_must_be_named(tmp_path):
    """Ambiguity is refused, and `inputs` resolves it."""
    made = make_dataset(tmp_path / "d", [Image("a")], inputs={"aesthetic": "aesthetik"})

    with pytest.raises(
        SnapshotError, match="'aesthetik' is no instance of aesthetic .did you mean"
    ):
        create(made)


@pytest.mark.parametrize("lost", ["data/part-00000.parquet", "decisions/part-00000.parquet"])
def test_files_of_a_snapshot_that_got_lost_are_written_again(tmp_path, lost):
    """The same snapshot, byte for byte, rather than a manifest without its files."""
    made = make_dataset(tmp_path / "d", corpus(), where=WHERE)
    manifest = create(made)
    path = snapshot_path(manifest.id, lost)
    data = made.dataset.store.read(path)
    made.dataset.store.delete(path)

    again = create(made)

    assert again == manifest
    assert made.dataset.store.read(path) == data


def test_a_manifest_says_what_was_written_last(tmp_path):
    """Another version may write the same rows as other bytes."""
    made = make_dataset(tmp_path / "d", corpus(), where=WHERE)
    manifest = create(made)
    name = "data/part-00000.parquet"
    store = made.dataset.store
    store.delete(snapshot_path(manifest.id, name))
    other = {**manifest.files, name: manifest.files[name].model_copy(update={"num_bytes": 1})}
    edited = manifest.model_copy(update={"files": other})
    store.put(
        snapshot_path(manifest.id, "manifest.json"),
        pretty_json(edited.model_dump(mode="json")),
    )

    assert create(made) == manifest
    assert verify_snapshot(made.dataset, manifest.id) == []
