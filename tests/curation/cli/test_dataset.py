"""`longtail ls` and `longtail show`."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.small_dataset import make_bare_dataset


@pytest.fixture
def dataset(tmp_path):
    make_bare_dataset(tmp_path / "small")
    return tmp_path / "small"


def test_ls_lists_shards_snapshots_and_bytes(dataset, capsys):
    """One look says how big the dataset is and what was decided on it."""
    ran = longtail(capsys, "ls", dataset)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{dataset}\n3 of 3 listed shards, 12 rows, ")
    assert "\nsnapshots: 0123456789abcdef\n" in ran.out


def test_ls_shows_every_instance_of_a_pipeline(dataset, capsys):
    """An instance that has not run is there, with all its shards missing."""
    (dataset / "pipelines").mkdir(exist_ok=True)
    text = f"name: one\ndataset: {dataset}\nstages:\n  embed: {{}}\n"
    (dataset / "pipelines" / "one.yaml").write_text(text)

    table = longtail(capsys, "ls", dataset).out
    (state,) = json.loads(longtail(capsys, "ls", dataset, "--json").out)["instances"]

    assert (state["instance"], state["finished"], state["missing"]) == ("embed", 0, 3)
    assert state["fingerprint"] in table


def test_show_lists_the_tables(dataset, capsys):
    """The names are those that SQL takes."""
    found = json.loads(longtail(capsys, "show", dataset, "--json").out)

    assert [entry["table"] for entry in found] == ["images", "rows", "decisions", "snapshots"]


def test_show_describes_columns_from_their_metadata(dataset, capsys):
    """Type, unit, version and meaning are what the schema says."""
    found = json.loads(longtail(capsys, "show", dataset, "images", "--json").out)
    by_name = {entry["column"]: entry for entry in found}

    assert by_name["image_id"]["type"] == "uuid"
    assert by_name["num_bytes"] == {
        "column": "num_bytes",
        "type": "int64",
        "unit": "bytes",
        "version": "1",
        "meaning": "Size of the file; null where unreadable.",
    }
    assert "Size of the file" in longtail(capsys, "show", dataset, "images").out


def test_show_of_an_unknown_table_names_the_nearest(dataset, capsys):
    """A typing error costs one line."""
    ran = longtail(capsys, "show", dataset, "imges")

    assert ran.code == 2
    assert "no table 'imges' (did you mean images?)" in ran.err
