"""The captioner `vllm`: a vision-language model behind a vLLM server that the stage starts."""

import re
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from curation.endpoint import EndpointConfig, check_ready, connect
from curation.endpoint.model_folder import check_model_folder
from curation.endpoint.vllm_python import find_vllm_python, vllm_version
from curation.endpoint.vllm_settings import ServerSettings
from curation.errors import ConfigError, EndpointError, EngineError
from curation.pipeline.stage import Finding, Resources, Stage
from curation.weights import Reference, WeightsReference
from stages.caption.captioner import Outcome
from stages.caption.openai import OpenAICaptioner, OpenAIConfig

if TYPE_CHECKING:
    from curation.endpoint.client import Client
    from curation.endpoint.vllm_server import VllmServer

ROLE = "model"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_MANNERS_ONLY = ("url", "served_model", "api_key_env", "ca_file")
_LOOPBACK = "http://127.0.0.1:1/v1"  # stands for the server, before it has a port


class VllmConfig(OpenAIConfig):
    """A model that this stage serves to itself, and what it is asked.

    Attributes:
        weights: Folder, URL or `hf://OWNER/NAME@COMMIT` of the model, in the layout that
            transformers and vLLM read. The digest of its files is what the model is.
        precision: In which it computes.
        max_model_len: Tokens of a prompt and its answer together, at most; memory for the cache is
            shared out by it.
        model: What the column `model` says; the name of the weights where this is empty.
        revision: What the column `revision` says; the commit, else the weights' digest, where this
            is empty.
        schema_limits: Put the greatest lengths into the schema, which vLLM holds the model to.
        endpoint: How many requests it gets, and how long they may take.
        python: The Python that has vLLM, on every machine with workers; null for the one that the
            environment variable `LONGTAIL_VLLM_PYTHON` names there, then for that of `make vllm`.
        server: How the server runs.
    """

    # The digest of the weights is the identity, so names of it are no meaning here.
    captioner: Literal["vllm"] = "vllm"  # type: ignore[assignment]
    weights: WeightsReference
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    max_model_len: int = Field(default=16384, ge=1024)
    model: str = Field(default="", max_length=512, exclude=True)
    revision: str = Field(default="", max_length=512, exclude=True)
    schema_limits: bool = True
    endpoint: EndpointConfig = Field(
        default_factory=lambda: EndpointConfig(max_in_flight=256), exclude=True
    )
    python: str | None = Field(default=None, exclude=True)
    server: ServerSettings = Field(default_factory=ServerSettings, exclude=True)

    @field_validator("endpoint")
    @classmethod
    def _own_server(cls, endpoint: EndpointConfig) -> EndpointConfig:
        if given := [name for name in _MANNERS_ONLY if getattr(endpoint, name) is not None]:
            message = (
                f"{given[0]} has no place here: this captioner starts its own server; one that "
                "runs already is for `captioner: openai`"
            )
            raise ValueError(message)
        return endpoint

    @model_validator(mode="after")
    def _room_for_an_answer(self) -> "VllmConfig":
        if self.max_tokens >= self.max_model_len:
            message = (
                f"max_tokens = {self.max_tokens} leaves no room for a prompt in max_model_len = "
                f"{self.max_model_len}"
            )
            raise ValueError(message)
        return self


class VllmCaptioner(OpenAICaptioner):
    """Starts a vLLM server for its worker alone and asks it as `openai` asks any other.

    The server goes with the worker. Where its engine ends over what it was asked, the shards in
    hand are charged, since one of their images may be why, and the next one finds a new server.

    Attributes:
        server: The server, once it was started.
    """

    version = 1
    config_type = VllmConfig
    resources: ClassVar[Resources | None] = Resources(gpus=1, own_pool=True, shards_in_flight=4)

    def __init__(self, config: VllmConfig) -> None:
        super().__init__(config)
        self._vllm = config
        self._stage: Stage[Any] | None = None
        self.server: VllmServer | None = None
        self._restarting = threading.Lock()

    @property
    def served_name(self) -> str:
        """What its server calls the model."""
        return self._vllm.model or _name(self._vllm.weights)

    def weights(self) -> Mapping[str, str]:
        return {ROLE: self._vllm.weights}

    def check(self, stage: Stage[Any]) -> None:
        check_ready(self._manners(_LOOPBACK))
        find_vllm_python(self._vllm.python)
        reference = Reference.parse(self._vllm.weights)
        if reference.kind == "path":  # others are looked at where they were fetched to
            check_model_folder(Path(reference.text))
        spread = self._vllm.server.tensor_parallel_size or 1
        if stage.execution.device == "cuda" and spread > max(1.0, stage.execution.gpus):
            message = (
                f"server.tensor_parallel_size is {spread} and a worker has "
                f"{stage.execution.gpus:g} GPU; set run.gpus to {spread}"
            )
            raise ConfigError(message)

    def probe(self) -> Iterable[Finding]:
        try:
            check_ready(self._manners(_LOOPBACK))
            python = find_vllm_python(self._vllm.python)
        except ConfigError as error:
            return [Finding("vLLM", False, str(error), "mend that before a run")]
        return [Finding("vLLM", True, f"vLLM {vllm_version(python)} in {python}")]

    def setup(self, stage: Stage[Any]) -> None:
        """Start the server, and see that the model behind it receives images.

        Raises:
            EndpointError: The server does not start, or cannot be used.
        """
        from curation.endpoint.vllm_server import VllmServer

        config = self._vllm
        digest = stage.facts["weights"][ROLE]
        self._config = config.model_copy(
            update={
                "model": self.served_name,
                "revision": config.revision or Reference.parse(config.weights).commit or digest,
            }
        )
        self._stage = stage
        server = VllmServer(
            find_vllm_python(config.python),
            stage.weights_path(ROLE),
            self._config.model,
            config.server,
            device=stage.execution.device,
            cpus=stage.execution.cpus,
            gpus=stage.execution.gpus,
            options=(
                *("--dtype", _DTYPES[config.precision]),
                *("--max-model-len", str(config.max_model_len)),
            ),
        )
        server.start()
        self.server = server
        try:
            super().setup(stage)
        except EndpointError as error:
            words = server.words_at_end()
            server.close()
            if words is None:
                raise
            message = f"vLLM ended at its first request: {words}"
            raise EndpointError(message) from error

    def connect(self, control: Mapping[str, Any]) -> "Client":
        assert self.server is not None, "setup comes first"
        return connect(
            self._manners(self.server.url),
            self._config.model,
            key=self.server.api_key,
            control=control,
        )

    def start(self, pixels: NDArray[np.uint8], facts: Mapping[str, Any]) -> "Future[Outcome]":
        assert self.server is not None, "setup comes first"
        assert self._stage is not None, "setup comes first"
        with self._restarting:
            if not self.server.is_alive:
                self.server.close()
                self.setup(self._stage)
        return super().start(pixels, facts)

    async def _describe(self, image: bytes, words: str, num_pixels: int) -> Outcome:
        server = self.server
        assert server is not None, "setup comes first"
        try:
            return await super()._describe(image, words, num_pixels)
        except EndpointError as error:
            last = server.words_at_end()
            if last is None:
                raise
            message = f"vLLM ended while it worked on this shard: {last}"
            raise EngineError(message) from error

    def _manners(self, url: str) -> EndpointConfig:
        return self._vllm.endpoint.model_copy(update={"url": url})


def _name(weights: str) -> str:
    """Return what weights are called: their name on the hub, or that of their file or folder."""
    reference = Reference.parse(weights)
    name = reference.repository or PurePosixPath(reference.text).name
    return re.sub(r"[^!-~]", "_", name) or ROLE
