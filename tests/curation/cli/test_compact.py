"""`longtail compact`."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.small_dataset import make_small_dataset, tree_digest
from tests.fakes.groups import set_group_size


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    set_group_size(monkeypatch, 2)
    return make_small_dataset(tmp_path / "small")


def test_it_says_what_it_would_do_and_changes_nothing(dataset, capsys):
    """Until --yes."""
    before = tree_digest(dataset.store.root)

    ran = longtail(capsys, "compact", dataset.store.url)

    assert (ran.code, ran.err) == (0, "")
    assert "/00000" in ran.out
    assert ran.out.endswith("4 files would become 2; nothing was changed, add --yes to do it\n")
    assert tree_digest(dataset.store.root) == before


def test_it_does_it_and_is_done(dataset, capsys):
    """The second time there is nothing left."""
    ran = longtail(capsys, "compact", dataset.store.url, "--yes", "--json")
    again = longtail(capsys, "compact", dataset.store.url, "--yes")

    answer = json.loads(ran.out)
    assert (ran.code, answer["compacted"], answer["files"]) == (0, True, 4)
    assert [(g["files"], g["left"]) for g in answer["groups"]] == [(2, None), (2, None)]
    assert all(dataset.store.names(g["path"]) == ["span.parquet"] for g in answer["groups"])
    assert again.out == "nothing to compact: no group of a stage is finished and in many files\n"
