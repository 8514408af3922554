"""A vLLM server that a stage starts for itself, and that ends with it.

It listens on loopback, on a port and with a key that nobody else knows, and speaks as OpenAI does:
what asks it is the same client that asks a server elsewhere. It runs in the Python that has vLLM
(`curation.endpoint.vllm_python`), under a guard (`curation.endpoint.guard`), which ends it however
the worker dies.

Beyond OpenAI's words it takes (vLLM 0.32, checked by `tests/integration/test_vllm.py`):

- `logprobs: true, logprob_token_ids: [...]`, at most 128 ids, `return_tokens_as_token_ids: true`:
  the log-probabilities of just these tokens, over the whole vocabulary and before any sampling
  parameter, as `token_id:<id>`, after that of the token that was chosen.
- `return_token_ids: true`: the prompt as token ids, every image with all its tokens.
"""

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import aiohttp

from curation.endpoint import guard
from curation.endpoint.model_folder import check_model_folder
from curation.endpoint.vllm_python import clean_environment
from curation.endpoint.vllm_settings import ServerSettings
from curation.errors import EndpointError

_TRIES = 3
"""Another process may take the port between our asking for a free one and the server's start."""

_GPU_PART = 0.9
"""The rest is for what the driver and the kernels take besides; vLLM's own choice, too."""

_POLL_S = 0.25
_ASK_S = 10.0
_END_S = guard.GRACE_S + 10.0
_TAIL_BYTES = 1 << 16
_MAX_WORDS = 300

_ERROR_LINE = re.compile(r"\b[A-Za-z_.]*(?:Error|Exception)\b: \S.*")
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?((INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] )?")


class VllmServer:
    """One server for one model; `start` waits until it answers.

    Args:
        python: The Python that has vLLM.
        model: The model's folder.
        name: What requests call the model.
        settings: How it runs.
        device: `cuda` for the GPUs that this process sees.
        cpus: Threads that compute, without a GPU; with one, that prepare images.
        gpus: What of the GPUs is its own: several, one, or a fraction of one.
        options: More arguments of `vllm serve`, of the caller's own making, never of a user's.
    """

    def __init__(
        self,
        python: Path,
        model: Path,
        name: str,
        settings: ServerSettings,
        *,
        device: Literal["cpu", "cuda"],
        cpus: float = 1.0,
        gpus: float = 1.0,
        options: Sequence[str] = (),
    ) -> None:
        self._python = python
        self._model = model
        self._name = name
        self._settings = settings
        self._device = device
        self._cpus = cpus
        self._gpus = gpus
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._port = 0
        self.api_key = secrets.token_urlsafe(32)

    @property
    def url(self) -> str:
        """Where it answers, as OpenAI's clients want it: with `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def is_alive(self) -> bool:
        """Whether it runs; vLLM ends by itself when its engine fails."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ConfigError: The model is not whole, as far as can be seen without loading it.
            EndpointError: It ended before, or took too long; says vLLM's own last words.
        """
        check_model_folder(self._model)
        for _ in range(_TRIES):
            self._launch()
            if self._wait():
                return
            words = self.last_words()
            self.close()
            if "ddress already in use" not in words:
                break
        message = (
            f"vLLM ended before it served {self._model}: {words}; check the model's folder, its "
            f"`dtype` and `max_model_len`, and that {self._python} starts vLLM here"
        )
        raise EndpointError(message)

    def close(self) -> None:
        """End it with all its processes, and wait until they are gone; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the server dies with its guard
            process.wait()
        assert self._log is not None
        self._log.close()

    def words_at_end(self) -> str | None:
        """Return its last words; null where it runs, as far as can be seen."""
        return None if self.is_alive else self.last_words()

    def last_words(self) -> str:
        """Return the line of its log that says most about its end, in short."""
        if self._log is None or self._log.closed:
            return "it was ended"
        end = self._log.seek(0, 2)
        self._log.seek(max(0, end - _TAIL_BYTES))
        text = self._log.read().decode("utf-8", errors="replace")
        return last_words(text)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    def _launch(self) -> None:
        self._port = _free_port()
        self._log = self._open_log()
        # The guard is plain Python of the standard library; `-I` keeps other code out of it.
        command = [sys.executable, "-I", "-S", guard.__file__, *self._command()]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C is for us to answer
        )

    def _wait(self) -> bool:
        """Wait until it answers; return whether it does."""
        assert self._process is not None
        deadline = time.monotonic() + self._settings.start_timeout_s
        while self._process.poll() is None:
            if asyncio.run(self._answers()):
                return True
            if time.monotonic() > deadline:
                words = self.last_words()
                self.close()
                message = (
                    f"vLLM did not serve {self._model} within server.start_timeout_s = "
                    f"{self._settings.start_timeout_s:g} s; its last words: {words}"
                )
                raise EndpointError(message)
            time.sleep(_POLL_S)
        return False

    async def _answers(self) -> bool:
        """Ask for its models, with the key: another program at this port would not let us in."""
        limit = aiohttp.ClientTimeout(total=_ASK_S)
        headers = {"Authorization": f"Bearer {self.api_key}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, headers=headers, trust_env=False) as session,
                session.get(f"{self.url}/models", allow_redirects=False) as response,
            ):
                return response.status == 200 and self._name in await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False  # not yet

    def _command(self) -> list[str]:
        settings = self._settings
        arguments: dict[str, object] = {
            "model": self._model,
            "served-model-name": self._name,
            "host": "127.0.0.1",
            "port": self._port,
            # Whoever asks says how to sample; the model's folder has no say in it.
            "generation-config": "vllm",
            "seed": 0,
            # No image comes twice, so remembering what became of it costs memory for nothing.
            "mm-processor-cache-gb": 0,
            "limit-mm-per-prompt": json.dumps({"image": 1}),
            # Answers that shall be JSON: xgrammar, the default, lets raw control characters into
            # strings with a `maxLength`, which is no JSON; and where white space is free, a model
            # that has lost its way writes nothing else until it is cut.
            "structured-outputs-config": json.dumps(
                {"backend": "guidance", "disable_any_whitespace": True}
            ),
            "max-num-seqs": settings.max_num_seqs,
            "max-num-batched-tokens": settings.max_num_batched_tokens,
        }
        if self._device == "cuda":
            part = round(_GPU_PART * min(1.0, self._gpus), 3)
            arguments["gpu-memory-utilization"] = settings.gpu_memory_utilization or part
            arguments["tensor-parallel-size"] = settings.tensor_parallel_size or max(
                1, int(self._gpus)
            )
        flags = ["--disable-uvicorn-access-log"]
        if settings.enforce_eager:
            flags.append("--enforce-eager")
        if self._device == "cpu":
            # A prompt in pieces, of a request with a seed, ends the engine of vLLM 0.32 on a CPU:
            # "CPU Generator does not use offset".
            flags.append("--no-enable-chunked-prefill")
        given = [[f"--{key}", str(value)] for key, value in arguments.items() if value is not None]
        return [
            str(self._python),
            "-P",  # not the working directory: vLLM imports its own environment's packages only
            "-m",
            # The module of `vllm serve`: that command asks for a package named vllm, and the build
            # for CPUs has another name.
            "vllm.entrypoints.openai.api_server",
            *(word for pair in given for word in pair),
            *flags,
            *self._options,
        ]

    def _environment(self) -> dict[str, str]:
        environment = {
            **clean_environment(),
            "VLLM_API_KEY": self.api_key,  # a command line can be read by everybody
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_DO_NOT_TRACK": "1",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": str(max(1, int(self._cpus))),
            "PYTHONUNBUFFERED": "1",
        }
        if self._device == "cpu":
            environment |= {
                "CUDA_VISIBLE_DEVICES": "",
                "VLLM_CPU_KVCACHE_SPACE": str(self._settings.cpu_cache_gib),
                # Workers beside each other would all be bound to the same first cores.
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            }
        return environment

    def _open_log(self) -> IO[bytes]:
        if self._settings.log is None:
            return tempfile.TemporaryFile(prefix="longtail-vllm-")
        folder = Path(self._settings.log).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, _ = tempfile.mkstemp(prefix="vllm-", suffix=".log", dir=folder)
        return os.fdopen(descriptor, "w+b")


def last_words(log: str) -> str:
    """Return what a log of vLLM says about its end: the last error, else the last line.

    An error is told again by every process above the one that had it ("initialization failed, see
    root cause above"); the cause stands before that. Some go on in lines that are set in.
    """
    lines = [_PREFIX.sub("", line).rstrip() for line in log.splitlines() if "WARNING" not in line]
    lines = [line for line in lines if line]
    errors = []
    for position, line in enumerate(lines):
        if (found := _ERROR_LINE.search(line)) and "root cause" not in line:
            more = takewhile(lambda text: text.startswith("  "), lines[position + 1 :])
            errors.append(" ".join([found.group(), *(text.strip() for text in more)]))
    words = (errors or lines or ["it said nothing"])[-1]
    return words if len(words) <= _MAX_WORDS else f"{words[: _MAX_WORDS - 3]}..."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
