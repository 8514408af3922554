"""Make a corpus: plan it, let processes paint it, write down what is true about it."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from curation.demo.drawing.wheels import check_packages
from curation.demo.files import PlannedImage
from curation.demo.make import make_image
from curation.demo.plan import make_plan
from curation.demo.truth import FileTruth, pairs_table, truth_table
from curation.errors import UsageError

Progress = Callable[[int, int], None]

_CHUNK = 8


@dataclass(frozen=True)
class CorpusSummary:
    """What was made.

    Attributes:
        images: The folder to ingest; nothing in it says what is true.
        truth: One row a file.
        pairs: One row a pair of related files; a pair that is not there is a negative.
        num_files: Files by kind.
        num_categories: Leaves of the categories.
        num_bytes: Size of all files below `images`.
        num_positive_pairs: Pairs that are duplicates.
    """

    images: Path
    truth: Path
    pairs: Path
    num_files: dict[str, int]
    num_categories: int
    num_bytes: int
    num_positive_pairs: int


def make_corpus(
    out: Path,
    *,
    images: int,
    seed: int,
    workers: int = 2,
    mean_megapixels: float = 0.5,
    progress: Progress | None = None,
) -> CorpusSummary:
    """Make a corpus with a long tail, planted copies and broken files, and the truth about it.

    Equal `images`, `seed` and `mean_megapixels` give byte-identical files, whatever `workers`, as
    long as Pillow and the packages that the pictures come from stay the same. No image is chosen or
    rejected by a perceptual hash: what such a hash is worth on this corpus is measured, not made.

    Args:
        out: A folder that does not exist, or is empty. It gets `images/`, `truth.parquet` and
            `pairs.parquet`.
        images: How many files, broken ones and copies included; from 150 on, all kinds are there.
        seed: Another seed, another corpus.
        workers: Processes; 1 paints in this one. They are spawned, so a script that calls this
            needs an `if __name__ == "__main__":` guard.
        mean_megapixels: Mean size of the originals.
        progress: Called with (files made, files in all), about a hundred times.

    Raises:
        UsageError: `out` holds something, a number is out of range, or a package is missing.
    """
    if images < 1 or workers < 1 or not 0.01 <= mean_megapixels <= 40:
        raise UsageError(
            "A demo corpus needs images >= 1, workers >= 1 and mean_megapixels from 0.01 to 40; "
            f"got {images}, {workers} and {mean_megapixels:g}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder: choose another, or delete it")
    check_packages()
    folder = out / "images"
    folder.mkdir(parents=True)
    plan = make_plan(images, seed, mean_megapixels)
    files: list[FileTruth] = []
    told, step = 0, max(1, images // 100)
    for made in _made(plan, folder, seed, workers):
        files += made
        if progress and (len(files) - told >= step or len(files) == images):
            told = len(files)
            progress(told, images)
    truth, pairs = truth_table(files), pairs_table(files)
    pq.write_table(truth, out / "truth.parquet")
    pq.write_table(pairs, out / "pairs.parquet")
    return CorpusSummary(
        images=folder,
        truth=out / "truth.parquet",
        pairs=out / "pairs.parquet",
        num_files=dict(sorted(Counter(file.kind for file in files).items())),
        num_categories=len({file.category_path for file in files} - {None}),
        num_bytes=sum(file.num_bytes for file in files),
        num_positive_pairs=pairs.column("label").to_pylist().count("positive"),
    )


def _made(
    plan: list[PlannedImage], folder: Path, seed: int, workers: int
) -> Iterator[list[FileTruth]]:
    make = partial(make_image, images=folder, seed=seed)
    if workers == 1:
        yield from map(make, plan)
        return
    # An executor, not a pool: it raises when a worker dies, where a pool waits for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        yield from executor.map(make, plan, chunksize=_CHUNK)
