"""The `download:` section of a source of URLs."""

import ipaddress
import re
from typing import Literal

from pydantic import Field, field_validator

from curation.config import Config

OptOut = Literal["noai", "noimageai", "noindex", "noimageindex", "tdm-reservation"]

_CONTACT = re.compile(r"[!-'*-~]+")  # printable ASCII but spaces and parentheses, as a comment may


class DownloadConfig(Config):
    """How files are fetched from the web. Limits hold for one worker, which downloads one shard.

    Attributes:
        contact: URL or mail address under which the owners of a site reach you; it stands in the
            `User-Agent` of every request.
        concurrency: Requests at a time, to all hosts together.
        per_host: Requests at a time to one host.
        host_delay_s: Least time between the starts of two requests to one host.
        connect_timeout_s: Time to find a host, and time to connect to it.
        read_timeout_s: Time for which a server may be silent.
        request_timeout_s: Time for one request as a whole, however busily the server trickles.
        deadline_s: Time for a shard; what is not there by then is `deferred` to the next ingest.
        tries: Requests for one URL, where the reasons to fail are passing ones.
        backoff_s: Wait before the second try, doubled for each further one.
        max_wait_s: Longest wait between two tries. A server that asks for more (`Retry-After`) gets
            it: the URL waits for the next ingest.
        max_redirects: Redirects that are followed, each checked like a URL of the list.
        host_failures: Requests to a host in a row that end without any answer, before the host is
            left alone until the next ingest.
        opt_outs: What a site may say to have its files left out: `noai`, `noimageai`, `noindex`,
            `noimageindex` in `X-Robots-Tag`, and `tdm-reservation: 1`.
        allow_addresses: Networks in CIDR notation that may be connected to though they are not
            public, for an intranet: `10.1.0.0/16`.
        ca_file: File of certificate authorities, PEM; null for those of the system.
    """

    contact: str
    concurrency: int = Field(default=64, ge=1, le=1024)
    per_host: int = Field(default=2, ge=1, le=64)
    host_delay_s: float = Field(default=0.1, ge=0, le=600)
    connect_timeout_s: float = Field(default=10.0, gt=0, le=600)
    read_timeout_s: float = Field(default=20.0, gt=0, le=600)
    request_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    deadline_s: float = Field(default=1800.0, gt=0)
    tries: int = Field(default=3, ge=1, le=10)
    backoff_s: float = Field(default=1.0, ge=0, le=600)
    max_wait_s: float = Field(default=60.0, ge=0, le=3600)
    max_redirects: int = Field(default=5, ge=0, le=20)
    host_failures: int = Field(default=8, ge=1)
    opt_outs: tuple[OptOut, ...] = ("noai", "noimageai", "tdm-reservation")
    allow_addresses: tuple[str, ...] = ()
    ca_file: str | None = None

    @field_validator("contact")
    @classmethod
    def _header(cls, contact: str) -> str:
        if not _CONTACT.fullmatch(contact) or not ("@" in contact or "://" in contact):
            message = "expected a URL or a mail address that a site's owner can use"
            raise ValueError(message)
        return contact

    @field_validator("allow_addresses")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                message = f"{network!r} is no network; write one as in 10.1.0.0/16"
                raise ValueError(message) from error
        return networks
