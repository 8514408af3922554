"""Manners towards one host: few requests at a time, not too often, none once it seems dead."""

import asyncio
from types import TracebackType


class HostGate:
    """Where every request to a host waits for its turn, first come, first served.

    Args:
        num_slots: Requests at a time.
        delay_s: Least time between the starts of two.
        max_failures: Requests in a row without an answer after which the host counts as dead.
    """

    def __init__(self, num_slots: int, delay_s: float, max_failures: int) -> None:
        self._slots = asyncio.Semaphore(num_slots)
        self._delay_s = delay_s
        self._max_failures = max_failures
        self._failures = 0
        self._next_start = 0.0

    @property
    def is_dead(self) -> bool:
        """Whether to ask no more."""
        return self._failures >= self._max_failures

    def answered(self) -> None:
        """Note that the host gave an answer, whichever."""
        self._failures = 0

    def kept_silent(self) -> None:
        """Note that a request ended without one."""
        self._failures += 1

    def pause(self, seconds: float) -> None:
        """Start nothing for so long: the server asked for it."""
        now = asyncio.get_running_loop().time()
        self._next_start = max(self._next_start, now + seconds)

    async def __aenter__(self) -> "HostGate":
        await self._slots.acquire()
        try:
            loop = asyncio.get_running_loop()
            while not self.is_dead and (wait_s := self._next_start - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if not self.is_dead:
                self._next_start = loop.time() + self._delay_s
        except BaseException:
            self._slots.release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._slots.release()
