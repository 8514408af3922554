"""Dedup against the truth of the demo corpus, and its search against faiss.

    python -m benchmarks.dedup [--quick] [--corpus FOLDER]

Pairs are direct: two images that are linked themselves, not over a third. Crops that share half to
nine tenths of their area with the original are reported apart and count neither way.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.conditions import print_conditions
from benchmarks.dedup_truth import Corpus, Scores, inspect_corpus, linked, score
from curation.demo import make_corpus
from stages.dedup.matchers import Hashes, Signatures, near
from stages.dedup.stage import DedupConfig, DedupStage, PerceptualConfig

RADII = (4, 6, 8, 10)
RADIUS = 8
SEED = 7
TARGET_RECALL = 0.92
TARGET_PRECISION = 0.99
SEARCH_HASHES = 1 << 14
REPEATS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="600 images instead of 2,000")
    parser.add_argument("--corpus", type=Path, help="a folder that make_corpus has filled")
    arguments = parser.parse_args()
    images = 600 if arguments.quick else 2000
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.corpus or Path(folder) / "corpus"
        if arguments.corpus is None:
            make_corpus(place, images=images, seed=SEED)
        corpus = inspect_corpus(place)
    print_conditions(files=len(corpus.rows), seed=SEED, faiss=_faiss_version())
    scores = {radius: score(corpus, linked(corpus.rows, radius)) for radius in RADII}
    print_scores(scores)
    searches = measure_searches()
    print_searches(searches)
    best = scores[RADIUS]
    figures = {
        "recall": round(best.recall, 4),
        "precision": round(best.precision, 4),
        "false_pairs": best.false_pairs,
        "search_ms": round(searches["numpy"] * 1000),
        "search_faiss_ms": round(searches["faiss"] * 1000),
    }
    targets = {"recall": TARGET_RECALL, "precision": TARGET_PRECISION}
    met = best.recall >= TARGET_RECALL and best.precision >= TARGET_PRECISION
    print(json.dumps({"benchmark": "dedup", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1
