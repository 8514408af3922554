"""The `endpoint:` section of whatever asks a model's server: where it is, and how to treat it."""

import os
import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from curation.config import Config
from curation.errors import ConfigError
from curation.urls import check_url

URL_VARIABLE = "OPENAI_BASE_URL"
"""Where the address is looked up if the pipeline names none."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_NAME = re.compile(r"[!-~]{1,512}")


class EndpointConfig(Config):
    """Where requests go and how many; a place and manners, never a part of what columns mean.

    Limits hold for one worker, whose shards in flight share them.

    Attributes:
        url: What `/chat/completions` is appended to, as in `http://10.0.0.7:8000/v1`; null takes
            it from the environment variable `OPENAI_BASE_URL`.
        served_model: The model's name on this server; null for the name in the configuration.
        api_key_env: Environment variable that holds the key; null sends none. The key itself never
            stands in a pipeline file.
        ca_file: File of certificate authorities, PEM; null for those of the system.
        max_in_flight: Requests at a time. Enough of them keep a server's queue full.
        requests_per_minute: Most requests begun in a minute, evenly spaced; null for no limit.
        tokens_per_minute: Most tokens in a minute, those of the prompt and of the answer, as the
            server counts them; null for no limit.
        connect_timeout_s: Time to find the server and connect to it.
        request_timeout_s: Time for one request, however busily the server trickles.
        deadline_s: Time for a row: all its tries with the waits between them.
        tries: Requests for a row, where the reasons to fail are passing ones.
        backoff_s: Wait before the second try, doubled for each further one.
        max_wait_s: Longest of these waits, and longest pause that a server may ask of all requests
            (`Retry-After`); the row that it was said to waits as long as asked, or fails.
        max_failures: Rows that may fail in a row, before the server is asked something harmless to
            tell whether they or it is at fault.
        max_answer_bytes: Longest answer that is read.
    """

    url: str | None = None
    served_model: str | None = None
    api_key_env: str | None = None
    ca_file: str | None = None
    max_in_flight: int = Field(default=64, ge=1, le=4096)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    connect_timeout_s: float = Field(default=10.0, gt=0, le=600)
    request_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    deadline_s: float = Field(default=900.0, gt=0, le=3600)
    tries: int = Field(default=6, ge=1, le=20)
    backoff_s: float = Field(default=1.0, ge=0, le=600)
    max_wait_s: float = Field(default=60.0, ge=0, le=600)
    max_failures: int = Field(default=64, ge=1)
    max_answer_bytes: int = Field(default=4 << 20, ge=1024, le=1 << 28)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None:
            check_address(url, "url")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _name_of_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            # No `ValueError`: whoever put the key itself here must not find it in the message.
            message = (
                "endpoint.api_key_env: expected the name of an environment variable, such as "
                "OPENAI_API_KEY; a key itself must not stand in a pipeline file, which is stored"
            )
            raise ConfigError(message)
        return name

    @field_validator("served_model")
    @classmethod
    def _one_word(cls, name: str | None) -> str | None:
        if name is not None and not _MODEL_NAME.fullmatch(name):
            message = "expected the model's name as the server lists it"
            raise ValueError(message)
        return name

    def address(self) -> str:
        """Return the server's address, from here or from the environment, without a final slash.

        Raises:
            ConfigError: There is none, or it is none.
        """
        if self.url is not None:
            return self.url.rstrip("/")
        url = os.environ.get(URL_VARIABLE, "").strip()
        if not url:
            message = (
                f"no endpoint is named; write `endpoint: {{url: http://HOST:PORT/v1}}`, or set "
                f"{URL_VARIABLE}"
            )
            raise ConfigError(message)
        try:
            check_address(url, URL_VARIABLE)
        except ValueError as error:
            message = f"{URL_VARIABLE}: {error}"
            raise ConfigError(message) from error
        return url.rstrip("/")


def check_address(url: str, where: str) -> None:
    """Refuse what is no address of a server, or holds a secret.

    Raises:
        ValueError: It is none. ConfigError: There are credentials in it.
    """
    check_url(url, where)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        message = "expected the address of a server, as in http://10.0.0.7:8000/v1"
        raise ValueError(message)
