"""The demo corpus as dedup sees it, and how its pairs agree with the truth."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curation import pixels
from curation.ingest.identity import decode_key, image_id
from curation.pipeline.stage import Shard, run_stage
from stages.dedup.matchers import signatures
from stages.dedup.stage import DedupConfig, DedupStage
from stages.inspect.stage import InspectConfig, InspectStage

Matrix = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Corpus:
    """The files of a demo corpus.

    Attributes:
        rows: What dedup reads, one row a file, in the order of the paths.
        duplicates: Pairs with different bytes that are duplicates.
        uncounted: Pairs that count neither way: the same bytes, which need no hash, and `overlaps`.
        overlaps: Views of one picture that share from half to nine tenths (IoU).
        kinds: Pair of positions, the smaller first -> what was done, for each of `duplicates`.
    """

    rows: pa.Table
    duplicates: Matrix
    uncounted: Matrix
    overlaps: Matrix
    kinds: Mapping[tuple[int, int], str]


@dataclass(frozen=True)
class Scores:
    """How found pairs agree with the truth.

    Attributes:
        recall: Duplicates found, of all.
        precision: Duplicates among what was found.
        num_duplicates: Pairs that should be found.
        false_pairs: Pairs found that are none.
        overlaps: (found, all) of the pairs that overlap by half to nine tenths.
        by_kind: What was done -> (found, all).
    """

    recall: float
    precision: float
    num_duplicates: int
    false_pairs: int
    overlaps: tuple[int, int]
    by_kind: Mapping[str, tuple[int, int]]


def inspect_corpus(folder: Path) -> Corpus:
    """Inspect every file that `make_corpus` left in `folder`, and read what is true of pairs."""
    truth = pq.read_table(folder / "truth.parquet")
    paths = truth["path"].to_pylist()
    rows = _inspect(folder / "images", paths)
    return _with_truth(rows, truth, pq.read_table(folder / "pairs.parquet"))


def _inspect(images: Path, paths: list[str]) -> pa.Table:
    stage = InspectStage(InspectConfig())
    stage.setup()
    keys = [decode_key(path) for path in paths]
    data = [(images / key.decode(errors="surrogateescape")).read_bytes() for key in keys]
    contents = [hashlib.sha256(content).digest() for content in data]
    count = len(paths)
    identity = pa.table(
        {
            "shard": pa.array(np.zeros(count, np.int32)),
            "row": pa.array(np.arange(count, dtype=np.int32)),
            "image_id": pa.array(
                [image_id("demo", k, 0, c) for k, c in zip(keys, contents, strict=True)],
                pa.binary(16),
            ),
        }
    )
    shard = Shard(0, identity, lambda row: pixels.views(data[row], [stage.pixels()])[0])
    found = run_stage(stage, shard)
    rows = identity.append_column("images.content_sha256", pa.array(contents, pa.binary(32)))
    for name in found.column_names:
        rows = rows.append_column(f"inspect.{name}", found[name])
    return rows


def _with_truth(rows: pa.Table, truth: pa.Table, pairs: pa.Table) -> Corpus:
    place = {path: number for number, path in enumerate(truth["path"].to_pylist())}
    files = {file["path"]: file for file in truth.to_pylist()}
    duplicates = np.zeros((len(rows), len(rows)), bool)
    uncounted = np.zeros_like(duplicates)
    overlaps = np.zeros_like(duplicates)
    kinds: dict[tuple[int, int], str] = {}
    for pair in pairs.to_pylist():
        i, j = sorted((place[pair["path_a"]], place[pair["path_b"]]))
        if pair["label"] == "ambiguous" or pair["relation"] == "exact":
            uncounted[i, j] = True
            overlaps[i, j] = pair["relation"] != "exact"
        elif pair["label"] == "positive":
            duplicates[i, j] = True
            edits = {_edit(files, pair["path_a"]), _edit(files, pair["path_b"])} - {None}
            kinds[i, j] = str(edits.pop()) if len(edits) == 1 else "two edits"
    return Corpus(rows, duplicates, uncounted, overlaps, kinds)


def _edit(files: Mapping[str, Mapping[str, str | None]], path: str) -> str | None:
    """Return what was done to a file; an exact copy is what it is a copy of."""
    file = files[path]
    origin = file["copy_of"]
    return _edit(files, origin) if file["edit"] is None and origin is not None else file["edit"]


def linked(rows: pa.Table, config: DedupConfig) -> Matrix:
    """Return which pairs of rows are linked directly, the upper triangle only."""
    assert config.perceptual is not None
    of_row = signatures(rows, config.perceptual.min_entropy).of_row
    edges = DedupStage(config).edges(rows, None)
    count = int(of_row.max()) + 1
    near = np.eye(count, dtype=bool)
    left, right = (of_row[edges[name].to_numpy()] for name in ("left_row", "right_row"))
    near[left, right] = near[right, left] = True
    has = of_row >= 0
    return np.triu(near[of_row[:, None], of_row[None]] & has[:, None] & has[None], 1)


def grouped(rows: pa.Table, config: DedupConfig) -> Matrix:
    """Return which pairs of rows share a group, the upper triangle only."""
    stage = DedupStage(config)
    result, _ = stage.groups(rows, [stage.edges(rows, None)])
    label = result["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    return np.triu(label[:, None] == label[None], 1)


def score(corpus: Corpus, found: Matrix) -> Scores:
    """Compare the pairs found with the truth."""
    counted = found & ~corpus.uncounted
    right = int((counted & corpus.duplicates).sum())
    false = int((counted & ~corpus.duplicates).sum())
    all_kinds = Counter(corpus.kinds.values())
    hits = Counter(kind for pair, kind in corpus.kinds.items() if counted[pair])
    return Scores(
        recall=right / max(1, int(corpus.duplicates.sum())),
        precision=right / max(1, right + false),
        num_duplicates=int(corpus.duplicates.sum()),
        false_pairs=false,
        overlaps=(int((found & corpus.overlaps).sum()), int(corpus.overlaps.sum())),
        by_kind={kind: (hits[kind], total) for kind, total in sorted(all_kinds.items())},
    )
