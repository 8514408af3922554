"""Requests to one server, each ending in an answer, a reason or a verdict on the server."""

import asyncio
import json
import logging
import ssl
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypeVar

import aiohttp
import yarl

from curation.download.body import Body, Budget
from curation.download.outcome import FetchError
from curation.download.waits import backoff_s, retry_after_s
from curation.endpoint.chat import Answer, bad_response, filtered, parse_answer, refusal_of
from curation.endpoint.config import EndpointConfig
from curation.endpoint.loop import close_in_loop, run_in_loop
from curation.endpoint.outcome import Failed, RequestError
from curation.endpoint.pace import Pace
from curation.errors import EndpointError
from curation.urls import redacted

T = TypeVar("T")

Request = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_log = logging.getLogger(__name__)

_CONTROL: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Say OK."}],
    "max_tokens": 1,
}
_CONTROL_TRIES = 2
_VERDICT_S = 5.0
"""For how long a verdict on the server stands for all rows that fail meanwhile."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CLOSE_S = 2.0
_MAX_LISTED = 8


class Client:
    """A client that any number of threads may use; its requests share slots, pace and connections.

    A request is tried again while the reason is a passing one. What it comes to then is either
    the row's own (`Failed`), or the server's fault. To tell, the server is asked the control
    request: where that fails too, every row would fail, and none of them is charged for it.

    It keeps no cookies, reads no `.netrc`, follows no redirect (the key must not go elsewhere) and
    never goes through a proxy to this machine itself; for others it takes the one that the
    environment names.

    Args:
        config: Manners and limits.
        url: What `/chat/completions` is appended to.
        model: The model's name on the server.
        key: Sent as bearer token; empty for none.
        control: Null for two words of text.
    """

    def __init__(
        self,
        config: EndpointConfig,
        url: str,
        model: str,
        key: str,
        control: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.url = url
        self.model = model
        self._key = key
        self._control = self._body(control or _CONTROL)
        self._proxy = _proxy_for(url)
        self._slots = asyncio.Semaphore(config.max_in_flight)
        self._pace = Pace(config.requests_per_minute, config.tokens_per_minute, time.monotonic)
        self._session: aiohttp.ClientSession | None = None
        self._num_failed = 0
        self._verdict: asyncio.Task[RequestError | None] | None = None
        self._verdict_until = 0.0
        self._num_asked = 0
        self._finalizer: weakref.finalize[[aiohttp.ClientSession], Client] | None = None

    # From any thread ---------------------------------------------------------------------------

    def submit(self, request: Request) -> Future[Answer | Failed]:
        """Ask for a chat completion; the future may be waited for or cancelled.

        Args:
            request: The body, without `model`, or what makes it.

        Returns:
            What `ask` returns or raises.
        """
        return run_in_loop(self.ask(request))

    def complete(self, request: Request) -> Answer | Failed:
        """Ask, and wait.

        Raises:
            EndpointError: As `ask`.
        """
        return self.submit(request).result()

    def complete_all(self, requests: Sequence[Request]) -> list[Answer | Failed]:
        """Ask all of them at once, as slots allow, and return what came of each, in order.

        Raises:
            EndpointError: As `ask`; the others are broken off.
        """
        futures = [self.submit(request) for request in requests]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine that awaits `ask` in the loop of all clients."""
        return run_in_loop(work)

    def probe(self) -> str:
        """Return in a sentence what the server says of itself.

        Raises:
            EndpointError: It does not answer, or not to us.
        """
        listed = run_in_loop(self._list()).result()
        if listed is None:
            return f"{redacted(self.url)} answers, and lists no models"
        if self.model in listed:
            return f"{redacted(self.url)} serves {self.model}"
        shown = ", ".join(listed[:_MAX_LISTED]) + (", ..." if len(listed) > _MAX_LISTED else "")
        return (
            f"{redacted(self.url)} answers, and does not list {self.model} "
            f"(it lists {shown or 'nothing'})"
        )

    def close(self) -> None:
        """Close the connections; also done when the process ends."""
        if self._finalizer is not None:
            self._finalizer()

    # In the loop -------------------------------------------------------------------------------

    async def ask(self, request: Request) -> Answer | Failed:
        """Ask for a chat completion, with as many tries as its troubles are worth.

        Args:
            request: The body, without `model`; or what makes it, called once a slot is free:
                images in base64 are large, and many requests wait.

        Raises:
            EndpointError: The server is at fault: what it did, and what to do.
        """
        async with self._slots:
            if time.monotonic() < self._verdict_until and (known := self._known_verdict()):
                raise self._down(known)
            body = self._body(request() if callable(request) else request)
            try:
                answer = await self._try(body, self.config.tries)
            except RequestError as error:
                return await self._settle(error)
        self._num_failed = 0
        return answer

    async def _try(self, body: bytes, tries: int) -> Answer:
        """Request until there is an answer, or trying is no use.

        Raises:
            RequestError: The last of the reasons.
        """
        config = self.config
        self._num_asked += 1
        seed = f"{self.url} {self._num_asked}"  # rows that failed together do not return together
        await self._pace.turn()
        begun = time.monotonic()
        tried = 0
        while True:
            left_s = config.deadline_s - (time.monotonic() - begun)
            try:
                answer = await self._request(body, min(config.request_timeout_s, left_s))
            except RequestError as error:
                tried += 1
                asked_s = error.wait_s or 0.0
                wait_s = max(backoff_s(seed, tried, config.backoff_s, config.max_wait_s), asked_s)
                self._pace.pause(min(asked_s, config.max_wait_s))
                spent_s = time.monotonic() - begun + wait_s
                if not error.again or tried >= tries or spent_s >= config.deadline_s:
                    raise
                _log.info("%s: %s; asked again in %.1f s", redacted(self.url), error.words, wait_s)
            else:
                self._pace.spent((answer.prompt_tokens or 0) + (answer.completion_tokens or 0))
                return answer
            await asyncio.sleep(wait_s)
            await self._pace.turn()

    # Who is at fault ---------------------------------------------------------------------------

    async def _settle(self, error: RequestError) -> Failed:
        """Return the reason as the row's, unless the server fails at a harmless request too."""
        self._num_failed += 1
        too_many = self._num_failed >= self.config.max_failures
        if error.fault == "server" or too_many:
            found = await self._ask_control()
            # One that is busy is well: only where nothing else comes for long, nobody is served.
            if found is not None and (found.fault == "server" or too_many):
                self._num_failed = 0
                raise self._down(found)
            if too_many:
                self._num_failed = 0
        return Failed(error.error, error.words)

    async def _ask_control(self) -> RequestError | None:
        """Return what the control request fails for; null where it is answered.

        Rows that fail together share one such request.
        """
        if self._verdict is None or (
            self._verdict.done() and time.monotonic() >= self._verdict_until
        ):
            self._verdict = asyncio.create_task(self._judge())
        return await asyncio.shield(self._verdict)

    async def _judge(self) -> RequestError | None:
        found: RequestError | None = None
        try:
            await self._try(self._control, _CONTROL_TRIES)
        except RequestError as error:
            found = error
        self._verdict_until = time.monotonic() + _VERDICT_S
        return found

    def _known_verdict(self) -> RequestError | None:
        """Return why the server was found to be at fault a moment ago; null where it was not."""
        if self._verdict is None or not self._verdict.done():
            return None
        found = self._verdict.result()
        return found if found is not None and found.fault == "server" else None

    def _down(self, error: RequestError) -> EndpointError:
        return EndpointError(f"{redacted(self.url)}: {error.words}; {self._advice(error)}")

    def _advice(self, error: RequestError) -> str:
        name = self.config.api_key_env
        if error.error.startswith("denied"):
            key = f"the key in {name}" if name else "whether it wants a key (`api_key_env`)"
            return f"check the address, {key} and the model's name {self.model}"
        if error.fault == "limit":
            return (
                "it answered nothing else for long: lower max_in_flight, or set "
                "requests_per_minute or tokens_per_minute"
            )
        if error.fault == "row":
            return "it takes none of our requests: check what the model and the server support"
        return "see that a server with an OpenAI-compatible API runs there and is reachable"

    # Exchanges ---------------------------------------------------------------------------------

    def _body(self, request: Mapping[str, Any]) -> bytes:
        body = {"model": self.model, **request}
        # Not sorted: the order of a schema's properties is the order in which they are written.
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()

    async def _request(self, body: bytes, timeout_s: float) -> Answer:
        """Exchange one request for an answer.

        Raises:
            RequestError: Why there is none.
        """
        status, data, wait_s = await self._exchange("POST", "chat/completions", body, timeout_s)
        if status == 200:
            return parse_answer(data, self._key)
        refused = filtered(data) if status in (400, 403, 422) else None
        if refused is not None:
            return refused
        raise refusal_of(status, data, self._key, wait_s)

    async def _list(self) -> list[str] | None:
        """Return the models that the server lists; null where it has no such list."""
        try:
            status, data, wait_s = await self._exchange(
                "GET", "models", None, self.config.connect_timeout_s
            )
            if status in (404, 405, 501):
                return None
            if status != 200:
                raise refusal_of(status, data, self._key, wait_s)
        except RequestError as error:
            raise self._down(error) from None
        try:
            models = [str(model["id"]) for model in json.loads(data)["data"]]
        except (ValueError, RecursionError, LookupError, TypeError):
            return None
        return sorted("".join(c for c in name[:200] if c.isprintable()) for name in models)

    async def _exchange(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> tuple[int, bytes, float | None]:
        """Return status, body and `Retry-After`; library errors become ours.

        None of theirs is kept as a cause: they hold the request's headers, and so the key.
        """
        place = redacted(self.url)
        host = urllib.parse.urlsplit(self.url).hostname or ""
        seconds = f"{self.config.request_timeout_s:g}"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send(method, path, body)
        except aiohttp.ServerTimeoutError:
            words = f"no connection within {self.config.connect_timeout_s:g} s"
            failure = RequestError("timeout", words, "server", again=True, seconds=seconds)
        except TimeoutError:
            words = f"no answer within {timeout_s:g} s"
            failure = RequestError("timeout", words, "server", again=True, seconds=seconds)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            _log.info("%s: %s", place, error)
            words = f"it cannot prove that it is {host}"
            failure = RequestError("insecure", words, "server", host=host)
        except aiohttp.ClientConnectorDNSError:
            words = f"no such host: {host}"
            failure = RequestError("service_failed", words, "server", again=True)
        except aiohttp.ClientConnectorError as error:
            words = f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
            failure = RequestError("service_failed", words, "server", again=True)
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            words = "it hung up in the middle of an answer"
            failure = RequestError("service_failed", words, "server", again=True)
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            _log.info("%s: %s", place, type(error).__name__)
            failure = bad_response("no valid HTTP")
        except (aiohttp.ClientError, OSError) as error:
            words = f"the connection broke ({type(error).__name__})"
            failure = RequestError("service_failed", words, "server", again=True)
        raise failure

    async def _send(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes, float | None]:
        session = self._opened()
        async with session.request(
            method,
            _join(self.url, path),
            data=body,
            proxy=self._proxy,
            allow_redirects=False,
        ) as answer:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC))
            return answer.status, await self._read(answer), wait_s

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        encoding = answer.headers.get("Content-Encoding", "")
        try:
            body = Body(encoding, self.config.max_answer_bytes, Budget(None))
            async for chunk in answer.content.iter_any():
                body.add(chunk)
            return body.finish()
        except FetchError as error:
            if error.error.startswith("too_large"):
                limit = self.config.max_answer_bytes
                raise bad_response(f"longer than {limit} bytes") from None
            raise bad_response("its encoding is broken") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                limit=0,  # the slots limit
                ssl=ssl.create_default_context(cafile=self.config.ca_file),
            )
            headers = {
                "User-Agent": _product(),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            }
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.config.connect_timeout_s
                ),
                auto_decompress=False,  # `Body` counts what comes out
                trust_env=False,  # `.netrc` would bring another `Authorization`
            )
            self._finalizer = weakref.finalize(self, _close, self._session)
        return self._session


def _close(session: aiohttp.ClientSession) -> None:
    if not session.closed:
        close_in_loop(session.close(), _CLOSE_S)


def _join(url: str, path: str) -> yarl.URL:
    """Append a path to an address, before its query if it has one."""
    parts = urllib.parse.urlsplit(url)
    whole = parts._replace(path=f"{parts.path.rstrip('/')}/{path}")
    return yarl.URL(urllib.parse.urlunsplit(whole), encoded=True)


def _proxy_for(url: str) -> str | None:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _product() -> str:
    try:
        return f"longtail/{metadata.version('longtail')}"
    except metadata.PackageNotFoundError:  # a working directory on a cluster
        return "longtail"
