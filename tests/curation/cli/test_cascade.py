"""`longtail cascade`: from two columns of scores to a band."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.small_dataset import make_bare_dataset

# The cheap score is the dear one but for every hundredth image.
SCORES = (
    "SELECT i / 100 AS cheap, CASE WHEN i % 100 = 0 THEN 50 ELSE i / 100 END AS dear "
    "FROM range(10000) t(i)"
)


@pytest.fixture
def dataset(tmp_path):
    make_bare_dataset(tmp_path / "small")
    return tmp_path / "small"


def test_prints_the_band_and_its_promise(dataset, capsys):
    """The first line goes into a pipeline as it is."""
    ran = longtail(capsys, "cascade", dataset, SCORES, "--threshold", 40, "--max-changed", 0.02)

    band, seen, promise = ran.out.splitlines()
    assert ran.code == 0
    assert band.startswith("after: {")
    assert seen.startswith("Of 5000 held-out images, ")
    assert promise.startswith("It changes at most 0.02 of the decisions")


def test_prints_json(dataset, capsys):
    """And does not care for the order of rows."""
    arguments = ("--threshold", 40, "--max-changed", 0.02, "--json")
    found = json.loads(longtail(capsys, "cascade", dataset, SCORES, *arguments).out)
    other = json.loads(
        longtail(capsys, "cascade", dataset, f"{SCORES} ORDER BY hash(i)", *arguments).out
    )

    assert found == other
    assert found["after"].keys() <= {"least", "most"}
    assert 0.5 * found["held_out"] < found["skipped"] <= found["held_out"]
    assert found["changed"] <= 0.02 * found["held_out"]


def test_images_without_both_scores_are_left_out(dataset, capsys):
    """Too few of the others are refused, with how many it takes."""
    query = "SELECT i AS cheap, CASE WHEN i < 90 THEN i END AS dear FROM range(2000) t(i)"

    ran = longtail(capsys, "cascade", dataset, query, "--threshold", 40)

    assert ran.code == 2
    assert "90 images have both scores; to promise 0.005 with 0.95 confidence, 1196" in ran.err


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1", "gives 1 columns; expected two"),
        ("SELECT 'a', 1", "something else than numbers"),
    ],
)
def test_other_queries_are_refused(dataset, capsys, query, words):
    """In a sentence."""
    ran = longtail(capsys, "cascade", dataset, query, "--threshold", 40)

    assert ran.code == 2
    assert words in ran.err
