"""One real vLLM server for all tests here, with a tiny model of random weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.endpoint import EndpointConfig, connect
from curation.endpoint.client import Client
from curation.endpoint.vllm_python import find_vllm_python
from curation.endpoint.vllm_server import VllmServer
from curation.errors import ConfigError
from tests.fakes.tiny_qwen_vl import write_tiny_qwen_vl
from tests.vllm.small import NAME, OPTIONS, SETTINGS


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """Return the Python that has vLLM; skip where there is none, with the advice what to do."""
    try:
        return find_vllm_python()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Qwen3-VL."""
    return write_tiny_qwen_vl(tmp_path_factory.mktemp("models") / NAME)


@pytest.fixture(scope="session")
def server(vllm_python: Path, tiny_model: Path) -> Iterator[VllmServer]:
    """Start a server, and end it after all tests."""
    with VllmServer(
        vllm_python, tiny_model, NAME, SETTINGS, device="cpu", options=OPTIONS
    ) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: VllmServer) -> Iterator[Client]:
    """Connect to it as stages do."""
    config = EndpointConfig(url=server.url, request_timeout_s=200, deadline_s=250)
    client = connect(config, NAME, key=server.api_key)
    yield client
    client.close()
