"""The captioner `vllm` as far as it needs no vLLM; the rest is in tests/vllm."""

from typing import Any

import pytest

from curation.endpoint.vllm_python import VARIABLE
from curation.errors import ConfigError
from curation.fingerprint import digest
from curation.pipeline.stage import Execution
from stages.caption.captioner import CaptionConfig
from stages.caption.stage import CaptionStage
from tests.fakes.tiny_qwen_vl import write_tiny_qwen_vl


@pytest.fixture
def model(tmp_path):
    return write_tiny_qwen_vl(tmp_path / "Tiny-VL")


@pytest.fixture
def python(tmp_path):
    """A program that stands in for a Python with vLLM: asked whether it has it, it ends well."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


def make(weights: Any, **more: Any) -> CaptionStage:
    value = {"captioner": "vllm", "weights": str(weights), **more}
    config = CaptionStage.parse(value, "stages.caption")
    assert isinstance(config, CaptionConfig)
    stage = CaptionStage(config)
    stage.facts = stage.learn()
    return stage


def meaning(stage: CaptionStage) -> str:
    return digest(
        [stage.config.model_dump(mode="json"), stage.facts["weights"], dict(stage.digests())]
    )


def test_the_weights_are_the_meaning_and_names_are_not(tmp_path, model):
    """The same files elsewhere, another name, another way to run: the same captions."""
    moved = write_tiny_qwen_vl(tmp_path / "elsewhere")
    other = write_tiny_qwen_vl(tmp_path / "other", seed=1)
    here = make(model)
    more: dict[str, Any] = {
        "model": "my name",
        "revision": "my words",
        "python": "/some/python",
        "server": {"max_num_seqs": 8, "gpu_memory_utilization": 0.5},
        "endpoint": {"max_in_flight": 3},
    }

    assert meaning(make(moved, **more)) == meaning(here)
    for changed in (make(other), make(model, precision="fp16"), make(model, max_model_len=8192)):
        assert meaning(changed) != meaning(here)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"endpoint": {"url": "http://10.0.0.7:8000/v1"}}, "url has no place here"),
        ({"endpoint": {"api_key_env": "KEY"}}, "api_key_env has no place here"),
        ({"max_tokens": 4096, "max_model_len": 4096}, "leaves no room for a prompt"),
        ({"server": {"trust_remote_code": True}}, "trust_remote_code"),
    ],
)
def test_a_wrong_configuration_is_refused(model, more, words):
    """In a sentence, before anything starts."""
    with pytest.raises(ConfigError, match=words):
        make(model, **more)


def test_no_vllm_is_said_before_a_run(tmp_path, model, monkeypatch):
    """With the command that gets one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    stage = make(model)

    with pytest.raises(ConfigError, match="`make vllm` makes an environment with it"):
        stage.check()
    (finding,) = stage.probe()
    assert not finding.is_good
    assert "make vllm" in finding.found


def test_half_a_model_is_said_before_a_run(model, python):
    """Not after minutes of loading, on every worker."""
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])

    with pytest.raises(ConfigError, match="it was cut: copy it again"):
        make(model, python=str(python)).check()


def test_a_model_over_several_gpus_needs_as_many(model, python):
    """Ray gives a worker the GPUs that `run` names; the server cannot take more."""
    stage = make(model, python=str(python), server={"tensor_parallel_size": 2})
    stage.execution = Execution("cuda", gpus=1)
    with pytest.raises(ConfigError, match=r"set run\.gpus to 2"):
        stage.check()

    stage.execution = Execution("cuda", gpus=2)
    stage.check()


def test_it_asks_for_a_gpu_of_its_own(model):
    """And keeps its engine's queue full across shards."""
    resources = make(model).backend.resources

    assert (resources.gpus, resources.own_pool, resources.shards_in_flight) == (1, True, 4)
