"""What the doctor says of each stage, also where weights, packages, GPUs or servers are missing."""

import json
import stat
import sys

import pytest

from curation.dataset import Dataset
from curation.doctor.stages import check_stages
from curation.errors import ConfigError
from curation.pipeline import models
from curation.pipeline.config import parse_pipeline
from curation.storage import Store
from curation.weights import weights_digest
from tests.curation.cli.cli_runs import longtail
from tests.fakes.hub import COMMIT
from tests.fakes.lake import make_lake
from tests.fakes.runs import run_stages
from tests.fakes.stages import STAGES

HUB = f"hf://ann/tiny@{COMMIT}"


@pytest.fixture(autouse=True)
def _machine(tmp_path, monkeypatch):
    """No GPU and nothing fetched, whatever the machine is."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text("[1, 2, 3]")
    return path


def look(tmp_path, stages, *, run=None, dataset=None, load=False):
    """Return (subject, state, found, advice) of every line about a pipeline of fakes."""
    content = {"name": "fake", "dataset": f"{tmp_path}/data", "stages": stages, "run": run or {}}
    config = parse_pipeline(json.dumps(content), "fake.yaml")
    checks = check_stages(config, STAGES, dataset, "fake.yaml", load=load)
    return [(c.subject, c.state, c.found, c.advice) for c in checks]


def driver(tmp_path, script):
    """Put a program where the NVIDIA driver's would be."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_a_stage_that_has_all_it_needs(tmp_path, weights):
    """Where it runs and with which weights."""
    digest = weights_digest(str(weights))[:12]
    stages = {
        "luma": {},
        "weighed": {"weights": str(weights)},
        "heavy": {"run": {"replicas": [2, 4], "cpus": 2}},
    }

    assert look(tmp_path, stages) == [
        ("stage luma", "ok", "luma, on the CPU with the other stages", ""),
        ("stage weighed", "ok", "weighed, on the CPU with the other stages", ""),
        ("weighed: numbers weights", "ok", f"{weights}, 0.0 MiB, digest {digest}", ""),
        ("stage heavy", "ok", "heavy, on the CPU: 2 to 4 workers, 2 CPU each", ""),
    ]


def test_everything_that_is_missing_is_said_with_the_command_that_gets_it(tmp_path, weights):
    """Weights, and with them here, a package."""
    stages = {
        "luma": {},
        "of_hub": {"stage": "weighed", "weights": HUB, "package": "absent"},
        "of_path": {"stage": "weighed", "weights": f"{weights}.gone"},
        "of_url": {"stage": "weighed", "weights": "memory://nowhere/x.json"},
        "packaged": {"stage": "weighed", "weights": str(weights), "package": "absent"},
        "asking": {"stage": "weighed", "weights": str(weights), "endpoint": "http://h"},
    }
    fetch = "longtail models fetch fake.yaml"
    install = ("absent is not installed", "run `pip install 'longtail[absent]'`")

    wrong = [line for line in look(tmp_path, stages) if line[1] == "wrong"]

    assert wrong == [
        ("of_hub: numbers weights", "wrong", f"{HUB}: not on this machine", fetch),
        ("of_hub", "wrong", *install),
        (
            "of_path: numbers weights",
            "wrong",
            f"{weights}.gone: no such file or folder",
            "name what is there",
        ),
        (
            "of_url: numbers weights",
            "wrong",
            "memory://nowhere/x.json: not on this machine",
            fetch,
        ),
        ("packaged", "wrong", *install),
        ("asking: endpoint http://h", "wrong", "nothing answers", "start the server"),
    ]


def test_stages_behind_missing_weights_wait_for_them(tmp_path, monkeypatch):
    """Whatever reads them, and what reads that; the others are looked at as ever."""
    monkeypatch.setattr(STAGES["luma"], "weights", lambda self: {"lamp": HUB})
    stages = {
        "bad": {"what": "setup"},
        "weighed": {"weights": HUB},
        "double": {},
        "middle": {},
        "luma": {},
    }

    assert [line[:3] for line in look(tmp_path, stages) if line[1] != "ok"] == [
        ("bad", "wrong", "told to"),
        ("weighed: numbers weights", "wrong", f"{HUB}: not on this machine"),
        ("double", "missing", "waits for what luma needs"),
        ("middle", "missing", "waits for what luma needs"),
        ("luma: lamp weights", "wrong", f"{HUB}: not on this machine"),
    ]


def test_weights_that_cannot_be_learnt_from_are_said(tmp_path, weights):
    """They are here, and are not what the stage takes them for."""
    weights.write_text("[")

    def learn(self):
        message = "numbers.json: is no JSON; name another file"
        raise ConfigError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STAGES["weighed"], "learn", learn)
        lines = look(tmp_path, {"luma": {}, "weighed": {"weights": str(weights)}})

    assert ("weighed", "wrong", "numbers.json: is no JSON", "name another file") in lines


def test_without_the_weights_the_record_is_named(tmp_path, weights):
    """A driver can plan with it; that is no fault."""
    stages = {"luma": {}, "weighed": {"weights": str(weights)}}
    run_stages(tmp_path / "data", make_lake(tmp_path / "lake", 3), stages)
    weights.unlink()

    lines = look(tmp_path, stages, dataset=Dataset.open(str(tmp_path / "data")))

    assert [line[1] for line in lines] == ["ok", "ok", "missing"]
    assert lines[2][2] == f"not here; a plan takes what the last run learnt of {weights}"


def test_memory_that_is_not_here_is_said_before_a_run_refuses(tmp_path):
    """It is no fault: another machine may have it."""
    stages = {"luma": {}, "heavy": {"run": {"memory_bytes": 1 << 50, "replicas": [1, 1]}}}

    _, (subject, state, found, advice) = look(tmp_path, stages)

    assert (subject, state) == ("stage heavy", "missing")
    assert found.startswith("heavy, on the CPU: 1 worker, 1 CPU each; each wants 1048576.0 GiB of")
    assert advice == "run it on nodes that have it, or lower stages.heavy.run.memory_bytes"


def test_a_gpu_that_is_not_here_is_no_fault(tmp_path):
    """The driver of a cluster has none; `device: cpu` asks for none."""
    stages = {"luma": {}, "heavy": {"run": {"gpus": 0.25, "replicas": 3}}}

    assert look(tmp_path, stages)[1] == (
        "stage heavy",
        "missing",
        "heavy, on GPUs: 3 workers, 0.25 GPU each; this machine has no NVIDIA GPU",
        "run it on nodes that have it, or `--set run.device=cpu`",
    )
    found = look(tmp_path, stages, run={"device": "cpu"})[1]
    assert found[1:3] == ("ok", "heavy, on the CPU: 3 workers, 1 CPU each")


@pytest.mark.parametrize(
    ("script", "torch", "found"),
    [
        ("echo 'NVIDIA H200, 143771 MiB'", "cuda: str | None = '13.0'", ""),
        ("echo 'NVIDIA H200, 143771 MiB'", "cuda: str | None = None", "computes on the CPU only"),
        ("exit 9", "cuda: str | None = '13.0'", "the NVIDIA driver fails"),
    ],
)
def test_a_gpu_counts_with_its_driver_and_torch(tmp_path, monkeypatch, script, torch, found):
    """A program and a file stand in for both; torch is not imported."""
    driver(tmp_path, script)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "torch" / "version.py").write_text(f"__version__ = '9'\n{torch}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    line = look(tmp_path, {"luma": {}, "heavy": {"run": {"gpus": 1}}})[1]

    assert line[1] == ("missing" if found else "ok")
    assert line[2].endswith(found or "as many workers as fit, 1 GPU each")


def test_models_are_loaded_on_demand_only(tmp_path, weights, monkeypatch):
    """An 8B model takes minutes."""
    stages = {"luma": {}, "weighed": {"weights": str(weights)}}

    def fail(self):
        message = "no room on the device"
        raise RuntimeError(message)

    monkeypatch.setattr(STAGES["weighed"], "setup", fail)

    assert [line[1] for line in look(tmp_path, stages)] == ["ok", "ok", "ok"]
    assert look(tmp_path, stages, load=True)[3] == (
        "weighed",
        "wrong",
        "no room on the device",
        "see what it says",
    )
    monkeypatch.undo()
    assert look(tmp_path, stages, load=True)[3] == ("weighed", "ok", "its model loads", "")


def test_nothing_is_fetched(tmp_path, monkeypatch):
    """Looking costs no gigabytes, also where the weights could be had."""
    Store("memory://doctored").put("x.json", b"[1]")
    monkeypatch.setattr(models, "fetch", None)

    lines = look(tmp_path, {"luma": {}, "weighed": {"weights": "memory://doctored/x.json"}})

    assert lines[2][1:3] == ("wrong", "memory://doctored/x.json: not on this machine")
    assert not (tmp_path / "cache" / "weights").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_it_all_for_a_pipeline_that_no_run_would_take(tmp_path, capsys, as_json):
    """Exit code 1; the words are the same for people and programs."""
    path = tmp_path / "p.yaml"
    embed = f'{{embedder: open_clip, model: ViT-L-14, weights: "{HUB}"}}'
    path.write_text(f"name: p\ndataset: {tmp_path}/data\nstages: {{embed: {embed}}}\n")

    ran = longtail(capsys, "doctor", path, *(["--json"] if as_json else []))

    assert ran.code == 1
    if as_json:
        (wrong,) = [check for check in json.loads(ran.out) if check["state"] == "wrong"]
        assert wrong["found"] == f"{HUB}: not on this machine"
        assert wrong["advice"] == f"longtail models fetch {path}"
    else:
        assert f"{HUB}: not on this machine -> longtail models fetch {path}" in ran.out
    assert not (tmp_path / "data").exists()
