"""When the next request may begin: rates that a server was promised, and pauses that it asked."""

import asyncio
from collections.abc import Callable


class Pace:
    """Holds requests back; used inside one event loop.

    Requests are spaced evenly. Tokens are known only afterwards, so each answer puts off the
    requests that come next by what it used.

    Args:
        requests_per_minute: Null for no limit.
        tokens_per_minute: Null for no limit.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._request_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._token_s = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock = clock
        self._next = self._paid = self._paused = 0.0

    async def turn(self) -> None:
        """Wait until a request may begin."""
        while (wait_s := max(self._next, self._paid, self._paused) - self._clock()) > 0:
            await asyncio.sleep(wait_s)
        self._next = max(self._next, self._clock()) + self._request_s

    def spent(self, tokens: int) -> None:
        """Take in how many tokens a request used."""
        self._paid = max(self._paid, self._clock()) + tokens * self._token_s

    def pause(self, seconds: float) -> None:
        """Begin no request for a while."""
        self._paused = max(self._paused, self._clock() + seconds)
