"""The downloader against a pool of threads with `urllib`, which is what one writes by hand.

    python -m benchmarks.download [--quick]

A server in a process of its own answers on 16 loopback addresses, each a host, after a fixed delay
that stands for the network. Both contenders have 64 requests in flight and fetch the same URLs, in
turns; `fetch_all` checks every address, counts bytes as they come and keeps the limits of each host
besides. With `--delay-ms 0` it is the work of the client itself that is measured.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from benchmarks.conditions import print_conditions
from curation.download import DownloadConfig, Fetched, fetch_all

HOSTS = [f"127.0.0.{number}" for number in range(1, 17)]
IN_FLIGHT = 64
FILE_BYTES = 100_000
TIMEOUT_S = 30
TARGET_TO_POOL = 1.0

Urls = Sequence[str]


def main() -> int:
    """Measure and print; the exit code says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="1,024 files instead of 4,096")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    arguments = parser.parse_args()
    files = 1024 if arguments.quick else 4096
    print_conditions(
        files=files,
        file_bytes=FILE_BYTES,
        rounds=arguments.rounds,
        in_flight=IN_FLIGHT,
        delay_ms=arguments.delay_ms,
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(
        target=serve, args=(theirs, FILE_BYTES, arguments.delay_ms / 1000), daemon=True
    )
    server.start()
    try:
        port: int = ours.recv()
        urls = [f"http://{HOSTS[n % len(HOSTS)]}:{port}/{n}.jpg" for n in range(files)]
        rates = race(urls, arguments.rounds)
    finally:
        server.terminate()
        server.join()
    print_rates(rates)
    to_pool = statistics.median(
        a / b for a, b in zip(rates["fetch_all"], rates["pool"], strict=True)
    )
    figures = {
        "to_pool": round(to_pool, 3),
        **{f"{name}_files_per_s": round(statistics.median(r), 1) for name, r in rates.items()},
    }
    met = to_pool >= TARGET_TO_POOL
    targets = {"to_pool": TARGET_TO_POOL}
    print(json.dumps({"benchmark": "download", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


def serve(connection: Connection, num_bytes: int, delay_s: float) -> None:
    """Answer every request with the same body, over connections that stay open."""
    body = os.urandom(num_bytes)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {num_bytes}\r\n\r\n"
    answer = head.encode() + body

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(delay_s)
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in asked.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def run() -> None:
        first = await asyncio.start_server(converse, HOSTS[0], 0, backlog=256)
        port = first.sockets[0].getsockname()[1]
        async with first, await asyncio.start_server(converse, HOSTS[1:], port, backlog=256):
            connection.send(port)
            await asyncio.Event().wait()

    asyncio.run(run())


def by_fetch_all(urls: Urls) -> int:
    """Fetch as a worker does; no pause between the requests to one host."""
    config = DownloadConfig(
        contact="https://example.org/crawl",
        concurrency=IN_FLIGHT,
        per_host=IN_FLIGHT // len(HOSTS),
        host_delay_s=0.0,
        allow_addresses=("127.0.0.0/8",),
    )
    outcomes = fetch_all(urls, config, max_bytes=1 << 20)
    return sum(len(outcome.data) for _, outcome in outcomes if isinstance(outcome, Fetched))


def by_pool(urls: Urls) -> int:
    """Fetch with a thread for each request in flight, and a connection for each request."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(url: str) -> int:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return len(answer.read())

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return sum(pool.map(get, urls))


CONTENDERS: dict[str, Callable[[Urls], int]] = {"fetch_all": by_fetch_all, "pool": by_pool}


def race(urls: Urls, rounds: int) -> dict[str, list[float]]:
    """Let the contenders fetch all URLs in turns; return files/s of each round."""
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for work in CONTENDERS.values():
        work(urls[: 4 * IN_FLIGHT])  # imports
    for number in range(rounds):
        names = list(CONTENDERS)
        for name in names[number % 2 :] + names[: number % 2]:
            began = time.perf_counter()
            total = CONTENDERS[name](urls)
            rates[name].append(len(urls) / (time.perf_counter() - began))
            assert total == len(urls) * FILE_BYTES, (name, total)
    return rates


def print_rates(rates: dict[str, list[float]]) -> None:
    """Print the table."""
    print("| contender | files/s, median (min-max) |")
    print("| --- | --- |")
    for name, values in rates.items():
        print(f"| {name} | {statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f}) |")
    print()


if __name__ == "__main__":
    raise SystemExit(main())
