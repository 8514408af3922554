"""Dedup through files: shard size, block order and later ingests change no row's answer."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.dataset import Dataset
from curation.pipeline.blocks import current_blocks, shard_set
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import resolve
from curation.pipeline.relation import make_edges, make_groups, missing_edges, read_relation
from curation.pipeline.stage import with_identity
from curation.tables import write_table
from schemas import dataset as layout
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST
from schemas.inspect import INSPECT
from stages.dedup.stage import DedupStage
from stages.inspect.stage import InspectStage

NUM_ROWS = 1700


@pytest.fixture(scope="module")
def instances():
    stages: dict[str, dict[str, Any] | None] = {"inspect": {}, "dedup": {}}
    config = PipelineConfig(name="test", dataset="x", stages=stages)
    resolved = resolve(config, {"inspect": InspectStage, "dedup": DedupStage})
    return {instance.name: instance for instance in resolved}


def make_images(count, seed):
    """Make (images columns, inspect columns): families of near hashes, copies, flat, broken."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 2**63, count // 5, dtype=np.uint64)
    base = bases[rng.integers(0, len(bases), count)]
    phash, dhash = base.copy(), base.copy()
    for _ in range(5):
        phash ^= np.uint64(1) << rng.integers(0, 63, count, dtype=np.uint64)
        dhash ^= np.uint64(1) << rng.integers(0, 63, count, dtype=np.uint64)
    copies = rng.random(count) < 0.2
    phash[copies], dhash[copies] = base[copies], base[copies]
    broken = rng.random(count) < 0.01
    names = [
        f"{int(b)}" if c else f"file {n}" for n, (b, c) in enumerate(zip(base, copies, strict=True))
    ]
    images = {
        "image_id": [hashlib.sha256(b"%d" % n).digest()[:16] for n in range(count)],
        "content_sha256": [hashlib.sha256(name.encode()).digest() for name in names],
    }
    inspected = {
        "phash": pa.array(phash, mask=broken),
        "dhash": pa.array(dhash, mask=broken),
        "entropy": pa.array((base % 8).astype(np.float32), mask=broken),
        "error": pa.array(["undecodable: x" if b else None for b in broken], pa.string()),
    }
    return images, inspected


def add_ingest(dataset, instances, seq, content, start, stop, shard_rows, first_shard):
    """Write rows `start` to `stop` of `content` as an ingest of shards of `shard_rows` rows."""
    images, inspected = content
    shards = []
    for shard, begin in enumerate(range(start, stop, shard_rows), first_shard):
        end = min(begin + shard_rows, stop)
        own = {name: values[begin:end] for name, values in images.items()}
        own |= {"shard": [shard] * (end - begin), "row": list(range(end - begin))}
        arrays = [
            pa.array(own[f.name], f.type) if f.name in own else pa.nulls(end - begin, f.type)
            for f in IMAGES
        ]
        rows = pa.Table.from_arrays(arrays, schema=IMAGES)
        write_table(dataset.store, layout.images_path(shard), rows)
        columns = [
            inspected[f.name].slice(begin, end - begin).cast(f.type)
            if f.name in inspected
            else pa.nulls(end - begin, f.type)
            for f in INSPECT
        ]
        made = with_identity(rows, pa.Table.from_arrays(columns, schema=INSPECT), "inspect")
        path = layout.instance_path("inspect", instances["inspect"].fingerprint, shard)
        write_table(dataset.store, path, made)
        shards.append(shard)
    listed = [
        pa.array(shards, f.type) if f.name == "shard" else pa.nulls(len(shards), f.type)
        for f in INGEST_LIST
    ]
    path = layout.list_path(seq, 0)
    write_table(dataset.store, path, pa.Table.from_arrays(listed, schema=INGEST_LIST))
    dataset.store.put(layout.ingest_done_path(seq), b"{}")
    return shards


def run(dataset, instances, parts=None):
    """Bring dedup up to date; return image_id -> (group, distance, method, error)."""
    dedup = instances["dedup"]
    parts = current_blocks(dataset, dedup, instances) if parts is None else parts
    for left, right in missing_edges(dataset, dedup, parts):
        make_edges(dataset, dedup, instances, right, [left])
    make_groups(dataset, dedup, instances, parts)
    found = {}
    for shard in [shard for block in parts for shard in block.shards]:
        answer = read_relation(dataset, "dedup", dedup.fingerprint, shard_set(parts), shard)
        for row in answer.to_pylist():
            found[row["image_id"]] = tuple(
                row[f"dedup_{name}"] for name in ("group", "distance", "method", "error")
            )
    return found


@pytest.fixture(scope="module")
def content():
    return make_images(NUM_ROWS, seed=11)


def test_shard_size_changes_no_answer(tmp_path, instances, content):
    """Shards of 100 rows in two blocks or of 1,024 in one: every row has the same answer."""
    found = {}
    for shard_rows, num_blocks in ((100, 2), (1024, 1)):
        dataset = Dataset.open_or_create(str(tmp_path / str(shard_rows)))
        add_ingest(dataset, instances, 0, content, 0, NUM_ROWS, shard_rows, 0)
        assert len(current_blocks(dataset, instances["dedup"], instances)) == num_blocks
        found[shard_rows] = run(dataset, instances)

    assert len(found[100]) == NUM_ROWS
    methods = [method for _, _, method, _ in found[100].values()]
    assert min(methods.count(kind) for kind in ("exact", "perceptual", None)) > 100
    assert found[100] == found[1024]


def test_one_more_shard_makes_only_its_own_edges(tmp_path, instances, content):
    """Old edge files keep their bytes and times, and the answer is that of one big ingest."""
    dataset = Dataset.open_or_create(str(tmp_path / "grown"))
    shards = add_ingest(dataset, instances, 0, content, 0, 1600, 100, 0)
    run(dataset, instances)
    edges = [name for name in dataset.store.files("relations") if "/edges/" in name]
    assert len(edges) == 1

    def state(names):
        return {
            name: (dataset.store.read(name), dataset.store.local(name).stat().st_mtime_ns)
            for name in names
        }

    before = state(edges)
    add_ingest(dataset, instances, 1, content, 1600, NUM_ROWS, 100, shards[-1] + 1)
    grown = run(dataset, instances)

    assert state(edges) == before
    assert len([n for n in dataset.store.files("relations") if "/edges/" in n]) == 1 + 2
    whole = Dataset.open_or_create(str(tmp_path / "whole"))
    add_ingest(whole, instances, 0, content, 0, NUM_ROWS, 1024, 0)
    assert grown == run(whole, instances)


def test_the_order_of_the_blocks_changes_no_answer(tmp_path, instances, content):
    """Blocks turned round give the same edge files, the same rows and the same facts."""
    files = []
    for turned in (False, True):
        dataset = Dataset.open_or_create(str(tmp_path / str(turned)))
        add_ingest(dataset, instances, 0, content, 0, NUM_ROWS, 100, 0)
        parts = current_blocks(dataset, instances["dedup"], instances)
        run(dataset, instances, parts[::-1] if turned else parts)
        names = dataset.store.files("relations")
        files.append({name: dataset.store.read(name) for name in names})

    assert len(files[0]) == 3 + 2
    assert files[0] == files[1]
