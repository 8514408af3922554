"""A server on loopback, and downloads from it with short limits."""

from functools import partial

import pytest

from curation.download import DownloadConfig, Fetched, fetch_all
from tests.fakes.web import serve

SMALL = 4096
LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture
def web():
    with serve() as server:
        yield server


@pytest.fixture
def config():
    """Limits that a well-behaved server on loopback never meets, and no waits."""
    return partial(
        DownloadConfig,
        contact="https://example.org/crawl",
        host_delay_s=0.0,
        backoff_s=0.0,
        allow_addresses=LOOPBACK,
    )


@pytest.fixture
def fetch(config):
    """Fetch one URL and return its bytes, or its error; settings as in `DownloadConfig`."""

    def fetch_one(url, *, max_bytes=SMALL, lookup=None, **settings):
        found = list(fetch_all([url], config(**settings), max_bytes=max_bytes, lookup=lookup))
        assert [position for position, _ in found] == [0]
        outcome = found[0][1]
        return outcome.data if isinstance(outcome, Fetched) else outcome.error

    return fetch_one
