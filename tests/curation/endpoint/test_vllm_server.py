"""What vLLM's logs say of its end, and which Python has it; servers that run are in tests/vllm."""

import sys
from pathlib import Path

import pytest

from curation.endpoint.vllm_python import VARIABLE, clean_environment, find_vllm_python
from curation.endpoint.vllm_server import VllmServer, last_words
from curation.endpoint.vllm_settings import ServerSettings
from curation.errors import ConfigError, EndpointError
from tests.fakes.tiny_qwen_vl import write_tiny_qwen_vl

BEFORE = (
    "(APIServer pid=739) WARNING 11-23 15:21:27 [system_utils.py:255] Found ulimit of 20000. This "
    "can cause fd limit errors like `OSError: [Errno 24] Too many open files`\n"
)
CAUSE = "RuntimeError: Cannot find any model weights with `/models/m`"
ROOT = (
    f"(Worker pid=863) ERROR 11-23 15:21:39 [executor.py:953] {CAUSE}\n"
    "(EngineCore pid=804) ERROR 11-23 15:21:41 [core.py:1510] Exception: WorkerProc initialization "
    "failed due to an exception in a background process. See stack trace for root cause.\n"
    "    raise RuntimeError(\n"
    "RuntimeError: Engine core initialization failed. See root cause above.\n"
)
INDENTED = (
    "pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, Unrecognized model in /models/m.\n"
)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (ROOT, CAUSE),
        (INDENTED, " ".join(line.strip() for line in INDENTED.splitlines())),
        ("(APIServer pid=1) INFO 11-23 15:11:52 [entry.py:140] Starting\n", "Starting"),
        (f"Killed by somebody\n{BEFORE}", "Killed by somebody"),
        ("", "it said nothing"),
    ],
)
def test_the_cause_is_told(log, words):
    """Not the errors that follow from it, nor a warning that speaks of errors."""
    assert last_words(BEFORE + log) == words


def test_long_words_are_cut():
    """They go into a sentence."""
    assert len(last_words(f"ValueError: {'x' * 1000}")) == 300


@pytest.fixture
def model(tmp_path):
    return write_tiny_qwen_vl(tmp_path / "model")


def program(path: Path, text: str) -> Path:
    """Write a program that stands in for the Python with vLLM, which these tests must not need."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def test_a_server_that_ends_at_once(tmp_path, model):
    """Its own words are in the sentence, and what to look at."""
    python = program(
        tmp_path / "python", "print('ImportError: no GPU', flush=True)\nraise SystemExit(1)"
    )
    server = VllmServer(python, model, "m", ServerSettings(), device="cpu")

    with pytest.raises(EndpointError) as caught:
        server.start()

    assert f"vLLM ended before it served {model}: ImportError: no GPU; check" in str(caught.value)
    assert not server.is_alive


def test_a_server_that_never_answers(tmp_path, model):
    """After its time it is ended, and what it said last is told."""
    python = program(
        tmp_path / "python", "print('Loading', flush=True)\nimport time\ntime.sleep(600)"
    )
    settings = ServerSettings(start_timeout_s=0.5)
    server = VllmServer(python, model, "m", settings, device="cpu")

    with pytest.raises(
        EndpointError, match="within server.start_timeout_s = 0.5 s; its last words: Loading"
    ):
        server.start()

    assert not server.is_alive


def test_what_it_is_started_with(tmp_path, model):
    """The key is in its environment alone; neither our Python's packages nor the hub come along."""
    seen = tmp_path / "seen"
    python = program(
        tmp_path / "python",
        f"import os, sys\nopen({str(seen)!r}, 'w').write(repr((sys.argv, dict(os.environ))))",
    )
    settings = ServerSettings(gpu_memory_utilization=0.4, log=str(tmp_path / "logs"))
    server = VllmServer(python, model, "m", settings, device="cuda", cpus=3, options=("--x", "y"))

    with pytest.raises(EndpointError):
        server.start()

    arguments, environment = eval(seen.read_text())
    assert server.api_key not in arguments
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    assert arguments[arguments.index("--gpu-memory-utilization") + 1] == "0.4"
    assert arguments[-2:] == ["--x", "y"]
    assert not any("trust-remote-code" in word for word in arguments)
    assert environment["VLLM_API_KEY"] == server.api_key
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert "PYTHONPATH" not in environment
    assert "CUDA_VISIBLE_DEVICES" not in environment, "the GPUs of the worker, as Ray gave them"
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_whose_python(tmp_path, monkeypatch):
    """The one that the pipeline names, then the environment, then the folder of `make vllm`."""
    for name in ("named", "of-environment", ".venv-vllm/bin/python"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        program(path, "")  # ends well: it has what it was asked for
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "of-environment"))

    assert find_vllm_python("named") == tmp_path / "named"
    assert find_vllm_python() == tmp_path / "of-environment"
    monkeypatch.delenv(VARIABLE)
    assert find_vllm_python() == tmp_path / ".venv-vllm/bin/python"


@pytest.mark.parametrize("named", ["no-vllm", "absent", None])
def test_no_python_with_vllm(tmp_path, monkeypatch, named):
    """The sentence says how to get one."""
    program(tmp_path / "no-vllm", "raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)

    with pytest.raises(ConfigError, match="`make vllm` makes an environment with it in .venv-vllm"):
        find_vllm_python(named)


def test_a_clean_environment(monkeypatch):
    """Nothing of our interpreter, and not the one thread that a worker has."""
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")

    environment = clean_environment()

    assert environment["HTTPS_PROXY"] == "http://proxy"
    assert not {"PYTHONPATH", "MKL_NUM_THREADS"} & environment.keys()
