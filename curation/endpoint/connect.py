"""What an endpoint needs to be there, and the client for it."""

import os
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curation.endpoint.config import EndpointConfig
from curation.errors import ConfigError

if TYPE_CHECKING:
    from curation.endpoint.client import Client


def check_ready(config: EndpointConfig) -> None:
    """Refuse what can be seen to be missing without asking the server.

    Raises:
        ConfigError: The extra `http`, an address, the key, or the file of authorities.
    """
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        message = "aiohttp is not installed, without which no endpoint can be asked; run `pip "
        raise ConfigError(f"{message}install 'longtail[http]'`") from error
    config.address()
    read_key(config)
    if config.ca_file is not None:
        try:
            ssl.create_default_context(cafile=config.ca_file)
        except OSError as error:  # ssl.SSLError is one
            message = (
                f"endpoint.ca_file: {config.ca_file}: no certificates in PEM can be read from it"
            )
            raise ConfigError(message) from error


def read_key(config: EndpointConfig) -> str:
    """Return the key; empty where the endpoint takes none.

    Raises:
        ConfigError: The variable is not set here, or holds what no header can.
    """
    name = config.api_key_env
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        message = (
            f"endpoint.api_key_env: {name} is not set; export it where the run is started and, on "
            "a cluster, on every machine that has workers"
        )
        raise ConfigError(message)
    if not all("!" <= character <= "~" for character in key):
        message = f"endpoint.api_key_env: {name} holds more than one word of plain ASCII"
        raise ConfigError(message)
    return key


def connect(
    config: EndpointConfig,
    model: str,
    *,
    key: str | None = None,
    control: Mapping[str, Any] | None = None,
) -> "Client":
    """Return a client; nothing is asked yet.

    Args:
        config: Where, and how much.
        model: The model's name, unless `config.served_model` has another.
        key: The key, for a server that the caller started itself; null reads the environment.
        control: A request, without the model, that a healthy server answers. It tells whether a
            failure is a row's or the server's fault, and should be of the same kind as the rows'.
            Null for two words of text.

    Raises:
        ConfigError: As `check_ready`.
    """
    check_ready(config)
    from curation.endpoint.client import Client

    secret = read_key(config) if key is None else key
    return Client(config, config.address(), config.served_model or model, secret, control)
