"""Reading cached latents in random order: row groups of single rows against larger ones.

    python -m benchmarks.cache [--quick]

A shard of latents of 1024 x 1024 pictures (1 MiB each) is written as `encode` writes it, and with
larger row groups, to a local disk. A trainer opens its footer, reads the small columns of all rows
once, and then single rows in the order of a hash. The target: a random row costs at most twice its
own bytes in reading, and what is read beside it is nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.conditions import print_conditions
from curation import tables
from curation.storage import Store
from schemas.columns import IDENTITY
from schemas.encode import encode_table

LATENT_BYTES = 128 * 64 * 64 * 2
GROUP_BYTES = (1 << 20, 1 << 22, 1 << 24, 1 << 26)
SMALL = ("row", "image_id", "latent_height", "latent_width", "texts", "error")
READS = 20
TARGET_READ_SHARE = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="128 rows instead of 1,024")
    rows = 128 if parser.parse_args().quick else 1024
    print_conditions(rows=rows, latent_bytes=LATENT_BYTES)
    print("| row group | rows in it | footer | open | small columns | one row | read / wanted |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    figures: dict[str, float] = {}
    shard = make_shard(rows)
    with tempfile.TemporaryDirectory() as folder:
        for group_bytes in GROUP_BYTES:
            found = measure(shard, folder, group_bytes)
            print(
                f"| {group_bytes >> 20} MiB | {found['rows']:.0f} | {found['footer_kb']:.0f} kB | "
                f"{found['open_ms']:.1f} ms | {found['small_ms']:.1f} ms | "
                f"{found['row_ms']:.2f} ms | {found['share']:.1f} |"
            )
            if group_bytes == tables.BULK_GROUP_BYTES:
                figures = {name: round(value, 2) for name, value in found.items()}
    met = figures["share"] <= TARGET_READ_SHARE
    targets = {"share": TARGET_READ_SHARE}
    print(json.dumps({"benchmark": "cache", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


def make_shard(rows: int) -> pa.Table:
    """Make what `encode` writes for a shard, with noise for numbers."""
    rng = np.random.default_rng(0)
    schema = pa.schema([*IDENTITY, *encode_table(latents=True, mirrored=False, texts=True)])
    texts = [{"digest": rng.bytes(16), "tokens": 200} for _ in range(4)]
    columns = {
        "shard": [0] * rows,
        "row": range(rows),
        "image_id": [rng.bytes(16) for _ in range(rows)],
        "latent": [rng.bytes(LATENT_BYTES) for _ in range(rows)],
        "latent_height": [64] * rows,
        "latent_width": [64] * rows,
        "texts": [texts] * rows,
        "features": [[b"\0" * 64] * 4] * rows,
        "error": [None] * rows,
    }
    return pa.Table.from_pydict(columns, schema=schema)


def measure(shard: pa.Table, folder: str, group_bytes: int) -> dict[str, float]:
    """Write the shard with row groups of a size, and read it as a trainer does."""
    usual = tables.BULK_GROUP_BYTES
    tables.BULK_GROUP_BYTES = group_bytes
    # No more than this many rows, whatever the bytes: for these sizes it must not count.
    usual_rows, tables.IMAGE_ROW_GROUP = tables.IMAGE_ROW_GROUP, 1 << 20
    try:
        tables.write_table(Store(folder), "shard.parquet", shard)
    finally:
        tables.BULK_GROUP_BYTES, tables.IMAGE_ROW_GROUP = usual, usual_rows
    path = Path(folder) / "shard.parquet"
    file = pq.ParquetFile(path)
    groups = np.random.default_rng(1).integers(0, file.num_row_groups, READS).tolist()
    one = file.read_row_groups([0], columns=["latent"])
    return {
        "rows": float(file.metadata.row_group(0).num_rows),
        "footer_kb": file.metadata.serialized_size / 1000,
        "open_ms": _median_ms(lambda: pq.ParquetFile(path)),
        "small_ms": _median_ms(lambda: file.read(columns=list(SMALL))),
        "row_ms": statistics.mean(
            _median_ms(lambda group=group: file.read_row_groups([group], columns=["latent"]), 1)  # type: ignore[misc]
            for group in groups
        ),
        "share": one.nbytes / LATENT_BYTES,
    }


def _median_ms(call: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    raise SystemExit(main())
