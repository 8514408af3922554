"""What a run puts on disk in layout 1, frozen: names, JSON texts, schemas, error codes."""

import json

import pytest

from curation.dataset import Dataset
from curation.pipeline.summary import RunSummary
from curation.tables import file_schema
from schemas import dataset as layout
from schemas.error_codes import ERROR_CODES
from tests.fakes.runs import files_of, find
from tests.golden.golden_files import check, check_json, describe_schema
from tests.golden.small_run import run_small


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The small run, made once: its folder, session and summary."""
    folder = tmp_path_factory.mktemp("golden")
    session, summary = run_small(folder)
    return folder / "data", session, summary


def read(ran, name: str) -> str:
    text = (ran[0] / name).read_text(encoding="utf-8")
    assert text
    return text


def only(names: list[str]) -> str:
    (name,) = names
    return name


def test_names_of_files(ran):
    """Every file of a dataset has its place."""
    folder, _, summary = ran
    names = [name.replace(summary.run_id, "<run id>") for name in files_of(folder)]

    check("file_names.txt", "\n".join(names) + "\n")


def test_the_description_of_a_dataset(ran):
    """`dataset.json`, whose id is drawn once."""
    dataset_id = Dataset.open(str(ran[0])).info.dataset_id

    check("dataset.json", read(ran, "dataset.json").replace(dataset_id, "<dataset id>"))


@pytest.mark.parametrize("name", ["luma", "double", "middle"])
def test_lineage(ran, name):
    """`stage.json` of a stage with pixels, of a reader, and of a fitted one."""
    folder = layout.instance_folder(name, find(ran[1], name).fingerprint)

    check(f"stage_{name}.json", read(ran, f"{folder}/stage.json"))


def test_a_pin(ran):
    """The pin of a fit names the digest of its artefact."""
    names = [name for name in files_of(ran[0]) if name.startswith("pins/")]

    check("pin.json", read(ran, only(names)))


def test_a_charge_sheet(ran):
    """The sheet of a shard that was given up."""
    names = [name for name in files_of(ran[0]) if name.startswith("quarantine/")]

    check("quarantine.json", read(ran, only(names)))


def test_the_facts_of_a_relation(ran):
    """`relation.json` ends a shard set."""
    names = [name for name in files_of(ran[0]) if name.endswith("/relation.json")]

    check("relation.json", read(ran, only(names)))


def test_the_summary_of_a_run(ran):
    """`runs/<run id>.json`, its times and its id apart."""
    kept = json.loads(read(ran, f"runs/{ran[2].run_id}.json"))
    kept["run_id"] = "<run id>"
    kept["seconds"] = "<seconds>"
    for step in kept["steps"].values():
        step["seconds"] = "<seconds>"

    check_json("run.json", kept)


def test_a_summary_of_nothing_has_the_same_keys(ran):
    """Readers of `--json` need no case for a run that had nothing to do."""
    empty = RunSummary("", "fake", "local").to_json()

    assert empty.keys() == ran[2].to_json().keys()


@pytest.mark.parametrize("name", ["luma", "middle"])
def test_the_schema_of_a_stage(ran, name):
    """Identity, then `<instance>_<column>`; each column with its words."""
    folder = layout.instance_folder(name, find(ran[1], name).fingerprint)
    schema = file_schema(Dataset.open(str(ran[0])).store, f"{folder}/{layout.shard_file(0)}")
    about = {key.decode() for key in schema.metadata}

    check(f"schema_{name}.txt", describe_schema(schema))
    assert {"table", "stage", "longtail.digests"} <= about


def test_the_vocabulary_of_errors():
    """Codes are closed: `--retry-transient`, reports and readers of shards depend on each."""
    codes = {
        code: {"transient": error.transient, "template": error.template}
        for code, error in ERROR_CODES.items()
    }

    check_json("error_codes.json", codes)


def test_names_that_no_instance_may_have():
    """Folders of a dataset can be added only under names that were kept free."""
    check_json("reserved_names.json", sorted(layout.RESERVED_NAMES))


def test_paths_for_large_numbers():
    """Groups hold a thousand shards each."""
    assert layout.images_path(0) == "images/00000/shard-00000000.parquet"
    assert layout.images_path(1_234_567) == "images/01234/shard-01234567.parquet"
    assert layout.instance_path("luma", "ab", 999) == "luma/ab/00000/shard-00000999.parquet"
    assert layout.span_path("luma/ab", layout.group_of(2999)) == "luma/ab/00002/span.parquet"
    assert layout.group_shards(2) == range(2000, 3000)
    assert layout.list_path(3, 12) == "ingest/00000003/list-00000012.parquet"
    assert layout.ingest_done_path(3) == "ingest/00000003/done.json"
    assert layout.pin_path("ab") == "pins/ab.json"
    assert layout.artifact_folder("middle", "cd") == "artifacts/middle/cd"
    assert layout.relation_folder("twins", "ef") == "relations/twins/ef"
    assert layout.quarantine_path("luma", "ab", "fit") == "quarantine/luma/ab/fit.json"
    assert layout.snapshot_folder("gh") == "snapshots/gh"
