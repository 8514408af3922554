"""The fused CPU pass against decoding alone, and against a pool that does the same by hand.

    python -m benchmarks.inspect [--quick] [--corpus FOLDER]

Three contenders read, hash (SHA-256) and decode the same files on two processes, in turns:

- `fused`: the stages inspect and aesthetic, through `run_stage` and `curation.pixels`;
- `decode`: Pillow's full decoding and nothing else;
- `pool`: Pillow's full decoding, imagehash, Pillow's resize to 256 px, and the same measurements
  and score: what `multiprocessing.Pool` and an afternoon give. It measures the small picture, as
  we do, so what is compared is the way there.

Then the steps of the fused pass are timed one by one in one of the processes.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import multiprocessing.pool
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from benchmarks.conditions import print_conditions
from curation.pipeline.stage import Shard, run_stage
from curation.pixels import PixelSpec, View, views
from curation.pixels.decode import RefusedError, decode, open_source
from schemas.columns import IDENTITY
from schemas.inspect import INSPECT
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.scorers import HeuristicConfig, HeuristicScorer
from stages.aesthetic.stage import AestheticStage
from stages.inspect.features import measure, to_luma
from stages.inspect.hashers import VIEW_PX, MatrixHasher
from stages.inspect.stage import InspectConfig, InspectStage

PROCESSES = 2
CHUNK_FILES = 32
SEED = 7
MEAN_MEGAPIXELS = 1.2
TARGET_TO_DECODE = 0.6
TARGET_TO_POOL = 1.3

_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

Paths = Sequence[str]


def main() -> int:
    """Measure and print; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="300 images instead of 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpus", type=Path, help="a folder of images")
    arguments = parser.parse_args()
    for name in _THREADS:
        os.environ[name] = "1"  # inherited by the processes: as workers run
    with tempfile.TemporaryDirectory(prefix="longtail-inspect-") as folder:
        files = find_files(arguments.corpus, Path(folder), 300 if arguments.quick else 1000)
        print_conditions(
            images=len(files), rounds=arguments.rounds, processes=PROCESSES, corpus=describe(files)
        )
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            rates = race(pool, files, arguments.rounds)
            steps = pool.apply(time_steps, (files[::2],))
        print_rates(rates)
        print_steps(steps)
    to_decode = ratio(rates["fused"], rates["decode"])
    to_pool = ratio(rates["fused"], rates["pool"])
    figures = {
        "to_decode": round(to_decode, 3),
        "to_pool": round(to_pool, 3),
        **{f"{name}_images_per_s": round(statistics.median(r), 1) for name, r in rates.items()},
    }
    targets = {"to_decode": TARGET_TO_DECODE, "to_pool": TARGET_TO_POOL}
    met = to_decode >= TARGET_TO_DECODE and to_pool >= TARGET_TO_POOL
    print(json.dumps({"benchmark": "inspect", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


def find_files(corpus: Path | None, folder: Path, images: int) -> list[str]:
    """List the files to work on, of a demo corpus unless one is given."""
    if corpus is None:
        from curation.demo import make_corpus  # needs the extra `demo`; --corpus does not

        make_corpus(folder / "corpus", images=images, seed=SEED, mean_megapixels=MEAN_MEGAPIXELS)
        corpus = folder / "corpus" / "images"
    return sorted(str(path) for path in corpus.rglob("*") if path.is_file())


def describe(files: Paths) -> str:
    """Say how large the files and pictures are, and which formats they have."""
    stage = InspectStage(InspectConfig())
    table = run_stage(stage, shard_of([Path(path).read_bytes() for path in files], stage))
    formats = table["format"].value_counts().to_pylist()
    areas = [
        w * h / 1e6
        for w, h in zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
        if w is not None
    ]
    shares = ", ".join(
        f"{100 * item['counts'] / len(files):.0f} % {item['values'] or 'broken'}"
        for item in sorted(formats, key=lambda item: -item["counts"])
    )
    size = sum(Path(path).stat().st_size for path in files)
    return f"mean {statistics.mean(areas):.2f} MP, {size / len(files) / 1e3:.0f} kB ({shares})"


def shard_of(contents: Sequence[bytes], stage: InspectStage) -> Shard:
    """Make a shard whose views are decoded when asked for."""
    count = len(contents)
    identity = [
        pa.array([0] * count, pa.int32()),
        pa.array(range(count), pa.int32()),
        pa.array([hashlib.sha256(content).digest()[:16] for content in contents], pa.binary(16)),
    ]
    table = pa.Table.from_arrays(identity, schema=pa.schema(IDENTITY))
    spec = stage.pixels()
    return Shard(0, table, lambda position: views(contents[position], [spec])[0])


def fused(paths: Paths) -> int:
    """Run inspect and aesthetic as a worker does."""
    stage, judge = InspectStage(InspectConfig()), AestheticStage(AestheticConfig())
    shard = shard_of([Path(path).read_bytes() for path in paths], stage)
    facts = run_stage(stage, shard)
    table = shard.table
    for name in judge.reads():
        table = table.append_column(name, facts[name.partition(".")[2]])
    return len(run_stage(judge, Shard(0, table)))


def decode_only(paths: Paths) -> int:
    """Read, hash and decode."""
    for path in paths:
        content = Path(path).read_bytes()
        hashlib.sha256(content).digest()
        try:
            Image.open(io.BytesIO(content)).load()
        except _BROKEN:
            continue
    return len(paths)


def by_hand(paths: Paths) -> int:
    """Make the same columns as the fused pass, from the full-size picture."""
    import imagehash

    rows: list[dict[str, Any]] = []
    for path in paths:
        content = Path(path).read_bytes()
        hashlib.sha256(content).digest()
        try:
            stored = Image.open(io.BytesIO(content))
            num_frames = getattr(stored, "n_frames", 1)
            orientation = stored.getexif().get(0x0112, 1)
            has_alpha = stored.has_transparency_data
            image = ImageOps.exif_transpose(stored).convert("RGBA" if has_alpha else "RGB")
        except _BROKEN:
            rows.append({"error": "undecodable"})
            continue
        if has_alpha:
            ground = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(ground, image).convert("RGB")
        phash, dhash = imagehash.phash(image), imagehash.dhash(image)
        shrink = VIEW_PX / max(image.size)
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
        small = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        rows.append(
            {
                "width": image.width,
                "height": image.height,
                "format": stored.format,
                "mode": stored.mode,
                "orientation": orientation,
                "num_frames": num_frames,
                "has_alpha": has_alpha,
                "bits_per_sample": 8,
                "color_profile": "none",
                "phash": int(str(phash), 16),
                "dhash": int(str(dhash), 16),
                **vars(measure(small, to_luma(small))),
            }
        )
    table = pa.Table.from_pylist(rows, schema=INSPECT)
    good = table.filter(table["width"].is_valid())
    named = good.rename_columns([f"inspect.{name}" for name in good.column_names])
    HeuristicScorer(HeuristicConfig()).score(named)
    return len(table)


CONTENDERS: dict[str, Callable[[Paths], int]] = {
    "fused": fused,
    "decode": decode_only,
    "pool": by_hand,
}


def race(pool: multiprocessing.pool.Pool, files: Paths, rounds: int) -> dict[str, list[float]]:
    """Let the contenders work on all files in turns; return images/s of each round."""
    chunks = [files[start : start + CHUNK_FILES] for start in range(0, len(files), CHUNK_FILES)]
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for work in CONTENDERS.values():
        _work_through(pool, work, chunks[: 2 * PROCESSES])  # imports, file cache
    for number in range(rounds):
        names = list(CONTENDERS)
        for name in names[number % 3 :] + names[: number % 3]:
            began = time.perf_counter()
            done = _work_through(pool, CONTENDERS[name], chunks)
            rates[name].append(done / (time.perf_counter() - began))
    return rates


def _work_through(
    pool: multiprocessing.pool.Pool, work: Callable[[Paths], int], chunks: Iterable[Paths]
) -> int:
    return sum(pool.imap_unordered(work, chunks))


def ratio(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the median over the rounds of left over right."""
    return statistics.median(a / b for a, b in zip(left, right, strict=True))


def print_rates(rates: dict[str, list[float]]) -> None:
    print("| contender | images/s, median (min-max) | fused is |")
    print("| --- | --- | --- |")
    for name, values in rates.items():
        middle = f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"
        print(f"| {name} | {middle} | {ratio(rates['fused'], values):.2f} x |")
    print()


def time_steps(files: Paths) -> dict[str, float]:
    """Return the milliseconds that each step of the fused pass takes for an image, on average."""
    spent: defaultdict[str, float] = defaultdict(float)
    stage, hasher = InspectStage(InspectConfig()), MatrixHasher()
    spec = stage.pixels()

    def timed(step: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = work(*arguments)
        spent[step] += time.perf_counter() - began
        return result

    contents = [timed("read", Path(path).read_bytes) for path in files]
    shown: list[View | str] = []
    for content in contents:
        timed("SHA-256", hashlib.sha256, content)
        timed("full decoding by Pillow, for comparison", _load, content)
        timed("decoding", _decode, content, spec)
        (view,) = timed("decoding and view", views, content, [spec])
        shown.append(view)
        if isinstance(view, View):
            luma = timed("luma", to_luma, view.pixels)
            timed("hashes", hasher.hash, view.pixels, luma)
            timed("measurements", measure, view.pixels, luma)
    table = shard_of(contents, stage).table
    timed("all of inspect after the view", run_stage, stage, Shard(0, table, shown.__getitem__))
    return {step: 1e3 * seconds / len(files) for step, seconds in spent.items()}


def _decode(content: bytes, spec: PixelSpec) -> None:
    """Decode as `views` does, without making the view."""
    try:
        source = open_source(content, spec.max_pixels)
        decode(source, source.scale_power)
    except RefusedError:
        return


def _load(content: bytes) -> None:
    try:
        Image.open(io.BytesIO(content)).load()
    except _BROKEN:
        return


def print_steps(steps: dict[str, float]) -> None:
    print("| step of the fused pass, one process | ms an image |")
    print("| --- | --- |")
    for step, milliseconds in steps.items():
        print(f"| {step} | {milliseconds:.3f} |")
    print()


if __name__ == "__main__":
    raise SystemExit(main())
