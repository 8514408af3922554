"""Pairs that a scorer makes."""

import json

import pytest

from curation.errors import SnapshotError
from curation.snapshot.create import create_snapshot
from curation.snapshot.score_pairs import score_pairs
from tests.curation.cli.cli_runs import longtail
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset


def images():
    """Twenty squares of two categories, whose scores rise by 3; a wide one, and two alike."""
    return [
        *(
            Image(
                f"k{i}", width=640, height=640, score=3.0 * i, path=["art/oil_paint", "cat"][i % 2]
            )
            for i in range(20)
        ),
        Image("wide", width=1376, height=768, score=99.0, path="cat"),
        Image("twin1", width=640, height=640, score=7.0, path="twin"),
        Image("twin2", width=640, height=640, score=7.0, path="twin"),
        Image("unscored", width=640, height=640, score=None, path="cat"),
    ]


@pytest.fixture
def made(tmp_path):
    return make_dataset(tmp_path / "d", images())


@pytest.fixture
def snapshot(made):
    return create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest.id


def compare(made, snapshot, **options):
    """Return (prompt, winner, loser, margin) by the keys of the images."""
    keys = {image.image_id.hex(): image.key for image in images()}
    found = score_pairs(made.dataset, snapshot, **{"by": "category", **options}).to_pylist()
    assert {row["source"] for row in found} == {"aesthetic"}
    sides = [[keys[row[side].replace("-", "")] for side in ("winner", "loser")] for row in found]
    return [(row["prompt"], *names, row["margin"]) for row, names in zip(found, sides, strict=True)]


def test_the_higher_score_wins_by_the_margin(made, snapshot):
    """Among images of a category and a size; equal scores and other sizes are not compared."""
    found = compare(made, snapshot, max_pairs=5, min_margin=10)

    scores = {image.key: image.score for image in images()}
    paths = {image.key: image.path for image in images()}
    assert [row[0] for row in found] == ["art, oil paint"] * 5 + ["cat"] * 5
    for _, winner, loser, margin in found:
        assert margin == scores[winner] - scores[loser] >= 10
        assert paths[winner] == paths[loser]
        assert "wide" not in (winner, loser)
    assert len({row[1:3] for row in found}) == len(found)
    assert not [row for row in compare(made, snapshot, min_margin=0) if row[0] == "twin"]


def test_pairs_are_drawn_by_hashes(tmp_path, made, snapshot):
    """The same images give the same pairs in whatever shards they lie, another seed others."""
    other = make_dataset(tmp_path / "other", list(reversed(images())), shard_rows=7)
    again = create_snapshot(
        other.dataset, other.pipeline, other.instances, other.relations
    ).manifest

    assert compare(made, snapshot) == compare(other, again.id)
    assert compare(made, snapshot) != compare(made, snapshot, seed=1)
    assert set(compare(made, snapshot, max_pairs=2)) <= set(compare(made, snapshot, max_pairs=9))


def test_pairs_are_of_one_split(tmp_path):
    """So that none is lost to a leak but those whose prompt is drawn elsewhere."""
    made = make_dataset(tmp_path / "d", images(), split={"validation": 0.5})
    manifest = create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest
    table = score_pairs(made.dataset, manifest.id, by="category", max_pairs=99, min_margin=0)

    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = create_snapshot(
        made.dataset, made.pipeline, made.instances, made.relations, preferences=str(path)
    ).manifest.preferences

    assert found is not None
    assert found.pairs == len(table) > 10
    assert set(found.excluded) <= {"split_mismatch"}
    assert found.sources == {"aesthetic": found.kept}


def test_what_gives_no_pair_is_refused(tmp_path, made, snapshot):
    """It says what there would be."""
    with pytest.raises(
        SnapshotError, match="no scored image has a prompt by 'short'; there are no"
    ):
        compare(made, snapshot, by="short")
    with pytest.raises(SnapshotError, match="no two images share a prompt by 'category'"):
        compare(made, snapshot, min_margin=1000)
    bare = make_dataset(tmp_path / "bare", [Image("a", score=None)])
    manifest = create_snapshot(bare.dataset, bare.pipeline, bare.instances, bare.relations).manifest
    with pytest.raises(SnapshotError, match="no kept image has a score and a size"):
        compare(bare, manifest.id)


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_the_command_writes_what_a_snapshot_reads(made, snapshot, tmp_path, capsys, ending):
    """In every format the same pairs, all of them kept."""
    url, path = made.dataset.store.root, tmp_path / f"pairs.{ending}"

    ran = longtail(
        capsys, "preferences", "from-scores", url, snapshot[:8], "-o", path, "--by", "category"
    )

    assert ran.code == 0
    assert "8 pairs for 2 prompts" in ran.out
    assert "a scorer's preferences, no person's" in ran.out
    found = create_snapshot(
        made.dataset, made.pipeline, made.instances, made.relations, preferences=str(path)
    ).manifest.preferences
    assert found is not None
    assert (found.kept, found.pairs) == (8, 8)


def test_the_command_refuses_what_it_cannot_write(made, snapshot, tmp_path, capsys):
    """A format that is not known, and a place inside a dataset."""
    url = made.dataset.store.root
    asked = ("preferences", "from-scores", url, snapshot, "--by", "category", "-o")

    unknown = longtail(capsys, *asked, tmp_path / "pairs.xlsx")
    inside = longtail(capsys, *asked, tmp_path / "d" / "pairs.csv")

    assert (unknown.code, inside.code) == (2, 2)
    assert "expected .parquet, .jsonl or .csv" in unknown.err
    assert "is a dataset; name a file outside it" in inside.err
