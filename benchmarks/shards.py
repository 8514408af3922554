"""A stage on shards of photographs, as a worker runs it, for benchmarks beside a bare model."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.pipeline.stage import Shard, Stage, run_stage
from curation.pixels import Header, PixelSpec, View, fit
from schemas.columns import IDENTITY

Device = Literal["cpu", "cuda"]
Images = list[NDArray[np.uint8]]

_HEADER = Header(512, 512, "JPEG", "RGB", 1, 1, False, 8, "none")
_IN_FLIGHT = 2


def photographs(spec: PixelSpec, count: int) -> Images:
    """Return views of pieces of skimage's photographs."""
    from skimage import data

    names = ("astronaut", "coffee", "chelsea", "rocket", "retina")
    sources = [getattr(data, name)() for name in names]
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        source = sources[number % len(sources)]
        top, left = (int(rng.integers(0, edge - 250)) for edge in source.shape[:2])
        found.append(fit(np.ascontiguousarray(source[top : top + 250, left : left + 250]), spec))
    return found


def now(device: Device) -> float:
    """Return seconds from some moment on."""
    return time.perf_counter() if device == "cuda" else time.process_time()


def run_shards(stage: Stage[Any], images: Images, num_shards: int) -> float:
    """Return images a second of a stage, with two shards in flight."""
    device = stage.execution.device
    table = pa.table(
        [
            pa.array([0] * len(images), pa.int32()),
            pa.array(range(len(images)), pa.int32()),
            pa.array([bytes(16)] * len(images), pa.binary(16)),
        ],
        schema=pa.schema(IDENTITY),
    )

    def work(number: int) -> pa.Table:
        views = [View(image, _HEADER) for image in images]
        return run_stage(stage, Shard(number, table, views.__getitem__))

    began = now(device)
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        tables = list(pool.map(work, range(num_shards)))
    seconds = now(device) - began
    assert all(result["error"].null_count == len(images) for result in tables)
    return num_shards * len(images) / seconds
