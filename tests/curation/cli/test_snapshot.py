"""`longtail snapshot`: what reads snapshots."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.kept_dataset import publish, run, write_pipeline
from tests.curation.small_dataset import make_bare_dataset


@pytest.fixture
def dataset(tmp_path):
    make_bare_dataset(tmp_path / "small")
    return tmp_path / "small"


def test_list_has_a_line_for_each(dataset, capsys):
    """Id, time, pipeline, rows and kept rows."""
    ran = longtail(capsys, "snapshot", "list", dataset)

    assert ran.out.splitlines()[-1].split() == [
        *("0123456789abcdef", "2026-01-02T03:04:05Z", "small", "12", "6"),
    ]
    (found,) = json.loads(longtail(capsys, "snapshot", "list", dataset, "--json").out)
    assert found["conservation"]["kept"] == 6


def test_show_says_why_rows_are_out(dataset, capsys):
    """The beginning of an id is enough."""
    ran = longtail(capsys, "snapshot", "show", dataset, "0123")

    assert ran.code == 0
    assert "12 rows, 6 kept" in ran.out
    assert ["out", "odd", "6"] in [line.split() for line in ran.out.splitlines()]


def test_diff_of_a_snapshot_with_itself_is_empty(dataset, capsys):
    """Nothing gained and nothing lost."""
    ran = longtail(capsys, "snapshot", "diff", dataset, "0123", "0123", "--json")

    found = json.loads(ran.out)
    assert (found["gained"], found["lost"], found["changes"]) == (0, 0, [])


def test_verify_fails_where_a_file_is_not_what_the_manifest_says(dataset, capsys):
    """Each fault is a line, and the exit code is 1."""
    ran = longtail(capsys, "snapshot", "verify", dataset, "0123")

    assert ran.code == 1
    assert len(ran.out.splitlines()) == 4
    assert "part-00000.parquet" in ran.out


def test_an_unknown_snapshot_is_refused(dataset, capsys):
    """The sentence says where to look."""
    ran = longtail(capsys, "snapshot", "show", dataset, "ffff")

    assert ran.code == 2
    assert "there is no snapshot 'ffff'" in ran.err


@pytest.fixture(scope="module")
def two_splits(tmp_path_factory):
    """A pipeline that was run, the id of its snapshot, and an override that draws splits anew."""
    folder = tmp_path_factory.mktemp("splits")
    pipeline = write_pipeline(folder, num_images=60)
    run(pipeline)
    return pipeline, publish(pipeline), "snapshot.split={validation: 0.5, salt: anew}"


def test_create_lists_the_images_that_moved_since_the_previous_snapshot(two_splits, capsys):
    """The first of them for people, all for programs; also where the snapshot was there already."""
    pipeline, before, other = two_splits
    asked = ("snapshot", "create", pipeline, "--set", other, "--previous", "latest")

    new = json.loads(longtail(capsys, *asked, "--json").out)
    again = longtail(capsys, *asked[:-1], before)

    assert (new["new"], new["previous"]) == (True, before)
    assert len(new["moved"]) == new["num_moved"] > 20
    assert {(row["before"], row["after"]) for row in new["moved"]} == {("train", "validation")}
    lines = again.out.splitlines()
    assert lines[0] == "this snapshot was there already"
    assert lines[-1] == f"and {new['num_moved'] - 20:,} more; --json lists all"
    ids = [row["image_id"] for row in new["moved"][:20]]
    assert [line.split()[0] for line in lines[-21:-1]] == ids


def test_create_says_that_no_image_moved(two_splits, capsys):
    """Where it was asked, and nothing where it was not."""
    pipeline, before, _ = two_splits

    told = longtail(capsys, "snapshot", "create", pipeline, "--previous", before)
    silent = longtail(capsys, "snapshot", "create", pipeline)

    assert told.out.splitlines()[-1] == "no image moved to another split"
    assert "moved" not in silent.out
    assert "moved" not in json.loads(longtail(capsys, "snapshot", "create", pipeline, "--json").out)


def test_create_and_show_say_where_pairs_went(two_splits, tmp_path, capsys):
    """For people a table, for programs the counts; bad tables are a sentence."""
    pipeline, before, _ = two_splits
    rows = json.loads(
        longtail(
            capsys,
            *("sql", pipeline.parent / "dataset", "--format", "json"),
            "SELECT DISTINCT image_id AS id FROM decisions WHERE kept ORDER BY 1 LIMIT 2",
        ).out
    )
    table = tmp_path / "pairs.csv"
    ids = [row["id"] for row in rows]
    lines = ["prompt,winner,loser,source", f"x,{ids[0]},{ids[0]},me", f"y,{ids[0]},{ids[1]},me"]
    table.write_text("\n".join(lines))
    asked = ("snapshot", "create", pipeline, "--preferences", table)

    made = json.loads(longtail(capsys, *asked, "--json").out)
    shown = longtail(capsys, "snapshot", "show", pipeline.parent / "dataset", made["id"]).out
    diff = longtail(capsys, "snapshot", "diff", pipeline.parent / "dataset", before, made["id"]).out
    bad = longtail(capsys, *asked[:-1], tmp_path / "none.csv")

    counts = made["preferences"]
    assert counts["pairs"] == 2 == counts["kept"] + sum(counts["excluded"].values())
    assert f"2 pairs of preferred images, {counts['kept']} kept" in shown
    assert ["out", "same_image", "1"] in [line.split() for line in shown.splitlines()]
    assert f"{counts['kept']} pairs gained, 0 lost" in diff
    assert bad.code == 2
    assert "there is no such table of preferences" in bad.err
