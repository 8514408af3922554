"""Ranks that train together, as processes of this machine."""

import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing


def _work(rank, count, meeting, target, arguments):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=120),
    )
    target(rank, count, *arguments)
    dist.destroy_process_group()


def on_ranks(count, target, *arguments):
    """Call `target(rank, count, *arguments)` in processes that know each other.

    Returns:
        Their exit codes; negative where a signal ended one.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        processes = [
            context.Process(target=_work, args=(rank, count, meeting, target, arguments))
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(240)
            if process.is_alive():
                process.kill()
    return [process.exitcode for process in processes]
