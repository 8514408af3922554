"""Names to addresses: looked up once a call, checked, and connected to as they were checked."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from aiohttp.abc import AbstractResolver, ResolveResult

from curation.download.addresses import AddressRule
from curation.download.outcome import FetchError

_log = logging.getLogger(__name__)

Lookup = Callable[[str], Sequence[str]]
"""Host name -> its numeric addresses; `OSError` where it has none."""


def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for _, _, _, _, address in found]


class CheckedResolver(AbstractResolver):
    """Gives aiohttp addresses that may be connected to, and no others.

    Each host is looked up once. So between the check and the connection there is no second answer
    for a name server to forge, and a dead name costs one look-up.

    Args:
        rule: Which addresses may be connected to.
        lookup: Where names are looked up, in a thread of `executor`.
        timeout_s: Time for that, from when a thread begins: names that hang and hold the threads
            cost others a wait, and not their answer.
    """

    def __init__(
        self, rule: AddressRule, lookup: Lookup, executor: Executor, timeout_s: float
    ) -> None:
        self._rule = rule
        self._lookup = lookup
        self._executor = executor
        self._timeout_s = timeout_s
        self._found: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, host: str) -> Sequence[str]:
        """Return the addresses of `host`, a name or an address itself.

        Raises:
            FetchError: `forbidden_address` where one of them may not be connected to: a host with
                both kinds is a trap. `unavailable` where there is none, `timeout`.
        """
        if host not in self._found:
            self._found[host] = asyncio.create_task(self._look_up(host))
        # Shielded: who waits may be cancelled by a time-out of its own.
        addresses = await asyncio.shield(self._found[host])
        if not all(self._rule.allows(address) for address in addresses):
            raise FetchError("forbidden_address", host=host)
        return addresses

    async def _look_up(self, host: str) -> Sequence[str]:
        if _is_numeric(host):
            return (host,)
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        def look_up() -> Sequence[str]:
            loop.call_soon_threadsafe(begun.set)
            return self._lookup(host)

        answer = loop.run_in_executor(self._executor, look_up)
        try:
            await begun.wait()
            async with asyncio.timeout(self._timeout_s):
                found = await answer
        except TimeoutError as error:
            raise FetchError("timeout", seconds=f"{self._timeout_s:g}", silent=True) from error
        except (OSError, UnicodeError) as error:
            _log.info("%s: no address: %s", host, error)
            raise FetchError("unavailable", silent=True) from error
        if not found:
            raise FetchError("unavailable", silent=True)
        return tuple(dict.fromkeys(found))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results: list[ResolveResult] = []
        for address in await self.addresses(host):
            is_v6 = ipaddress.ip_address(address).version == 6
            results.append(
                {
                    "hostname": host,
                    "host": address,
                    "port": port,
                    "family": socket.AF_INET6 if is_v6 else socket.AF_INET,
                    "proto": socket.IPPROTO_TCP,
                    "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                }
            )
        return results

    async def close(self) -> None:
        for task in self._found.values():
            task.cancel()
        await asyncio.gather(*self._found.values(), return_exceptions=True)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
