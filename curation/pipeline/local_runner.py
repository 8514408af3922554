"""Runs a plan on this machine without Ray: threads that each supervise a child process."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from curation.errors import ResourceError
from curation.pipeline.dispatch import Dispatch
from curation.pipeline.flight import Worker, make_worker
from curation.pipeline.runner import Feed, Pool
from curation.pipeline.tasks import CPU_POOL, Task, TaskResult, WorkerSpec

_TICK_S = 0.2


@dataclass
class _Local:
    """A worker and the threads that run it, one for each task that it may have in hand.

    The child ends with the thread that started it: here the only one, or the flight's own.
    """

    name: str
    pool: Pool
    worker: Worker
    threads: ThreadPoolExecutor


class LocalRunner:
    """The second back end of the one contract; see `Runner`."""

    def __init__(self) -> None:
        self._workers: dict[str, _Local] = {}

    def check(self, pools: Sequence[Pool]) -> None:
        """Refuse what only Ray knows, GPUs among it, and more memory than there is."""
        if gpus := [pool for pool in pools if pool.gpus > 0]:
            message = (
                f"{gpus[0].name} asks for {gpus[0].gpus:g} GPU; the local runner schedules none: "
                "use --runner ray, or compute on the CPU: --set run.device=cpu"
            )
            raise ResourceError(message)
        if made := [pool for pool in pools if pool.runtime_env]:
            message = (
                f"{made[0].name} asks for run.runtime_env, an environment that Ray makes; the "
                "local runner makes none: use --runner ray, or leave it out and install here what "
                "it names"
            )
            raise ResourceError(message)
        if asking := [pool for pool in pools if pool.resources]:
            message = (
                f"{asking[0].name} asks for {', '.join(asking[0].resources)} by run.resources, "
                "which nodes of a Ray cluster have; the local runner knows none: use --runner ray, "
                "or leave it out"
            )
            raise ResourceError(message)
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if large := [pool for pool in pools if pool.memory_bytes > have]:
            message = (
                f"{large[0].name} asks for {large[0].memory_bytes >> 20} MB a worker, this machine "
                f"has {have >> 20} MB; lower run.memory_bytes"
            )
            raise ResourceError(message)

    def run(
        self,
        spec: WorkerSpec,
        pools: Sequence[Pool],
        dispatch: Dispatch,
        feed: Feed | None,
        on_tick: Callable[[], None],
    ) -> None:
        """Work until `dispatch` is idle and `feed` is done; see `Runner.run`.

        Whatever ends it early, Ctrl-C or an error of the listing, ends the children at once; the
        tasks that they had in hand have no result, and are due again in the next run.
        """
        workers = [self._worker(pool, n) for pool in pools for n in range(_size(pool))]
        running: dict[Future[TaskResult], tuple[_Local, Task]] = {}
        try:
            while True:
                for task in feed.poll() if feed is not None else []:
                    dispatch.add(task)
                self._hand_out(spec, workers, dispatch, running)
                if not running and dispatch.is_idle and (feed is None or feed.is_done):
                    return
                if running:
                    done, _ = wait(running, _TICK_S, FIRST_COMPLETED)
                elif feed is not None and not feed.is_done:
                    done = set()
                    feed.wait(_TICK_S)
                else:  # whoever could take what is left rests
                    done = set()
                    time.sleep(_TICK_S)
                for future in done:
                    local, task = running.pop(future)
                    dispatch.finished(task.key, future.result(), local.name)
                on_tick()
        except BaseException:
            for local in workers:
                local.worker.kill()
            raise

    def close(self) -> None:
        """End every child."""
        for local in self._workers.values():
            local.threads.submit(local.worker.close).result()
            local.threads.shutdown()
        self._workers.clear()

    def _worker(self, pool: Pool, number: int) -> _Local:
        name = f"{pool.name}-{number}"
        if name not in self._workers:
            worker = make_worker(
                pool.memory_bytes,
                limit_address_space=pool.gpus == 0,
                shards_in_flight=pool.shards_in_flight,
            )
            threads = ThreadPoolExecutor(pool.shards_in_flight, thread_name_prefix=name)
            self._workers[name] = _Local(name, pool, worker, threads)
        return self._workers[name]

    def _hand_out(
        self,
        spec: WorkerSpec,
        workers: Sequence[_Local],
        dispatch: Dispatch,
        running: dict[Future[TaskResult], tuple[_Local, Task]],
    ) -> None:
        in_hand = Counter(local.name for local, _ in running.values())
        staffed = {local.pool.name for local, _ in running.values()}

        def give(local: _Local, *, alone: bool) -> None:
            task = dispatch.next(local.name, local.pool.name, alone=alone)
            if task is not None:
                in_hand[local.name] += 1
                staffed.add(local.pool.name)
                running[local.threads.submit(local.worker.run, spec, task)] = (local, task)

        for number in range(max(local.pool.shards_in_flight for local in workers)):
            for local in workers:
                if in_hand[local.name] == number < local.pool.shards_in_flight:
                    give(local, alone=False)
        for local in workers:
            # Where nobody works, one may try again what it failed at.
            if local.pool.name not in staffed:
                give(local, alone=True)


def _size(pool: Pool) -> int:
    """One worker a core, unless told otherwise; one for a stage that has its pool to itself.

    Where that may be some number of workers, as many as there are cores.
    """
    cores = os.cpu_count() or 1
    if pool.name == CPU_POOL:
        return pool.max_workers or cores
    most = pool.min_workers if pool.max_workers is None else pool.max_workers
    return max(pool.min_workers, min(most, cores))
