"""A dataset written when layout 1 was settled opens, plans and reads as it did then."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from curation.dataset import Dataset
from curation.ingest.load import load_bytes
from curation.ingest.tombstones import read_tombstones
from curation.pipeline.blocks import current_blocks, shard_set
from curation.pipeline.config import parse_pipeline
from curation.pipeline.dispatch import Charge
from curation.pipeline.fit import find_pin, read_artifact
from curation.pipeline.instances import resolve
from curation.pipeline.quarantine import quarantined
from curation.pipeline.relation import has_groups, read_facts, read_relation
from curation.pipeline.session import Session
from curation.tables import column_digest, file_digests, read_table
from schemas.ingest_list import INGEST_LIST
from tests.fakes.runs import files_of
from tests.golden.golden_files import check_json
from tests.golden.layout1_stages import LAYOUT1_STAGES
from tests.golden.small_run import ppm

FOLDER = Path(__file__).parent / "layout1" / "dataset"


@pytest.fixture
def dataset():
    return Dataset.open(str(FOLDER))


@pytest.fixture
def instances(dataset):
    config = read_pipeline(dataset)
    found = resolve(config, LAYOUT1_STAGES, lambda fit_key: find_pin(dataset, fit_key))
    return {instance.name: instance for instance in found}


def read_pipeline(dataset, *overrides):
    text = dataset.store.read("pipelines/old.yaml").decode()
    return parse_pipeline(text, "old.yaml", overrides)


def readable(value):
    """Write bytes as text, as deep as they lie."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value


def columns_of(table: pa.Table):
    return {name: [readable(v) for v in table[name].to_pylist()] for name in table.column_names}


def test_it_opens(dataset):
    """Its description, shards and ingests are found."""
    assert dataset.info.layout == 1
    assert dataset.info.dataset_id == "0b5c7a1e-6f0e-4c57-9f39-3a3f1f7f6d11"
    assert dataset.info.max_shard_rows == 3
    assert dataset.image_shards() == [0, 1, 2]
    assert dataset.listed_shards() == {0: (0, 0), 1: (0, 1), 2: (1, 0)}
    assert [state.lists for state in dataset.ingests()] == [(0, 1, 2), (0, 1)]
    assert [state.done["rows"] for state in dataset.ingests() if state.done] == [
        {"changed": 0, "new": 5, "vanished": 0},
        {"changed": 1, "new": 1, "vanished": 1},
    ]


def test_every_value_is_what_it_was(dataset):
    """All columns of all tables, compared value by value with the record."""
    tables = {
        name: columns_of(read_table(dataset.store, name))
        for name in dataset.store.files("")
        if name.endswith(".parquet")
    }

    assert len(tables) == 25
    check_json("layout1_values.json", tables)


def test_digests_are_what_they_were(dataset):
    """The digests in the footers are those that this version computes: relations stay valid."""
    for name in dataset.store.files(""):
        if name.endswith(".parquet"):
            table = read_table(dataset.store, name)
            for column, digest in file_digests(dataset.store, name).items():
                assert column_digest(table[column]) == digest, (name, column)


def test_the_originals_are_untouched(dataset):
    """Bytes come back as they were taken in, or with the reason why there are none."""
    images = pa.concat_tables([dataset.read_images(shard) for shard in dataset.image_shards()])

    loaded = dict(
        zip(images["source_key"].to_pylist()[:5], load_bytes(images, ("file",)), strict=False)
    )

    assert loaded["a/grey.ppm"] == ppm(128, 128, 128)
    assert loaded["b/nothing.ppm"] == b""
    assert loaded["b/forbidden.ppm"] == "tombstoned: a tombstone forbids this image"
    assert read_tombstones(dataset).contents


def test_fingerprints_are_its_folders(dataset, instances):
    """What this version calls a configured stage is what that one called it."""
    folders = {
        name: dataset.store.names(name)
        for name, instance in instances.items()
        if not instance.is_relation
    }

    assert folders == {
        name: [instance.fingerprint]
        for name, instance in instances.items()
        if not instance.is_relation
    }
    assert dataset.store.names("relations/twins") == [instances["twins"].fingerprint]


def test_the_plan_is_what_it_was(dataset):
    """Nothing is due, and one shard was given up."""
    session = Session(read_pipeline(dataset, f"dataset={FOLDER}"), "", LAYOUT1_STAGES)

    check_json("layout1_plan.json", session.plan(dataset).to_json())


def test_its_artefact_is_found(dataset, instances):
    """The pin names it, its files have the digest they had."""
    digest = find_pin(dataset, instances["rank"].meaning.fit_key())

    assert digest is not None
    assert digest == instances["rank"].artifact
    assert read_artifact(dataset, "rank", digest) == {"largest.txt": b"5"}


def test_its_relation_is_complete(dataset, instances):
    """The groups of today's set of shards are there, and so are those of before."""
    twins = instances["twins"]
    blocks = current_blocks(dataset, twins, instances)

    assert has_groups(dataset, twins, blocks)
    name = shard_set(blocks)
    assert read_facts(dataset, "twins", twins.fingerprint, name)["num_rows"] == 7
    tables = [read_relation(dataset, "twins", twins.fingerprint, name, n) for n in range(3)]
    groups = pa.concat_tables(tables)
    assert groups["image_id"].to_pylist() == [
        image_id
        for shard in dataset.image_shards()
        for image_id in dataset.read_images(shard, ["image_id"])["image_id"].to_pylist()
    ]
    assert len(dataset.store.names(f"relations/twins/{twins.fingerprint}")) == 3


def test_its_charges_are_read(dataset, instances):
    """What was given up then is given up now."""
    charge = Charge("exception", "ValueError: not this one", "inline")

    assert quarantined(dataset, "picky", instances["picky"].fingerprint) == {
        "shard-00000001": [charge] * 3
    }


def test_running_it_again_does_nothing(dataset, tmp_path):
    """This version finds its work done, whatever it is; one shard stays given up."""
    copy = tmp_path / "copy"
    shutil.copytree(FOLDER, copy)
    config = read_pipeline(dataset, f"dataset={copy}", "source=null")

    summary = Session(config, "", LAYOUT1_STAGES).run(
        lambda: pytest.fail("a runner was made"), runner_name="local"
    )

    assert summary.exit_code == 1
    assert summary.left == {"picky": "some shards were given up; see `longtail ls`"}
    assert files_of(copy) == files_of(FOLDER)


def test_lists_from_before_a_column_read_as_null(dataset):
    """What came later says nothing of them, so a listing does not find them changed."""
    lines = dataset.read_list(0, 0)

    assert lines.schema.names == INGEST_LIST.names
    assert lines["key"].null_count == 0
    for name in INGEST_LIST.names[INGEST_LIST.get_field_index("offset") :]:
        assert lines[name].null_count == len(lines) > 0
    assert dataset.read_list(0, 0, ["error", "key"]).column_names == ["error", "key"]
