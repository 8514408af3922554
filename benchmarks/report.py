"""The report on a large dataset: how long it takes, and how large the page is.

    python -m benchmarks.report [--quick] [--rows N]

A dataset with small real images and drawn scores is written below a temporary folder, as stages and
a snapshot would leave it, and `write_report` makes the page.
"""

import argparse
import io
import json
import resource
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.conditions import print_conditions
from curation.config import Config
from curation.dataset import Dataset
from curation.inventory import applied_instances
from curation.pipeline.config import parse_pipeline
from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec
from curation.report import write_report
from curation.snapshot.manifest import (
    CategoryInfo,
    Conservation,
    Content,
    FileInfo,
    Predicate,
    SnapshotManifest,
)
from curation.snapshot.read import snapshot_path
from curation.tables import conform, write_table
from schemas import dataset as layout
from schemas.aesthetic import AESTHETIC
from schemas.categorize import CATEGORIZE
from schemas.columns import IDENTITY
from schemas.decisions import DECISIONS
from schemas.dedup import DEDUP
from schemas.images import IMAGES
from schemas.inspect import INSPECT

ROWS = 1_000_000
QUICK_ROWS = 100_000
MOST_BYTES = 20_000_000
NUM_CATEGORIES = 10_000
NUM_PICTURES = 64

PIPELINE = """\
name: large
dataset: {dataset}
source: {{name: drawn, roots: ["{dataset}"]}}
stages: {{inspect: {{}}, aesthetic: {{}}, categorize: {{}}, dedup: {{}}}}
"""
WHERE = {
    "intact": "inspect_error IS NULL",
    "size": "inspect_width >= 256 AND inspect_height >= 256",
    "pretty": "aesthetic_score >= 40",
}


class DrawnConfig(Config):
    """No settings."""


class DrawnStage(Stage[DrawnConfig]):
    """Stands for a stage whose columns are drawn here."""

    config_type = DrawnConfig
    columns: pa.Schema

    def reads(self) -> tuple[str, ...]:
        """Nothing: it never runs."""
        return ()

    def writes(self) -> pa.Schema:
        """The columns of the stage it stands for."""
        return self.columns

    def pixels(self) -> PixelSpec | None:
        """As if it looked at pictures: only what a stage has decoded is shown."""
        return PixelSpec(size_px=256) if self.name == "inspect" else None

    def process(self, shard: Shard) -> pa.Table:
        """Never run."""
        raise NotImplementedError


def stand_in(name: str, columns: pa.Schema) -> type[Stage[Any]]:
    """Return a stage called `name` that writes `columns`."""
    return type(f"{name.title()}Drawn", (DrawnStage,), {"name": name, "columns": columns})


REGISTRY = {
    "inspect": stand_in("inspect", INSPECT),
    "aesthetic": stand_in("aesthetic", AESTHETIC),
    "categorize": stand_in("categorize", CATEGORIZE),
    "dedup": stand_in("dedup", DEDUP),
}


def main() -> int:
    """Write the dataset, make the page, print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--out", type=Path, help="keep the page here")
    options = parser.parse_args()
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    print_conditions(rows=f"{rows:,}", categories=f"{NUM_CATEGORIES:,}", threshold_columns=3)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        dataset = write_dataset(Path(folder) / "data", rows)
        wrote_s = time.perf_counter() - began
        out = options.out or Path(folder) / "report.html"
        began = time.perf_counter()
        write_report(dataset, None, out.resolve(), REGISTRY)
        report_s = time.perf_counter() - began
        num_bytes = out.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print("| rows | dataset written, s | report, s | page, MB | peak memory, MiB |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(f"| {rows:,} | {wrote_s:.0f} | {report_s:.1f} | {num_bytes / 1e6:.2f} | {peak:,} |\n")
    met = num_bytes < MOST_BYTES
    figures = {"rows": rows, "report_s": round(report_s, 2), "page_bytes": num_bytes}
    result = {"benchmark": "report", "figures": figures, "targets": {"page_bytes": MOST_BYTES}}
    print(json.dumps({**result, "met": met}))
    return 0 if met else 1


def write_dataset(folder: Path, rows: int) -> Dataset:
    """Write images, columns, decisions and a manifest."""
    dataset = Dataset.open_or_create(str(folder))
    text = PIPELINE.format(dataset=folder)
    dataset.store.put("pipelines/large.yaml", text.encode())
    config = parse_pipeline(text, "large.yaml")
    fingerprints = {i.name: i.fingerprint for i in applied_instances(dataset, config, REGISTRY)}
    rng = np.random.default_rng(5)
    pictures = [_picture(rng) for _ in range(NUM_PICTURES)]
    names = np.array([f"t{n % 97:02d}/c{n:05d}" for n in range(NUM_CATEGORIES)])
    sizes = 1 / np.arange(1, NUM_CATEGORIES + 1) ** 0.9
    sizes /= sizes.sum()
    decided: list[pa.Table] = []
    for shard, start in enumerate(range(0, rows, layout.MAX_SHARD_ROWS)):
        count = min(layout.MAX_SHARD_ROWS, rows - start)
        identity = _identity(rng, shard, count)
        drawn = _draw(rng, count)
        drawn["categorize"]["path"] = names[rng.choice(NUM_CATEGORIES, count, p=sizes)]
        chosen = [pictures[n] for n in rng.integers(NUM_PICTURES, size=count)]
        images = {
            "source_name": ["drawn"] * count,
            "source_key": [f"{shard:05d}/{row:04d}.webp" for row in range(count)],
            "num_bytes": [len(picture) for picture in chosen],
            "image_bytes": chosen,
        }
        write_table(dataset.store, layout.images_path(shard), _table(IMAGES, identity, images))
        for name, columns in drawn.items():
            schema = REGISTRY[name].columns  # type: ignore[attr-defined]
            fields = [f.with_name(f"{name}_{f.name}") for f in schema]
            table = _table(
                pa.schema([*IDENTITY, *fields]),
                identity,
                {f"{name}_{column}": values for column, values in columns.items()},
            )
            write_table(dataset.store, layout.instance_path(name, fingerprints[name], shard), table)
        decided.append(_table(DECISIONS, identity, _decide(rng, drawn)))
    _publish(dataset, decided)
    return dataset


def _picture(rng: np.random.Generator) -> bytes:
    sink = io.BytesIO()
    cells = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(cells).resize((96, 96), Image.Resampling.BICUBIC)
    picture.save(sink, "WEBP", quality=30)
    return sink.getvalue()


def _identity(rng: np.random.Generator, shard: int, count: int) -> dict[str, Any]:
    ids = [uuid.UUID(bytes=rng.bytes(16), version=4).bytes for _ in range(count)]
    return {"shard": np.full(count, shard, np.int32), "row": np.arange(count), "image_id": ids}


def _draw(rng: np.random.Generator, count: int) -> dict[str, dict[str, Any]]:
    width = np.exp2(rng.normal(9.5, 1, count)).clip(16, 20_000)
    height = (width * rng.lognormal(0, 0.3, count)).clip(16, 20_000)
    failed = rng.random(count) < 0.005
    measured = ("mean_luma", "contrast", "entropy", "sharpness", "colorfulness")
    inspect: dict[str, Any] = {
        "width": _values(width.astype(np.int32), failed),
        "height": _values(height.astype(np.int32), failed),
        "format": _values(np.where(rng.random(count) < 0.8, "JPEG", "PNG"), failed),
        "error": _values(np.full(count, "truncated: the JPEG data ends too early"), ~failed),
    }
    for name in measured:
        inspect[name] = _values(rng.gamma(4, 10, count).astype(np.float32), failed)
    score = (100 * rng.beta(5, 3, count)).astype(np.float32)
    groups = [
        uuid.UUID(int=int(n) + (1 << 100)).bytes for n in rng.integers(0, 1 << 18, size=count)
    ]
    alone = rng.random(count) < 0.8
    return {
        "inspect": inspect,
        "aesthetic": {"score": _values(score, failed)},
        "categorize": {},
        "dedup": {
            "group": [None if one else group for one, group in zip(alone, groups, strict=True)],
            "distance": _values(rng.integers(0, 9, count).astype(np.int16), alone),
            "method": _values(np.full(count, "perceptual"), alone),
        },
    }


def _values(values: Any, is_null: Any) -> pa.Array:
    return pa.array(values, mask=is_null)


def _decide(rng: np.random.Generator, drawn: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give every row its reasons, as the predicates, and a draw of the rest, say."""
    inspect = drawn["inspect"]
    width = inspect["width"].to_pylist()
    height = inspect["height"].to_pylist()
    score = drawn["aesthetic"]["score"].to_pylist()
    chance = rng.random(len(width))
    paths = drawn["categorize"]["path"]
    reasons: list[list[str]] = []
    for row, (wide, tall, value) in enumerate(zip(width, height, score, strict=True)):
        found = []
        if wide is None:
            found = ["intact", "size:unknown", "pretty:unknown"]
        else:
            if wide < 256 or tall < 256:
                found.append("size")
            if value < 40:
                found.append("pretty")
        if not found and chance[row] < 0.6:
            found = ["duplicate" if chance[row] < 0.1 else "unsampled"]
        reasons.append(found)
    kept = [not found for found in reasons]
    return {
        "kept": kept,
        "reason": [found[0] if found else None for found in reasons],
        "reasons": reasons,
        "repeat": [int(one) for one in kept],
        "weight": [1.0 if one else None for one in kept],
        "split": ["train"] * len(kept),
        "category_path": paths.tolist(),
    }


def _table(schema: pa.Schema, identity: dict[str, Any], columns: dict[str, Any]) -> pa.Table:
    count = len(identity["row"])
    found = {**identity, **columns}
    arrays = [
        pa.array(found[f.name], f.type) if f.name in found else pa.nulls(count, f.type)
        for f in schema
    ]
    return conform(pa.Table.from_arrays(arrays, schema=schema), schema)


def _publish(dataset: Dataset, decided: list[pa.Table]) -> None:
    """Write decisions and their manifest."""
    rows = pa.concat_tables(decided)
    kept = int(np.count_nonzero(rows["kept"].to_numpy()))
    reasons = {
        entry["values"]: entry["counts"]
        for entry in rows["reason"].drop_null().value_counts().to_pylist()
    }
    content = Content(
        parents={},
        rows="0" * 32,
        where=tuple(Predicate(name=name, sql=sql) for name, sql in WHERE.items()),
        representative=(),
        split={},
        sample={"size": kept},
        decisions="0" * 32,
    )
    candidates = rows.filter(
        pa.array([r in (None, "unsampled") for r in rows["reason"].to_pylist()])
    )
    snapshot = content.snapshot_id()
    files = {}
    for group in range(-(-len(decided) // layout.SHARDS_PER_GROUP)):
        name = f"decisions/part-{group:05d}.parquet"
        first = group * layout.SHARDS_PER_GROUP
        part = pa.concat_tables(decided[first : first + layout.SHARDS_PER_GROUP])
        write_table(dataset.store, snapshot_path(snapshot, name), part)
        files[name] = FileInfo(num_bytes=0, num_rows=len(part), sha256="")
    manifest = SnapshotManifest(
        id=snapshot,
        content=content,
        conservation=Conservation(
            images=len(rows),
            superseded=0,
            tombstoned=0,
            pending=0,
            quarantined=0,
            excluded=reasons,
            kept=kept,
        ),
        reasons=reasons,
        splits={"train": kept, "validation": 0},
        categories=_tree(candidates),
        num_draws=kept,
        num_missing=0,
        num_moved=0,
        previous=None,
        columns={},
        files=files,
        dataset=dataset.store.url,
        dataset_id=dataset.info.dataset_id,
        pipeline="large",
        code_version="0",
        created_at="2026-01-01T00:00:00+00:00",
    )
    path = snapshot_path(snapshot, "manifest.json")
    dataset.store.put(path, manifest.model_dump_json().encode())


def _tree(candidates: pa.Table) -> dict[str, CategoryInfo]:
    counts: dict[str, list[int]] = {}
    paths = candidates["category_path"].to_pylist()
    for path, is_kept in zip(paths, candidates["kept"].to_pylist(), strict=True):
        for node in ("", path.split("/")[0], path):
            entry = counts.setdefault(node, [0, 0])
            entry[0] += 1
            entry[1] += is_kept
    return {
        node: CategoryInfo(before=before, kept=kept, draws=kept)
        for node, (before, kept) in counts.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
