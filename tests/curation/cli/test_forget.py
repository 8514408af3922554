"""`longtail forget` and `longtail gc`."""

import json
import uuid

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.kept_dataset import publish, rows_of, run, write_pipeline


@pytest.fixture
def dataset(tmp_path):
    return run(write_pipeline(tmp_path))


def name_of(dataset, key):
    (row,) = [row for row in rows_of(dataset) if row["source_key"] == key]
    return str(uuid.UUID(bytes=row["image_id"]))


def test_forget_says_what_it_would_do_and_changes_nothing(dataset, tmp_path, capsys):
    """Until --yes: it cannot be taken back."""
    snapshot = publish(tmp_path / "kept.yaml")
    before = rows_of(dataset)

    ran = longtail(capsys, "forget", dataset.store.url, name_of(dataset, "d0/img000.png"))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("1 rows in 1 shards\n")
    assert "1 more rows have the same content and stay" in ran.out
    assert f"snapshot {snapshot} keeps 1 of them" in ran.out
    assert ran.out.endswith("nothing was changed; add --yes --reason WHY to forget them\n")
    assert rows_of(dataset) == before


def test_forget_does_it_from_a_file(dataset, tmp_path, capsys):
    """One image a line, with comments."""
    victim = name_of(dataset, "d1/img004.png")
    (tmp_path / "list.txt").write_text(f"# ticket 7\n{victim}\n\n")

    ran = longtail(
        capsys,
        "forget",
        dataset.store.url,
        "--from",
        tmp_path / "list.txt",
        "--yes",
        "--reason",
        "asked to",
        "--json",
    )

    assert ran.code == 0
    answer = json.loads(ran.out)
    assert answer["done"] is True
    assert [row["image_id"] for row in answer["rows"]] == [victim]
    assert len(answer["image_shards_rewritten"]) == 1
    (row,) = [row for row in rows_of(dataset) if str(uuid.UUID(bytes=row["image_id"])) == victim]
    assert row["image_bytes"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no image is named"),
        (["cat.jpg"], "argument 1: 'cat.jpg' names no image"),
        (["00" * 16, "--yes"], "--yes without --reason"),
    ],
)
def test_forget_refuses_in_a_sentence(dataset, capsys, arguments, message):
    """Nothing was begun."""
    ran = longtail(capsys, "forget", dataset.store.url, *arguments)

    assert ran.code == 2
    assert message in ran.err
    assert dataset.store.names("tombstones") == []


def test_gc_lists_and_deletes_only_with_yes(dataset, capsys):
    """The dry run is the default."""
    dataset.store.put("snapshots/abc/decisions/part-00000.parquet", b"half")
    url = dataset.store.url

    young = longtail(capsys, "gc", url)
    listed = longtail(capsys, "gc", url, "--grace-days", "0")
    there = dataset.store.exists("snapshots/abc")
    done = longtail(capsys, "gc", url, "--grace-days", "0", "--yes", "--json")

    assert young.out == "nothing to delete that is older than 7 days\n"
    assert "snapshots/abc" in listed.out
    assert listed.out.endswith("4 B; nothing was deleted, add --yes to do it\n")
    assert there
    assert json.loads(done.out)["bytes"] == 4
    assert not dataset.store.exists("snapshots/abc")
