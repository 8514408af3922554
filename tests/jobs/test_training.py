"""Training on Ray: what is refused before Ray is asked for anything, and the job's entry."""

import pytest
import ray

from curation.errors import ConfigError, LongtailError, SnapshotError, UsageError
from jobs.train import main
from jobs.training import TrainingEnd, train_on_ray
from tests.training.conftest import corpus, recipe  # noqa: F401 (fixtures)
from training.recipe import parse_recipe
from training.run import train


@pytest.fixture(autouse=True)
def _no_ray():
    """No test here may start Ray."""
    was_there = ray.is_initialized()
    yield
    assert ray.is_initialized() == was_there


@pytest.fixture
def finished(recipe, tmp_path):  # noqa: F811
    """Train a short run in this process; return the text of its recipe."""
    text = recipe(loop={"steps": 2, "checkpoint_every": 2})
    train(parse_recipe(text, "toy.yaml"))
    return text


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        (["snapshot='abc'"], SnapshotError, "there is no snapshot 'abc'"),
        (["data.captions.variants={poem: 1}"], SnapshotError, "have no caption of the kinds poem"),
        (["dataset=/nowhere"], UsageError, "/nowhere"),
        (["codec={codec: flux2_vae, weights: /nowhere}"], ConfigError, "/nowhere"),
    ],
)
def test_a_request_that_cannot_be_met_never_reaches_ray(recipe, overrides, kind, words):  # noqa: F811
    """The driver knows all that it takes to refuse it."""
    with pytest.raises(kind, match=words):
        train_on_ray(parse_recipe(recipe(), "toy.yaml", overrides), address="ray://nowhere:1")


def test_an_output_in_use_is_refused_and_a_finished_run_is_well(finished):
    """So a job that resumes may be submitted as often as one likes."""
    parsed = parse_recipe(finished, "toy.yaml")
    with pytest.raises(UsageError, match="say --resume"):
        train_on_ray(parsed, address="ray://nowhere:1")
    end = train_on_ray(parsed, resume=True, address="ray://nowhere:1")

    assert (end.was_finished, end.step, end.exit_code) == (True, 2, 0)


def test_the_job_says_one_sentence_and_an_exit_code(finished, tmp_path, capsys):
    """0 for a run that is there, 2 for what is refused."""
    path = tmp_path / "toy.yaml"
    path.write_text(finished)

    assert main([str(path), "--snapshot", "latest", "--resume"]) == 0
    assert capsys.readouterr().out == f"finished already, at step 2: {tmp_path / 'run'}\n"
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'run'}: holds checkpoints")
    assert main([str(path), "--set", "optimizer.lrr=1"]) == 2
    assert "did you mean lr?" in capsys.readouterr().err


def test_workers_are_no_part_of_what_a_run_means(recipe):  # noqa: F811
    """And what contradicts itself is refused with the recipe."""
    with pytest.raises(LongtailError, match=r"workers.least is 3, more than workers.count 2"):
        parse_recipe(recipe(workers={"count": 2, "least": 3}), "toy.yaml")
    with pytest.raises(LongtailError, match=r"workers.gpus"):
        parse_recipe(recipe(workers={"gpus": 2}), "toy.yaml")


def test_ends_in_words():
    """What people read at the end of a job."""
    end = TrainingEnd("out", "0" * 64, 1200, 30)
    assert end.lines()[0] == "1,200 images of snapshot 000000000000"
    stopped = TrainingEnd("out", "0" * 64, 1200, 30, exit_code=143)
    assert stopped.lines() == [
        "stopped after step 30, whose checkpoint is written; go on with --resume"
    ]
    early = TrainingEnd("out", "0" * 64, 1200, 0, exit_code=130)
    assert early.lines() == ["stopped before the first step; go on with --resume"]
