"""`longtail categories build`."""

import json

import pytest

from curation.demo import make_corpus
from tests.curation.cli.cli_runs import longtail
from tests.curation.test_search import run
from tests.fakes.openai_server import serve


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("categories")
    make_corpus(folder / "corpus", images=80, seed=1)
    (folder / "corpus" / "images").rename(folder / "lake")
    run(folder)
    return folder


def test_a_table_of_what_was_measured(root, tmp_path, capsys):
    """Figures on the output, progress beside it, a head in the folder."""
    command = ("categories", "build", root / "data", "--out", tmp_path / "head")

    ran = longtail(capsys, *command, "--leaves", "5", "--epochs", "1")

    assert ran.code == 0, ran.err
    assert "top-1 agreement" in ran.out
    assert f"use it with `categorizer: classifier, head: {tmp_path / 'head'}`" in ran.out
    assert "clustering" in ran.err
    names = {path.name for path in (tmp_path / "head").iterdir()}
    assert names == {"head.json", "head.safetensors", "report.md"}


def test_json_has_the_same(root, tmp_path, capsys):
    """What `head.json` keeps of how it was built."""
    command = ("categories", "build", root / "data", "--out", tmp_path / "head", "--json")

    ran = longtail(capsys, *command, "--branching", "2,2", "--head", "mlp", "--epochs", "1")

    content = json.loads(ran.out)
    assert content["settings"]["branching"] == [2, 2]
    assert (content["head"], content["levels"]) == ("mlp", 2)
    assert content["agreement"]["rows"] == content["sample"]["test_rows"]


def test_a_model_may_name_the_leaves(root, tmp_path, capsys):
    """Over HTTP, with the pictures nearest to each leaf's centre."""
    command = ("categories", "build", root / "data", "--out", tmp_path / "head", "--leaves", "3")

    with serve() as fake:
        naming = ("--names-endpoint", fake.url, "--names-model", "fake-vl", "--epochs", "0")
        ran = longtail(capsys, *command, *naming)

    assert ran.code == 0, ran.err
    assert "fake-vl named 3 of 3 leaves" in ran.err
    assert "words name" in (tmp_path / "head" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "too few for 10,000 leaves"),
        (["--leaves", "4", "--branching", "2,2"], "say the same twice"),
        (["--branching", "2,x"], "expected up to 6 numbers from 1"),
        (["--branching", "2,0"], "expected up to 6 numbers from 1"),
        (["--instance", "nothing"], "no instance 'nothing' with vectors"),
        (["--names-endpoint", "http://127.0.0.1:9/v1"], "--names-model is missing"),
        (["--names-model", "m", "--names-endpoint", "nowhere"], "endpoint"),
        (["--leaves", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_requests_end_with_2(root, tmp_path, capsys, arguments, said):
    """One sentence, no traceback, no folder."""
    ran = longtail(
        capsys, "categories", "build", root / "data", "--out", tmp_path / "head", *arguments
    )

    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "head").exists()
