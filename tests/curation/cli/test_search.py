"""`longtail search`."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.curation.test_search import run
from tests.stages.photographs import file_bytes, photograph


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    (folder / "lake").mkdir()
    for name in ("coins", "brick", "rocket"):
        (folder / "lake" / f"{name}.jpg").write_bytes(file_bytes(photograph(name)))
    (folder / "lake" / "evil\x1b[31m.jpg").write_bytes(file_bytes(photograph("retina")))
    run(folder)
    return folder


def test_a_table_with_the_nearest_first(root, capsys):
    """Score, id, source key and place of each match; hostile names cannot move the cursor."""
    ran = longtail(capsys, "search", root / "data", "--image", root / "lake" / "coins.jpg")

    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[0].split() == ["score", "image_id", "source", "shard", "row"]
    assert lines[2].startswith("1.0000")
    assert "lake:coins.jpg" in lines[2]
    assert "\x1b" not in ran.out
    assert lines[-1] == "4 vectors of embed searched"


def test_json_has_the_same(root, capsys):
    """As many as asked for, with every digit of the score."""
    command = ("search", root / "data", "--image", root / "lake" / "brick.jpg", "-k", "2", "--json")

    content = json.loads(longtail(capsys, *command).out)

    assert (content["instance"], content["vectors"], content["missing_shards"]) == ("embed", 4, 0)
    assert len(content["matches"]) == 2
    first = content["matches"][0]
    assert (first["score"], first["source_name"], first["source_key"]) == (1.0, "lake", "brick.jpg")
    assert (first["shard"], len(first["image_id"])) == (0, 36)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "/no/such/file.jpg"], "error: --image /no/such/file.jpg: cannot be read: No"),
        (["--image", "/dev/null"], "error: the example cannot be embedded by embed: empty"),
        (["--image", "/dev/null", "--instance", "nothing"], "no instance 'nothing' with vectors"),
        (["--image", "/dev/null", "-k", "0"], "0 is not in the range"),
        ([], 'either words ("red bicycle at night") or --image'),
        (["a dog", "--image", "/dev/null"], "either words"),
        (["a dog"], "embed cannot read text, only pictures (`--image`); to search with words"),
        ([" "], "the text is empty"),
    ],
)
def test_wrong_requests_end_with_2(root, capsys, arguments, said):
    """One sentence, no traceback."""
    ran = longtail(capsys, "search", root / "data", *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
