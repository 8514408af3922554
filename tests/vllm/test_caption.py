"""The captioner `vllm` with a real vLLM: captions, whole runs, and the end of its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.errors import EndpointError, EngineError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.pipeline.stage import run_stage
from stages.caption.stage import CaptionStage
from stages.caption.vllm import VllmCaptioner
from stages.registry import STAGES
from tests.fakes.runs import read_instance
from tests.stages.caption.endpoint_pictures import shard_for
from tests.stages.photographs import FILES, original
from tests.vllm.processes import below, is_there, processes_of

pytestmark = pytest.mark.vllm

NAMES = sorted(FILES)[:6]


def configured(python: Path, model: Path, **more: Any) -> dict[str, Any]:
    return {
        "captioner": "vllm",
        "weights": str(model),
        "python": str(python),
        "server": {"enforce_eager": True, "cpu_cache_gib": 1, "start_timeout_s": 240},
        "endpoint": {"tries": 2, "backoff_s": 0.1},
        **more,
    }


@pytest.fixture(scope="module")
def stage(vllm_python: Path, tiny_model: Path) -> Iterator[CaptionStage]:
    """A stage that is set up and asks for everything.

    Random weights must be able to end a text, so words are drawn, with a seed, and not the
    likeliest ones taken.
    """
    value = configured(vllm_python, tiny_model, temperature=1)
    made = CaptionStage(CaptionStage.parse(value, "stages.caption"))  # type: ignore[arg-type]
    made.check()
    made.facts = made.learn()
    made.setup()
    yield made
    captioner = made._captioner
    assert isinstance(captioner, VllmCaptioner)
    assert captioner.server is not None
    captioner.server.close()


@pytest.fixture
def server_of(stage):
    """Return its server, which may be another one later."""
    captioner = stage._captioner
    assert isinstance(captioner, VllmCaptioner)
    return lambda: captioner.server


def test_every_image_gets_what_was_asked_for(stage, tiny_model):
    """The description, five captions, tokens, and which weights wrote it."""
    files = [original(name) for name in NAMES]

    rows = run_stage(stage, shard_for(stage, files)).to_pylist()

    assert [row["error"] for row in rows] == [None] * len(files)
    # Noise may leave a caption without a single visible character, which is none.
    assert {row["status"] for row in rows} <= {"ok", "invalid_json"}
    whole = [row for row in rows if row["status"] == "ok"]
    assert whole
    for row in whole:
        variants = [caption["variant"] for caption in row["captions"]]
        assert variants == ["tags", "short", "medium", "long", "user_prompt"]
        assert json.loads(row["structured"])["image_type"]
    assert {row["model"] for row in rows} == {tiny_model.name}
    assert {row["revision"] for row in rows} == {stage.facts["weights"]["model"]}
    assert len({json.dumps(row["captions"]) for row in rows}) > 1, "images move what is said"


def test_an_engine_that_ends_costs_the_shard_in_hand_and_no_more(stage, server_of):
    """Somebody's image may be why: that shard is charged, and the next finds a new server."""
    files = [original(name) for name in NAMES[:2]]
    before = server_of()
    (engine,) = [
        pid
        for pid in below(before._process.pid)
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"VLLM::EngineCore")
    ]
    os.kill(engine, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while before.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    captioner = stage._captioner
    captioner._restarting.acquire()  # as if these images had been under way
    try:
        future = captioner._client.run(captioner._describe(b"x", "Describe it.", 1))
        with pytest.raises(EngineError, match="vLLM ended while it worked on this shard: "):
            future.result()
    finally:
        captioner._restarting.release()

    rows = run_stage(stage, shard_for(stage, files)).to_pylist()

    assert [row["error"] for row in rows] == [None, None]
    assert server_of() is not before


def session(tmp_path: Path, stage: dict[str, Any]) -> tuple[Session, Path]:
    lake = tmp_path / "lake"
    lake.mkdir()
    for name in NAMES:
        suffix = Path(FILES[name][1]).suffix
        (lake / f"{name}{suffix}").write_bytes(original(name))
    value = {
        "name": "captions",
        "dataset": str(tmp_path / "dataset"),
        "source": {"name": "lake", "kind": "folder", "roots": [str(lake)]},
        "stages": {"inspect": {}, "caption": stage},
        "run": {"max_shard_rows": 2, "workers": 1, "device": "cpu"},
    }
    text = yaml.safe_dump(value, sort_keys=False)
    path = tmp_path / "captions.yaml"
    path.write_text(text)
    return Session(parse_pipeline(text, "captions.yaml"), text, STAGES), path


def test_a_run_on_a_cpu(tmp_path, vllm_python, tiny_model):
    """The same YAML as with GPUs but for `run.device`; what is cut says so, and nothing stays."""
    model = tmp_path / "Tiny-VL"
    model.symlink_to(tiny_model)
    value = configured(
        vllm_python, model, variants=["short"], structured=False, max_tokens=20, size_px=256
    )
    pipeline, _ = session(tmp_path, value)

    summary = pipeline.run(LocalRunner, runner_name="local")

    assert summary.complete, summary.lines()
    rows = read_instance(pipeline, "caption").to_pylist()
    assert len(rows) == len(NAMES)
    for row in rows:
        assert (row["caption_status"], row["caption_captions"]) == ("truncated", [])
        assert row["caption_completion_tokens"] == 20
        assert row["caption_model"] == "Tiny-VL"
    assert gone(processes_of(model))


def test_a_model_that_vllm_cannot_serve(tmp_path, vllm_python, tiny_model):
    """The cause in vLLM's words, not the last of the errors that follow from it."""
    model = tmp_path / "model"
    model.mkdir()
    for file in tiny_model.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    config = model / "config.json"
    config.write_text(config.read_text().replace("Qwen3VLForConditionalGeneration", "NoSuchModel"))
    made = CaptionStage(CaptionStage.parse(configured(vllm_python, model), "stages.caption"))  # type: ignore[arg-type]
    made.facts = made.learn()

    with pytest.raises(EndpointError) as caught:
        made.setup()

    assert str(caught.value).startswith(f"vLLM ended before it served {model}: ")
    assert "NoSuchModel" in str(caught.value)
    assert gone(processes_of(model))


def test_a_server_goes_with_its_worker(tmp_path, vllm_python, tiny_model):
    """Whoever of the chain above it is killed: the worker's child, then the whole run."""
    model = tmp_path / "model"
    model.symlink_to(tiny_model)
    _, path = session(tmp_path, configured(vllm_python, model))
    run = subprocess.Popen(
        [sys.executable, "-m", "curation.cli", "run", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first = serving(model)
        (child,) = [
            pid
            for pid in below(run.pid)
            if b"curation.pipeline.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
            and set(below(pid)) & set(first)
        ]
        os.kill(child, signal.SIGKILL)
        assert gone(first)

        second = serving(model)
        run.kill()
        run.wait()
        assert gone(second)
    finally:
        run.kill()
        run.wait()


def serving(model: Path) -> list[int]:
    """Wait until a server has started its engine; return the guard, the server and all below."""
    deadline = time.monotonic() + 120
    while True:
        for guard in processes_of(model):
            with suppress(OSError):
                found = [guard, *below(guard)]
                words = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found]
                if b"guard.py" in words[0] and any(w.startswith(b"VLLM::Engine") for w in words):
                    return found
        assert time.monotonic() < deadline, "no server started"
        time.sleep(0.2)


def gone(pids: list[int]) -> bool:
    """Wait until processes are no more; false after half a minute."""
    deadline = time.monotonic() + 30
    while any(is_there(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
