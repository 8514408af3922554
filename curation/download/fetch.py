"""Downloads for code that is not asynchronous: a list of URLs in, outcomes out as they come."""

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from curation.download.body import Budget
from curation.download.config import DownloadConfig
from curation.download.outcome import Failed, Outcome
from curation.errors import UsageError
from schemas.error_codes import row_error

Lookup = Callable[[str], Sequence[str]]

_POLL_S = 0.1

_Told = tuple[int, Outcome]


def check_ready(config: DownloadConfig) -> None:
    """Raise `UsageError` where the extra `http` or the file of authorities is missing."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        message = "aiohttp is not installed, without which no URL is downloaded; run `pip install "
        raise UsageError(f"{message}'longtail[http]'`") from error
    if config.ca_file is not None:
        try:
            ssl.create_default_context(cafile=config.ca_file)
        except OSError as error:  # ssl.SSLError is one
            message = (
                f"download.ca_file: {config.ca_file}: no certificates in PEM can be read from it"
            )
            raise UsageError(message) from error


def fetch_all(
    urls: Sequence[str],
    config: DownloadConfig,
    *,
    max_bytes: int,
    max_total_bytes: int | None = None,
    lookup: Lookup | None = None,
) -> Generator[tuple[int, Outcome], None, None]:
    """Fetch `urls`, some hundreds or thousands, and yield (position, outcome) as each one ends.

    The work goes on in a thread of its own while the caller looks at an outcome. A generator that
    is closed early breaks off what is under way.

    Args:
        urls: May hold the same URL twice, which is then fetched twice.
        config: Manners and limits.
        max_bytes: A longer file is `too_large`; it is not read further than that.
        max_total_bytes: Bytes of all files together, which are in memory until the caller drops
            them; what would be more is `deferred`.
        lookup: Host name -> its numeric addresses; null asks the system.

    Raises:
        UsageError: As `check_ready`.
    """
    check_ready(config)
    return _fetch_all(urls, config, max_bytes, Budget(max_total_bytes), lookup)


def _fetch_all(
    urls: Sequence[str],
    config: DownloadConfig,
    max_bytes: int,
    budget: Budget,
    lookup: Lookup | None,
) -> Generator[_Told, None, None]:
    told: queue.SimpleQueue[_Told | None] = queue.SimpleQueue()
    work = _Work(_download(urls, config, max_bytes, budget, lookup, told.put))
    with ThreadPoolExecutor(1, "download") as executor:
        future = executor.submit(asyncio.run, work.run())
        future.add_done_callback(lambda _: told.put(None))
        try:
            while (item := told.get()) is not None:
                yield item
            future.result()
        finally:
            work.stop(future)


class _Work:
    """A coroutine that another thread runs, and that can be broken off from this one."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._coroutine)
        self._begun.set()
        try:
            await self._task
        except asyncio.CancelledError:
            return  # by `stop`

    def stop(self, future: Future[None]) -> None:
        """Cancel what is under way; nothing happens where it has ended."""
        while not self._begun.wait(_POLL_S):
            if future.done():  # not even its loop could be made
                return
        assert self._loop is not None
        assert self._task is not None
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:  # it ended meanwhile, and its loop is closed
            return


async def _download(
    urls: Sequence[str],
    config: DownloadConfig,
    max_bytes: int,
    budget: Budget,
    lookup: Lookup | None,
    tell: Callable[[_Told], None],
) -> None:
    # Late: aiohttp is in an extra.
    from curation.download.client import Client
    from curation.download.resolver import system_lookup

    unfinished = set(range(len(urls)))

    async def fetch(client: Client, position: int) -> None:
        outcome = await client.fetch(urls[position])
        unfinished.discard(position)
        tell((position, outcome))

    async with Client(config, max_bytes, budget, lookup or system_lookup) as client:
        try:
            async with asyncio.timeout(config.deadline_s), asyncio.TaskGroup() as group:
                for position in range(len(urls)):
                    group.create_task(fetch(client, position))
        except TimeoutError:
            for position in sorted(unfinished):
                tell((position, Failed(row_error("deferred"))))
