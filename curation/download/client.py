"""Requests: redirects, status codes, time-outs and tries, each ending in a file or a reason."""

import asyncio
import errno
import logging
import socket
import ssl
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from types import TracebackType
from typing import Any

import aiohttp
import yarl

from curation.download.addresses import AddressRule
from curation.download.body import Body, Budget, too_large
from curation.download.config import DownloadConfig
from curation.download.hosts import HostGate
from curation.download.opt_out import find_opt_out
from curation.download.outcome import Failed, Fetched, FetchError, Outcome
from curation.download.resolver import CheckedResolver, Lookup
from curation.download.urls import Target, join, parse_target
from curation.download.waits import backoff_s, retry_after_s

_log = logging.getLogger(__name__)

AGENT = "longtail"
"""Our name as a crawler: in `User-Agent`, and where headers address crawlers by name."""

_REDIRECTS = (301, 302, 303, 307, 308)
_NOTHING_THERE = (404, 410)
_TOO_MANY = 429
_PASSING = (408, 425)  # besides all of 5xx
LOOKUP_THREADS = 16  # a worker's address space is limited, and every thread reserves some
_MAX_HEADER_BYTES = 16384
_MAX_HEADERS = 128


class Client:
    """A session with the web; used inside a running event loop, as an async context manager.

    It keeps no cookies, reads no `.netrc` and takes no proxy from the environment: through a proxy
    no address could be checked.

    Args:
        config: Manners and limits.
        max_bytes: Most that one file may have.
        budget: What all files together may have.
        lookup: Where names become addresses.
    """

    def __init__(
        self, config: DownloadConfig, max_bytes: int, budget: Budget, lookup: Lookup
    ) -> None:
        self._config = config
        self._max_bytes = max_bytes
        self._budget = budget
        self._rule = AddressRule(config.allow_addresses)
        self._executor = ThreadPoolExecutor(LOOKUP_THREADS, "lookup")
        self._resolver = CheckedResolver(
            self._rule, lookup, self._executor, config.connect_timeout_s
        )
        self._slots = asyncio.Semaphore(config.concurrency)
        self._gates: defaultdict[str, HostGate] = defaultdict(self._new_gate)
        self._session: aiohttp.ClientSession | None = None

    def _new_gate(self) -> HostGate:
        config = self._config
        return HostGate(config.per_host, config.host_delay_s, config.host_failures)

    async def __aenter__(self) -> "Client":
        connector = aiohttp.TCPConnector(
            limit=0,  # gates and slots limit
            resolver=self._resolver,
            use_dns_cache=False,  # the resolver has its own
            ssl=ssl.create_default_context(cafile=self._config.ca_file),
            socket_factory=self._make_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"{_product()} (+{self._config.contact})",
                "Accept": "image/*,*/*;q=0.1",
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._config.connect_timeout_s,
                sock_read=self._config.read_timeout_s,
            ),
            auto_decompress=False,  # `Body` counts what comes out
            trust_env=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()
        await self._resolver.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _make_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address, the last place where a forbidden one can be stopped."""
        family, kind, protocol, _, place = info
        if not self._rule.allows(place[0]):
            raise PermissionError(errno.EACCES, "the address is not public", place[0])
        return socket.socket(family, kind, protocol)

    async def fetch(self, url: str) -> Outcome:
        """Fetch one URL, with as many tries as its troubles are worth."""
        config = self._config
        tried = 0
        while True:
            try:
                return Fetched(await self._follow(url))
            except FetchError as error:
                tried += 1
                wait_s = backoff_s(url, tried, config.backoff_s, config.max_wait_s)
                asked_s = error.wait_s or 0.0
                if not error.again or tried == config.tries or asked_s > config.max_wait_s:
                    return Failed(error.error)
            await asyncio.sleep(max(wait_s, asked_s))

    async def _follow(self, url: str) -> bytes:
        """Request a URL and what it redirects to.

        Raises:
            FetchError: Why there is no file.
        """
        target = parse_target(url)
        for _ in range(self._config.max_redirects + 1):
            found = await self._take_turn(target)
            if isinstance(found, bytes):
                return found
            target = found
        raise FetchError("redirects", limit=self._config.max_redirects)

    async def _take_turn(self, target: Target) -> bytes | Target:
        """Request once, when it is the host's turn and a slot is free."""
        gate = self._gates[target.host]
        async with gate:
            if gate.is_dead:
                raise FetchError("unavailable")
            async with self._slots:
                if self._budget.is_spent:
                    raise FetchError("deferred")
                try:
                    found = await self._request(target)
                except FetchError as error:
                    if error.silent:
                        gate.kept_silent()
                    else:
                        gate.answered()
                    if error.wait_s is not None:
                        gate.pause(min(error.wait_s, self._config.max_wait_s))
                    raise
                gate.answered()
                return found

    async def _request(self, target: Target) -> bytes | Target:
        """Exchange one request for an answer, and library errors for ours."""
        config = self._config
        await self._resolver.addresses(target.host)
        try:
            async with asyncio.timeout(config.request_timeout_s):
                return await self._exchange(target)
        except aiohttp.ServerTimeoutError as error:
            limits = (config.connect_timeout_s, config.read_timeout_s)
            seconds = limits[isinstance(error, aiohttp.SocketTimeoutError)]
            raise _timeout(seconds) from error
        except TimeoutError as error:
            raise _timeout(config.request_timeout_s) from error
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            _log.info("%s: %s", target.host, error)
            raise FetchError("insecure", host=target.host, silent=True) from error
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            _log.info("%s: %s", target.host, error)
            raise FetchError("bad_response", reason="it is no valid HTTP") from error
        except aiohttp.ClientPayloadError as error:
            _log.info("%s: %s", target.host, error)
            raise FetchError("unavailable", again=True) from error
        except (aiohttp.ClientError, OSError) as error:
            _log.info("%s: %s", target.host, error)
            raise FetchError("unavailable", again=True, silent=True) from error

    async def _exchange(self, target: Target) -> bytes | Target:
        assert self._session is not None
        url = yarl.URL(target.url, encoded=True)
        async with self._session.get(url, allow_redirects=False) as answer:
            _check_status(answer)
            directive = find_opt_out(answer.headers.items(), AGENT, self._config.opt_outs)
            if directive is not None:
                raise FetchError("opted_out", directive=directive)
            if answer.status in _REDIRECTS:
                location = answer.headers.get("Location")
                if location is None:
                    raise FetchError("bad_response", reason="a redirect to nowhere")
                return join(target, location)
            return await self._read(answer)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.content_length is not None and answer.content_length > self._max_bytes:
            raise too_large(answer.content_length, self._max_bytes)
        encoding = answer.headers.get("Content-Encoding", "")
        body = Body(encoding, self._max_bytes, self._budget)
        try:
            async for chunk in answer.content.iter_any():
                body.add(chunk)
            return body.finish()
        except BaseException:
            body.drop()
            raise


def _product() -> str:
    try:
        return f"{AGENT}/{metadata.version(AGENT)}"
    except metadata.PackageNotFoundError:  # a working directory on a cluster
        return AGENT


def _timeout(seconds: float) -> FetchError:
    return FetchError("timeout", seconds=f"{seconds:g}", again=True, silent=True)


def _check_status(answer: aiohttp.ClientResponse) -> None:
    """Raise `FetchError` unless the answer is a file or leads on to one."""
    status = answer.status
    if status == 200 or status in _REDIRECTS:
        return
    if status in _NOTHING_THERE:
        raise FetchError("not_found", status=status)
    if status == _TOO_MANY or status in _PASSING or status >= 500:
        wait_s = retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC))
        code = "rate_limited" if status == _TOO_MANY else "unavailable"
        raise FetchError(code, again=True, wait_s=wait_s)
    raise FetchError("denied", status=status)
