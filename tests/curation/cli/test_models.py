"""`longtail models`: what a pipeline needs, and getting it."""

import json

import pytest

from tests.curation.cli.cli_runs import longtail
from tests.fakes.hub import COMMIT, serve

HUB = f"hf://ann/tiny@{COMMIT}"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """A hub with one model, and nothing fetched yet."""
    from huggingface_hub import constants

    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "theirs"))
    with serve({"ann/tiny": {"config.json": b"{}", "x.safetensors": b"w" * 2048}}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def pipeline(tmp_path):
    """Two CLIPs, of the hub and of a path, whose files are none that could be learnt from."""
    (tmp_path / "local.safetensors").write_bytes(b"w")
    path = tmp_path / "models.yaml"
    path.write_text(
        f"""
name: models
dataset: {tmp_path / "dataset"}
stages:
  inspect: {{}}
  embed: {{embedder: open_clip, model: ViT-L-14, weights: "{HUB}"}}
  embed_local:
    stage: embed
    embedder: open_clip
    model: ViT-L-14
    weights: {tmp_path / "local.safetensors"}
"""
    )
    return path


def listed(capsys, pipeline, *options):
    ran = longtail(capsys, "models", "list", pipeline, *options, "--json")
    assert ran.code == 0
    return {named["instance"]: named for named in json.loads(ran.out)}


def test_what_is_here_and_what_is_not_is_listed_without_learning(capsys, pipeline, tmp_path, hub):
    """A plan would be refused; nothing is fetched."""
    found = listed(capsys, pipeline)

    assert found["embed"] == {
        "instance": "embed",
        "backend": "open_clip",
        "role": "open_clip",
        "reference": HUB,
        "path": None,
        "bytes": None,
        "digest": None,
        "trouble": "",
    }
    assert found["embed_local"]["path"] == str(tmp_path / "local.safetensors")
    assert found["embed_local"]["bytes"] == 1
    assert len(found["embed_local"]["digest"]) == 32
    assert hub.asked == []


def test_the_table_names_the_command_that_fetches(capsys, pipeline):
    """Only where there is something to fetch."""
    before = longtail(capsys, "models", "list", pipeline).out
    longtail(capsys, "models", "fetch", pipeline)
    after = longtail(capsys, "models", "list", pipeline).out

    command = f"`longtail models fetch {pipeline}` fetches what is not here"
    assert before.splitlines()[-1] == command
    assert command not in after
    assert "2.0 KiB" in after


def test_fetching_says_where_it_lies_and_does_it_once(capsys, pipeline, hub):
    """The commit that is pinned."""
    ran = longtail(capsys, "models", "fetch", pipeline)
    assert (ran.code, ran.err) == (0, "")
    hub.asked.clear()
    again = longtail(capsys, "models", "fetch", pipeline)

    assert again == ran
    assert hub.asked == []
    held = listed(capsys, pipeline)["embed"]
    line = f"embed open_clip: {held['path']} (2.0 KiB, digest {held['digest']})"
    assert ran.out.splitlines()[0] == line


def test_what_cannot_be_had_does_not_keep_the_rest_from_coming(capsys, pipeline, tmp_path):
    """Each has its line, and the exit code is 1."""
    (tmp_path / "local.safetensors").unlink()
    other = f"stages.embed.weights=hf://ann/other@{COMMIT}"

    ran = longtail(capsys, "models", "fetch", pipeline, "--set", other)

    assert ran.code == 1
    assert ran.out == ""
    assert [line.split(": ")[1] for line in ran.err.splitlines()] == [
        "stages.embed",
        "stages.embed_local",
    ]
    assert "there is no such model" in ran.err
    assert longtail(capsys, "models", "fetch", pipeline).code == 1
    assert listed(capsys, pipeline)["embed"]["path"] is not None
    assert "no such file" in listed(capsys, pipeline)["embed_local"]["trouble"]


def test_overrides_count(capsys, pipeline, tmp_path):
    """As for a run."""
    found = listed(capsys, pipeline, "--set", f"stages.embed.weights={tmp_path}/local.safetensors")

    assert found["embed"]["digest"] == found["embed_local"]["digest"]


def test_a_pipeline_without_weights_needs_none(capsys, tmp_path):
    """In a sentence, or an empty list."""
    path = tmp_path / "plain.yaml"
    path.write_text(f"name: plain\ndataset: {tmp_path}/data\nstages: {{inspect: {{}}}}\n")

    for verb in ("list", "fetch"):
        ran = longtail(capsys, "models", verb, path)
        assert (ran.code, ran.out) == (0, "no stage of this pipeline needs weights\n")
    assert longtail(capsys, "models", "fetch", path, "--json").out == "[]\n"


@pytest.mark.parametrize("verb", ["list", "fetch"])
@pytest.mark.parametrize("wrong", ["stages.embed.weights=hf://ann/tiny", "stages.embed.sort=1"])
def test_a_wrong_pipeline_is_refused(capsys, pipeline, verb, wrong):
    """Exit code 2, before anything is fetched."""
    ran = longtail(capsys, "models", verb, pipeline, "--set", wrong)

    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert "stages.embed." in ran.err
