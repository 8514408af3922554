"""What a head costs and how far it agrees with the clustering, beside the clustering itself.

    python -m benchmarks.categories [--quick] [--rows N] [--leaves N] [--dimension N]

Vectors are drawn: clusters in clusters with Zipf's sizes, and other numbers of them than are asked
for, so that no tree fits them. They overlap as in 48 dimensions and are turned into as many as
asked for, since in 768 random ones nothing overlaps. In one process and one thread:

- building, at half the rows and at all of them: seconds of each part, and how they grow;
- agreement on rows that neither clustering nor head has seen, for both kinds of head, beside the
  nearest of all leaves;
- rows a second of `classifier` and of descending the tree (`clusters`) on the same vectors, in
  shards of 1,024 rows, in turns.

Times are processor time, which other work on the machine disturbs less.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

for _name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import numpy as np  # noqa: E402 (after the threads)
from numpy.typing import NDArray  # noqa: E402

from benchmarks.conditions import print_conditions  # noqa: E402
from stages.categorize import kmeans  # noqa: E402
from stages.categorize.build import BuildSettings, finish, train_head  # noqa: E402
from stages.categorize.build_sample import Sample  # noqa: E402
from stages.categorize.build_tree import branching_for, cluster  # noqa: E402
from stages.categorize.categorizer import Leaf  # noqa: E402
from stages.categorize.head import Head  # noqa: E402
from stages.categorize.head_training import HeadKind, torch_or_refuse  # noqa: E402
from stages.categorize.tree import Tree, descend, leaf_paths  # noqa: E402

T = TypeVar("T")

SEED = 7
SHARD_ROWS = 1024
SPREAD = 1.5
INTRINSIC = 48
TARGETS = {"top1": 0.95, "above_nearest_center": 0.05}


def main() -> int:
    """Measure and print; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="20,000 rows and 144 leaves")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--leaves", type=int)
    parser.add_argument("--dimension", type=int)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    rows = arguments.rows or (20_000 if arguments.quick else 100_000)
    leaves = arguments.leaves or (144 if arguments.quick else 1024)
    dimension = arguments.dimension or (64 if arguments.quick else 768)
    print_conditions(rows=rows, leaves=leaves, dimension=dimension, threads=1, seed=SEED)
    torch_or_refuse()  # its import is no part of training
    sample = draw(rows, dimension, leaves)
    half = Sample(
        sample.vectors[: rows // 2],
        sample.words[: rows // 2],
        sample.places[: rows // 2],
        sample.parts[: rows // 2],
    )
    branching = branching_for(leaves)
    parts: list[tuple[str, int, float]] = []
    figures: dict[str, float] = {}
    kinds: tuple[HeadKind, ...] = ("linear", "mlp")
    built: dict[str, tuple[Head, Tree]] = {}
    agreements = {}
    for part in (half, sample):
        settings = BuildSettings(branching=branching, names="none", max_epochs=arguments.epochs)
        rounds = {"min_leaf_rows": 5, "iterations": 30, "seed": SEED, "say": _silent}
        (tree, labels), seconds = timed(cluster, part, branching, **rounds)
        parts.append(("k-means, both levels", len(part.vectors), seconds))
        for kind in kinds if part is sample else kinds[:1]:
            chosen = settings.model_copy(update={"head": kind})
            trained, seconds = timed(train_head, part, tree, labels, chosen, "cpu", _silent)
            per_epoch = seconds / max(1, trained.epochs)
            parts.append((f"{kind} head, an epoch", len(part.vectors), per_epoch))
            paths = tuple(Leaf(path, path) for path in leaf_paths(tree))
            head, agreement = finish(trained, part, tree, labels, paths)
            if part is sample:
                built[kind] = (head, tree)
                agreements[kind] = agreement
    print_parts(parts)
    print_agreements(agreements)
    figures |= speeds(built, sample.vectors)
    best = agreements["linear"]
    figures |= {
        "top1": best["top1"],
        "top5": best["top5"],
        "mlp_top1": agreements["mlp"]["top1"],
        "nearest_center_top1": best["nearest_center_top1"],
        "above_nearest_center": round(best["top1"] - best["nearest_center_top1"], 4),
        "tail_top1": best["tail"],
        "calibration_error": best["calibration_error"],
    }
    met = all(figures[name] >= least for name, least in TARGETS.items())
    print(
        json.dumps({"benchmark": "categories", "figures": figures, "targets": TARGETS, "met": met})
    )
    return 0 if met else 1


def draw(rows: int, dimension: int, leaves: int) -> Sample:
    """Draw overlapping clusters in clusters, as a sample that is split as `read_sample` does."""
    rng = np.random.default_rng(SEED)
    top = max(2, math.isqrt(leaves) * 5 // 3)
    below = max(2, leaves * 2 // top)
    turned = np.linalg.qr(rng.normal(size=(dimension, INTRINSIC)))[0].T
    tops = _unit(rng.normal(size=(top, INTRINSIC)))
    subs = _unit(tops[:, np.newaxis] + 0.8 * _unit(rng.normal(size=(top, below, INTRINSIC))))
    subs = subs.reshape(-1, INTRINSIC)
    shares = rng.permutation(1 / np.arange(1, len(subs) + 1))
    labels = rng.choice(len(subs), rows, p=shares / shares.sum())
    vectors = np.empty((rows, dimension), np.float16)
    for start in range(0, rows, SHARD_ROWS):
        mine = subs[labels[start : start + SHARD_ROWS]]
        noise = rng.normal(size=mine.shape) * SPREAD / INTRINSIC**0.5
        vectors[start : start + SHARD_ROWS] = _unit(mine + noise) @ turned
    parts = rng.integers(0, 10, rows).astype(np.uint8)
    places = np.zeros((rows, 2), np.int32)
    return Sample(kmeans.quantize(vectors), [set()] * rows, places, parts)


def speeds(built: dict[str, tuple[Head, Tree]], vectors: kmeans.Integers) -> dict[str, float]:
    """Assign the same shards by each head and by descending the tree, in turns."""
    shards = [vectors[s : s + SHARD_ROWS] for s in range(0, min(len(vectors), 8192), SHARD_ROWS)]
    spent = dict.fromkeys(("linear", "mlp", "clusters"), 0.0)
    for shard in shards:
        for kind, (head, tree) in built.items():
            spent[kind] += timed(head.assign, shard)[1]
            if kind == "linear":
                spent["clusters"] += timed(descend, shard, tree)[1]
    rows = sum(map(len, shards))
    found = {f"{kind}_rows_s": round(rows / seconds) for kind, seconds in spent.items()}
    print("| assigning, one thread | rows/s | ms a shard of 1,024 |")
    print("| --- | --- | --- |")
    for kind, seconds in spent.items():
        print(f"| {kind} | {rows / seconds:,.0f} | {1e3 * seconds / len(shards):,.0f} |")
    print()
    return {name: float(value) for name, value in found.items()}


def timed(work: Callable[..., T], *given: Any, **options: Any) -> tuple[T, float]:
    began = time.process_time()
    return work(*given, **options), time.process_time() - began


def print_parts(parts: list[tuple[str, int, float]]) -> None:
    print("| building | rows | seconds | times the half's |")
    print("| --- | --- | --- | --- |")
    first: dict[str, float] = {}
    for name, rows, seconds in parts:
        growth = f"{seconds / first[name]:.2f}" if name in first else ""
        first.setdefault(name, seconds)
        print(f"| {name} | {rows:,} | {seconds:,.1f} | {growth} |")
    print()


def print_agreements(agreements: Mapping[HeadKind, Mapping[str, Any]]) -> None:
    names = ("top1", "top5", "head", "tail", "sure_share", "sure_top1", "calibration_error")
    print(f"| head | {' | '.join(names)} | nearest of all leaves |")
    print("| --- " * (len(names) + 2) + "|")
    for kind, found in agreements.items():
        values = " | ".join(f"{found[name]:.4f}" for name in names)
        print(f"| {kind} | {values} | {found['nearest_center_top1']:.4f} |")
    print()


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _silent(line: str) -> None:
    """Take a line of progress and forget it."""


if __name__ == "__main__":
    raise SystemExit(main())
