"""Preferences in a snapshot: which pairs are in, why others are out, and the id."""

import hashlib
import itertools
import json
import random

import pyarrow as pa
import pytest

from curation import storage
from curation.errors import SnapshotError
from curation.ingest.tombstones import add_tombstones
from curation.snapshot.config import SplitConfig
from curation.snapshot.create import create_snapshot, preview
from curation.snapshot.diff import PairDiff, diff_snapshots
from curation.snapshot.preferences import prompt_key
from curation.snapshot.read import list_snapshots, read_parts, snapshot_path
from curation.snapshot.split import SPLITS, draw_splits
from curation.snapshot.verify import verify_snapshot
from curation.tables import read_table, write_table
from schemas import dataset as layout
from schemas.tombstones import TOMBSTONES
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset

WHERE = {"size": "inspect_width >= 300"}
HALF = SplitConfig(validation=0.5)


def images():
    """Twelve squares, two that are wide, one that is too small and one without a size."""
    return [
        *(Image(f"k{i}", width=640, height=640) for i in range(12)),
        Image("wide1", width=1280, height=720),
        Image("wide2", width=1376, height=768),
        Image("small", width=100),
        Image("bare", width=640, height=None),
    ]


@pytest.fixture
def made(tmp_path):
    return make_dataset(tmp_path / "d", images(), where=WHERE)


@pytest.fixture
def split(tmp_path):
    """The same with half of the images held out."""
    return make_dataset(tmp_path / "d", images(), where=WHERE, split=HALF.model_dump())


def image_id(key):
    return Image(key).image_id


def row(winner, loser, prompt="a cat", **more):
    """State a pair by the keys of two images."""
    return {
        "prompt": prompt,
        "winner": image_id(winner).hex(),
        "loser": image_id(loser).hex(),
        **more,
    }


def create(made, tmp_path, *rows, **options):
    """Create a snapshot with these pairs; return its manifest."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in rows))
    return create_snapshot(
        made.dataset,
        made.pipeline,
        made.instances,
        made.relations,
        preferences=str(path),
        **options,
    ).manifest


def pairs_of(made, manifest):
    """Return the rows of a snapshot's preferences."""
    parts = read_parts(made.dataset, manifest, "preferences")
    return pa.concat_tables(parts).to_pylist()


def reasons(made, manifest):
    """Return (winner, loser) -> reasons, by the keys of the images."""
    keys = {image.image_id: image.key for image in images()}
    found: dict[tuple[str, str], list[str | None]] = {}
    for pair in pairs_of(made, manifest):
        sides = keys[pair["winner_image_id"]], keys[pair["loser_image_id"]]
        found.setdefault(sides, []).append(pair["reason"])
    return found


def prompts_of(split, count):
    """Return prompts that are drawn into a split, where half of them are held out."""
    prompts = [f"prompt {number}" for number in range(50)]
    hashes = [hashlib.sha256(prompt.encode()).digest() for prompt in prompts]
    drawn = draw_splits(hashes, HALF)
    return [p for p, place in zip(prompts, drawn, strict=True) if SPLITS[place] == split][:count]


def held_out(made):
    """Return the keys of kept squares by split."""
    manifest = create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest
    table = pa.concat_tables(read_parts(made.dataset, manifest, "data"))
    keys = {image.image_id: image.key for image in images()}
    found: dict[str, list[str]] = {"train": [], "validation": []}
    for value in table.to_pylist():
        if keys[value["image_id"]].startswith("k"):
            found[value["split"]].append(keys[value["image_id"]])
    return found


def test_a_pair_is_out_for_the_first_reason_that_applies(made, tmp_path):
    """Both images must be kept, of one aspect bucket, and the preference must be clear."""
    manifest = create(
        made,
        tmp_path,
        row("k0", "k1"),
        row("wide1", "wide2"),
        row("k0", "k2", prompt="  "),
        row("k3", "k3"),
        row("small", "k4"),
        row("k4", "small"),
        row("k5", "wide1"),
        row("bare", "k5"),
        row("k6", "k7", prompt="A  cat"),
        row("k7", "k6", prompt="a Cat"),
    )

    assert reasons(made, manifest) == {
        ("k0", "k1"): [None],
        ("wide1", "wide2"): [None],
        ("k0", "k2"): ["no_prompt"],
        ("k3", "k3"): ["same_image"],
        ("small", "k4"): ["winner_not_kept"],
        ("k4", "small"): ["loser_not_kept"],
        ("k5", "wide1"): ["bucket_mismatch"],
        ("bare", "k5"): ["no_size"],
        ("k6", "k7"): ["contradiction"],
        ("k7", "k6"): ["contradiction"],
    }
    counts = manifest.preferences
    assert (counts.pairs, counts.kept) == (10, 2)
    assert counts.excluded["contradiction"] == 2
    assert counts.kept + sum(counts.excluded.values()) == counts.pairs
    assert counts.splits == {"train": 2, "validation": 0}
    assert all(pair["kept"] == (pair["reason"] is None) for pair in pairs_of(made, manifest))


def test_what_is_said_twice_counts_once_with_the_largest_margin(made, tmp_path):
    """Whoever says it, and in whatever case."""
    manifest = create(
        made,
        tmp_path,
        row("k0", "k1", margin=1, source="jane"),
        row("k0", "k1", margin=3, source="joe"),
        row("k0", "k1"),
        row("k0", "k1", prompt="A CAT", margin=2),
        row("k0", "k1", prompt="a dog"),
    )

    found = pairs_of(made, manifest)
    kept = sorted((p["prompt"], p["margin"], p["source"]) for p in found if p["kept"])
    assert kept == [("a cat", 3.0, "joe"), ("a dog", None, None)]
    assert manifest.preferences.excluded == {"duplicate": 3}
    assert manifest.preferences.sources == {"": 1, "joe": 1}
    ids = [pair["pair_id"] for pair in found if pair["kept"]]
    assert len(set(ids)) == len(ids)


def test_nothing_held_out_is_learnt_from(split, tmp_path):
    """Of a prompt that trains, no image is held out; a held-out prompt may show images of both."""
    keys = held_out(split)
    assert min(len(found) for found in keys.values()) >= 3
    (train, other), (unseen, second) = (prompts_of(name, 2) for name in ("train", "validation"))
    (t0, t1, t2, *_), (v0, v1, *_) = keys["train"], keys["validation"]

    manifest = create(
        split,
        tmp_path,
        row(t0, t1, prompt=train),
        row(t0, v0, prompt=other),
        row(v1, t1, prompt=train),
        row(t2, v0, prompt=unseen),
        row(v0, v1, prompt=second),
        row(t0, v1, prompt=second),
    )

    assert reasons(split, manifest) == {
        (t0, t1): [None],
        (t0, v0): ["split_mismatch"],
        (v1, t1): ["split_mismatch"],
        (t2, v0): [None],
        (v0, v1): [None],
        (t0, v1): ["seen_in_train"],
    }
    assert manifest.preferences.splits == {"train": 1, "validation": 2}
    learnt = {
        i
        for pair in pairs_of(split, manifest)
        if pair["kept"] and pair["split"] == "train"
        for i in (pair["winner_image_id"], pair["loser_image_id"])
    }
    assert not learnt & {image_id(key) for key in keys["validation"]}


def test_a_prompt_is_in_one_split_however_it_is_written():
    """Case, white space and Unicode's forms make no other prompt."""
    assert prompt_key(" A\u00a0Cat\n") == prompt_key("a cat") == prompt_key("\uff41 cat")
    assert prompt_key("caf\u00e9") == prompt_key("cafe\u0301")
    assert prompt_key("a cat") != prompt_key("a cats")


def test_the_id_is_that_of_the_pairs_and_not_of_their_order(made, tmp_path):
    """Any order and format gives it; another margin gives another one, and no pair the old one."""
    rows = [row(f"k{i}", f"k{j}", margin=i) for i, j in itertools.combinations(range(4), 2)]
    bare = create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest
    first = create(made, tmp_path, *rows, rows[0])
    shuffled = [rows[0], *rows]
    random.Random(3).shuffle(shuffled)

    assert create(made, tmp_path, *shuffled).id == first.id
    assert create(made, tmp_path, *rows).id != first.id
    assert create(made, tmp_path, *rows[1:], {**rows[0], "margin": 9}).id != first.id
    assert bare.id != first.id
    assert bare.content.preferences is None
    content = first.content.model_dump(mode="json")
    assert {k: v for k, v in content.items() if k != "preferences"} == bare.content.model_dump(
        mode="json"
    )
    assert [m.id for m in list_snapshots(made.dataset)].count(first.id) == 1


def test_a_snapshot_without_preferences_says_nothing_of_them(made):
    """Neither in its manifest nor in what is hashed: it has the id that it always had."""
    manifest = create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest

    value = json.loads(made.dataset.store.read(snapshot_path(manifest.id, "manifest.json")))

    assert "preferences" not in value
    assert "preferences" not in value["content"]
    assert not [name for name in manifest.files if name.startswith("preferences")]


def test_images_are_found_by_their_keys(made, tmp_path):
    """The pair is the one that their ids make."""
    by_key = {"prompt": "a cat", "winner_key": "k0", "loser_key": "k1"}

    found = create(made, tmp_path, by_key)

    assert reasons(made, found) == {("k0", "k1"): [None]}
    assert found.id == create(made, tmp_path, row("k0", "k1")).id


def test_a_key_stands_for_its_latest_image(tmp_path):
    """An id stands for the image that it is, which a later one may have replaced."""
    later = [Image("k0", b"new", width=640, height=640)]
    made = make_dataset(tmp_path / "d", images(), later, where=WHERE)

    found = create(
        made,
        tmp_path,
        {"prompt": "x", "winner_key": "k0", "loser_key": "k1"},
        row("k0", "k1", prompt="y"),
    )

    by_prompt = {pair["prompt"]: pair for pair in pairs_of(made, found)}
    assert by_prompt["x"]["winner_image_id"] == later[0].image_id
    assert (by_prompt["x"]["reason"], by_prompt["y"]["reason"]) == (None, "winner_not_kept")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [row("k0", "k1"), row("k0", "zzz")],
            r"row 2: loser [0-9a-f]{32} is no image of .*/d; take",
        ),
        ([{"prompt": "x", "winner_key": "k0", "loser_key": "zz"}], "row 1: loser 'zz' is no key"),
        (
            [row("k0", "k1", pair_id="0" * 32), row("k2", "k1", pair_id="0" * 32)],
            "row 2: pair_id 0{32} is that of another pair, in row 1 of",
        ),
    ],
)
def test_a_table_of_another_dataset_is_refused(made, tmp_path, rows, sentence):
    """One sentence with the row; nothing is written."""
    with pytest.raises(SnapshotError, match=sentence):
        create(made, tmp_path, *rows)

    assert list_snapshots(made.dataset) == []


def test_a_key_of_two_files_is_refused(made, tmp_path):
    """An archive may hold a name twice."""
    store, path = made.dataset.store, layout.list_path(0, 0)
    listed = read_table(store, path).to_pylist()
    listed[1].update(key="k0", ordinal=1)
    write_table(store, path, pa.Table.from_pylist(listed, read_table(store, path).schema))

    with pytest.raises(SnapshotError, match="winner 'k0' is the key of 2 files; name image_ids"):
        create(made, tmp_path, {"prompt": "x", "winner_key": "k0", "loser_key": "k2"})


def test_what_was_forgotten_is_not_kept(made, tmp_path):
    """A pair of it is out of every later snapshot."""
    rows = [{"image_id": image_id("k0"), "reason": "asked"}]
    add_tombstones(made.dataset, pa.Table.from_pylist(rows, TOMBSTONES))

    assert reasons(made, create(made, tmp_path, row("k1", "k0"))) == {
        ("k1", "k0"): ["loser_not_kept"]
    }


def test_a_preview_counts_pairs_and_writes_nothing(made, tmp_path):
    """The id is the one that the snapshot will have."""
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row("k0", "k1")))
    found = preview(
        made.dataset, made.pipeline, made.instances, made.relations, preferences=str(path)
    )

    assert list_snapshots(made.dataset) == []
    assert found.preferences is not None
    assert found.preferences.kept == 1
    assert create(made, tmp_path, row("k0", "k1")).id == found.id


def test_verify_looks_at_the_pairs(made, tmp_path):
    """A file that was changed or lost is named, and making the snapshot again restores it."""
    manifest = create(made, tmp_path, row("k0", "k1"))
    path = snapshot_path(manifest.id, "preferences/shard-00000.parquet")
    assert verify_snapshot(made.dataset, manifest.id) == []

    made.dataset.store.delete(path)

    assert verify_snapshot(made.dataset, manifest.id) == [
        f"{path}: the file is missing; make the snapshot anew"
    ]
    create(made, tmp_path, row("k0", "k1"))
    assert verify_snapshot(made.dataset, manifest.id) == []


def test_killed_anywhere_it_is_made_by_another_call(made, tmp_path, monkeypatch):
    """Without the manifest there is no snapshot, and the files are the same bytes."""
    manifest = create(made, tmp_path, row("k0", "k1"))
    folder = f"snapshots/{manifest.id}"
    names = made.dataset.store.files(folder)
    before = {name: made.dataset.store.read(name) for name in names if "manifest" not in name}
    for number in range(3 * len(names)):
        for name in made.dataset.store.files(folder):
            made.dataset.store.delete(name)
        points = itertools.count()

        def kill(point, name, points=points, number=number):
            if next(points) == number:
                raise KeyboardInterrupt

        monkeypatch.setattr(storage, "fault_hook", kill)
        try:
            create(made, tmp_path, row("k0", "k1"))
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(storage, "fault_hook", None)
        again = create(made, tmp_path, row("k0", "k1"))
        assert again.id == manifest.id
        assert {name: made.dataset.store.read(name) for name in before} == before


def test_diff_tells_which_pairs_came_and_went(made, tmp_path):
    """Null where neither snapshot has any."""
    bare = create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest
    first = create(made, tmp_path, row("k0", "k1"), row("k2", "k3"))
    second = create(made, tmp_path, row("k0", "k1"), row("k4", "k5"), row("k6", "k7"))

    assert diff_snapshots(made.dataset, bare.id, bare.id).pairs is None
    assert diff_snapshots(made.dataset, bare.id, first.id).pairs == PairDiff(2, 0, 0)
    assert diff_snapshots(made.dataset, first.id, second.id).pairs == PairDiff(2, 1, 0)


def test_many_pairs_are_several_files(made, tmp_path, monkeypatch):
    """By pair_id."""
    monkeypatch.setattr("curation.snapshot.preferences.SHARD_PAIRS", 5)
    rows = [row(f"k{i}", f"k{j}") for i, j in itertools.combinations(range(12), 2)]

    manifest = create(made, tmp_path, *rows)

    files = [name for name in manifest.files if name.startswith("preferences/")]
    assert len(files) == 14
    ids = [pair["pair_id"] for pair in pairs_of(made, manifest)]
    assert ids == sorted(ids)
    assert len(ids) == 66
    assert verify_snapshot(made.dataset, manifest.id) == []


def test_a_dataset_on_any_store_keeps_preferences(tmp_path):
    """Nothing but the store's own calls is needed."""
    made = make_dataset("memory://kept-preferences", images(), where=WHERE)

    manifest = create(made, tmp_path, row("k0", "k1"))

    assert reasons(made, manifest) == {("k0", "k1"): [None]}
    assert verify_snapshot(made.dataset, manifest.id) == []
