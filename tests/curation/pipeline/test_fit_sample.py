"""The sample of a fit: the same rows as a plain sort of everything gives, read in two passes."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation import shard_files
from curation.config import Config
from curation.dataset import Dataset
from curation.draw import draw_hashes
from curation.pipeline import fit_sample
from curation.pipeline.config import PipelineConfig
from curation.pipeline.fit_sample import draw_sample, has_complete_row
from curation.pipeline.instances import resolve
from curation.pipeline.stage import FittedStage, Stage, with_identity
from curation.tables import read_table, write_table
from schemas import dataset as layout
from schemas.columns import column, table
from schemas.images import IMAGES

READS = ("wide.vector", "narrow.score", "wide.text")
_ERROR = column("error", pa.string(), "Why.")


class WideStage(Stage[Config]):
    """A vector and a text."""

    name = "wide"
    config_type = Config

    def reads(self):
        return ("images.num_bytes",)

    def writes(self):
        vector = column("vector", pa.list_(pa.field("element", pa.float16()), 3), "Numbers.")
        return table("wide", vector, column("text", pa.string(), "Words."), _ERROR)

    def process(self, shard):
        raise NotImplementedError


class NarrowStage(WideStage):
    """A number."""

    name = "narrow"

    def writes(self):
        return table("narrow", column("score", pa.int32(), "Number."), _ERROR)


class FitStage(FittedStage[Config]):
    """Reads both."""

    name = "fit"
    config_type = Config

    def reads(self):
        return READS

    def fit_reads(self):
        return READS

    def fit_sample(self):
        return 5, 1

    def fit(self, sample):
        raise NotImplementedError

    def writes(self):
        return table("fit", _ERROR)

    def process(self, shard):
        raise NotImplementedError


REGISTRY = {"wide": WideStage, "narrow": NarrowStage, "fit": FitStage}


@pytest.fixture(scope="module")
def instances():
    stages: dict[str, dict[str, Any] | None] = {"wide": {}, "narrow": {}, "fit": {}}
    config = PipelineConfig(name="test", dataset="x", stages=stages)
    return {instance.name: instance for instance in resolve(config, REGISTRY)}


def make_dataset(url, instances, rows, num_shards):
    """Write rows of (id, vector, text, score) in shards of about the same size."""
    dataset = Dataset.open_or_create(str(url))
    for shard, part in enumerate(np.array_split(np.arange(len(rows)), num_shards)):
        ids, vectors, texts, scores = zip(*(rows[n] for n in part), strict=True)
        images = pa.table({"shard": [shard] * len(part), "row": range(len(part)), "image_id": ids})
        for field in IMAGES:
            if field.name not in images.column_names:
                images = images.append_column(field, pa.nulls(len(part), field.type))
        write_table(
            dataset.store, layout.images_path(shard), images.select(IMAGES.names).cast(IMAGES)
        )
        for name, values in (
            ("wide", {"vector": vectors, "text": texts}),
            ("narrow", {"score": scores}),
        ):
            schema = REGISTRY[name](Config()).writes()
            own = pa.table(
                {k: pa.array(v, schema.field(k).type) for k, v in values.items()}
                | {"error": pa.nulls(len(part), pa.string())},
                schema=schema,
            )
            path = layout.instance_path(name, instances[name].fingerprint, shard)
            identity = dataset.read_images(shard, ["shard", "row", "image_id"])
            write_table(dataset.store, path, with_identity(identity, own, name))
    return dataset


def make_rows(num_rows, *, missing=0.2):
    """Make rows of which some lack a column, and every seventh image comes twice."""
    generator = np.random.default_rng(5)
    rows = []
    for n in range(num_rows):
        of = n - 7 if n % 7 == 0 and n else n
        image_id = hashlib.sha256(b"%d" % of).digest()[:16]
        vector, text, score = generator.random(3).astype(np.float16).tolist(), f"text {n}", n
        lacks = generator.random(3) < missing
        rows.append(
            (
                image_id,
                None if lacks[0] else vector,
                None if lacks[1] else text,
                None if lacks[2] else score,
            )
        )
    return rows


def draw_plainly(dataset, instances, size, seed):
    """Draw by sorting whole tables, every column of every shard in memory."""
    kept: Any = None
    for shard in dataset.image_shards():
        joined: Any = None
        for owner, names in (("wide", ["vector", "text"]), ("narrow", ["score"])):
            path = layout.instance_path(owner, instances[owner].fingerprint, shard)
            columns = [f"{owner}_{name}" for name in names]
            found = read_table(dataset.store, path, ["image_id", *columns])
            joined = found.select(["image_id"]) if joined is None else joined
            for name in names:
                joined = joined.append_column(f"{owner}.{name}", found[f"{owner}_{name}"])
        for name in READS:
            joined = joined.filter(joined[name].is_valid())
        draws = draw_hashes(joined["image_id"].to_pylist(), seed)
        joined = joined.append_column("draw", pa.array(draws, pa.uint64()))
        kept = joined if kept is None else pa.concat_tables([kept, joined])
        order = pc.sort_indices(kept, [("draw", "ascending"), ("image_id", "ascending")])
        kept = kept.take(order)
        ids = kept["image_id"].to_pylist()
        first = [not n or ids[n] != ids[n - 1] for n in range(len(ids))]
        kept = kept.filter(pa.array(first, pa.bool_())).slice(0, size)
    return kept.drop_columns(["draw"]).combine_chunks()


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("size", [0, 1, 40, 10_000])
def test_two_passes_draw_what_sorting_everything_draws(tmp_path, instances, size, missing):
    """Values, order, types and metadata, however many candidates turn out to lack something."""
    dataset = make_dataset(tmp_path / "data", instances, make_rows(600, missing=missing), 7)

    drawn = draw_sample(dataset, instances["fit"], instances, READS, size, 3)

    expected = draw_plainly(dataset, instances, size, 3)
    assert drawn.equals(expected, check_metadata=True)
    assert len(drawn) == size or size > 500 or missing == 0.9


def test_the_shard_size_changes_no_sample(tmp_path, instances):
    """The same rows in 3 shards or in 60."""
    rows = make_rows(600)
    drawn = [
        draw_sample(
            make_dataset(tmp_path / str(num_shards), instances, rows, num_shards),
            instances["fit"],
            instances,
            READS,
            50,
            3,
        )
        for num_shards in (3, 60)
    ]

    assert len(drawn[0]) == 50
    assert drawn[0].equals(drawn[1])


def test_wide_columns_are_read_where_a_candidate_lies_only(tmp_path, instances, monkeypatch):
    """A sample of one row does not read the vectors of sixty shards."""
    monkeypatch.setattr(fit_sample, "_SPARE_ROWS", 2)
    dataset = make_dataset(tmp_path / "data", instances, make_rows(600, missing=0), 60)
    reads: list[tuple[str, ...]] = []

    def read(store, name, columns):
        reads.append(tuple(columns))
        return read_table(store, name, columns)

    monkeypatch.setattr(shard_files, "read_table", read)

    assert len(draw_sample(dataset, instances["fit"], instances, READS, 1, 3)) == 1

    assert sum("narrow_score" in columns for columns in reads) >= 60
    assert 0 < sum("wide_vector" in columns for columns in reads) <= 5


def test_memory_holds_few_more_candidates_than_the_sample(tmp_path, instances, monkeypatch):
    """Candidates are cut back while shards are read, and the answer is the same."""
    monkeypatch.setattr(fit_sample, "_SPARE_ROWS", 2)
    dataset = make_dataset(tmp_path / "data", instances, make_rows(600, missing=0), 60)
    lengths: list[int] = []
    first = fit_sample._first

    def keep(parts, num_rows):
        lengths.append(sum(len(part) for part in parts))
        return first(parts, num_rows)

    monkeypatch.setattr(fit_sample, "_first", keep)

    drawn = draw_sample(dataset, instances["fit"], instances, READS, 20, 3)

    assert drawn.equals(draw_plainly(dataset, instances, 20, 3))
    assert len(lengths) > 2
    assert max(lengths) < 2 * 27 + 10


def test_a_complete_row_is_looked_for(tmp_path, instances):
    """One is enough; rows that each lack something are none."""
    whole = (b"a" * 16, [1.0, 2.0, 3.0], "text", 7)
    halves = [(b"b" * 16, None, "text", 7), (b"c" * 16, [1.0, 2.0, 3.0], "text", None)]

    for rows, found in ((halves, False), ([*halves, whole], True)):
        dataset = make_dataset(tmp_path / str(len(rows)), instances, rows, 2)
        assert has_complete_row(dataset, instances["fit"], instances, READS) is found
    empty = Dataset.open_or_create(str(tmp_path / "empty"))
    assert not has_complete_row(empty, instances["fit"], instances, READS)
