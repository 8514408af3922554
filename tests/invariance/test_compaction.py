"""A dataset that is compacted between and after its runs answers as one that never was."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from curation.compact import compact_group, find_groups
from curation.dataset import Dataset
from curation.forget import erase, find, parse_request
from curation.pipeline.retry import retry_transient
from curation.report.page import make_page
from curation.report.source import open_source
from curation.snapshot.read import read_manifest
from curation.snapshot.verify import verify_snapshot
from curation.sql import open_tables
from curation.tables import read_table
from jobs.sessions import open_session
from jobs.snapshot import create_snapshot
from schemas import dataset as layout
from stages.registry import STAGES
from tests.curation.kept_dataset import rows_of
from tests.fakes.groups import set_group_size
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import image_bytes, image_keys, write_files
from tests.fakes.runs import Stages, files_of, make_session, run

PIPELINE = """
name: kept
dataset: {dataset}
source: {{name: lake, roots: [{lake}], list_shards: 1}}
stages:
  inspect: {{}}
  aesthetic: {{}}
  embed: {{}}
  categorize: {{branching: [2], sample_rows: 16}}
  dedup: {{}}
snapshot:
  where: {{intact: inspect_error IS NULL, pretty: aesthetic_score >= 20}}
run: {{max_shard_rows: 3, workers: 1}}
"""
FIRST, ALL = 9, 16
PER_RUN = ("runs", "dataset.json", "pipelines")
LIKE_REAL: Stages = {"luma": {}, "double": {}, "middle": {}, "twins": {}}


def compact(url) -> int:
    """Compact what can be, from scratch as the command does; return how many groups."""
    dataset = Dataset.open(str(url))
    groups = find_groups(dataset)
    assert {compact_group(dataset, group) for group in groups} <= {None}
    return len(groups)


def add_images(lake: Path, numbers: range) -> None:
    keys = image_keys(numbers.stop)[numbers.start :]
    write_files(lake, [(key, image_bytes(key)) for key in keys])


@pytest.fixture(scope="module", autouse=True)
def _groups_of_two():
    with pytest.MonkeyPatch.context() as patch:
        set_group_size(patch, 2)
        yield


def test_children_read_spans_and_relations_go_on(tmp_path):
    """Half of the images, compacted, then the others and a stage that reads what was compacted."""
    for name in ("plain", "compacted"):
        lake = tmp_path / name / "lake"
        data = tmp_path / name / "data"
        add_images(lake, range(FIRST))
        before: Stages = {"luma": {}, "middle": {}}
        assert run(make_session(data, lake, before, max_shard_rows=2)).complete
        if name == "compacted":
            assert compact(data) == 4  # of five shards: two groups of each stage
        add_images(lake, range(FIRST, ALL))
        session = make_session(data, lake, LIKE_REAL, max_shard_rows=2)
        assert run(session).complete
        assert run(session).waves == 0  # nothing is missing
        shutil.rmtree(lake)

    plain, compacted = tmp_path / "plain" / "data", tmp_path / "compacted" / "data"
    assert list(compacted.rglob("span.parquet"))
    expected = files_of(plain, without=(*PER_RUN, "luma", "middle"))
    assert {name.split("/")[0] for name in expected} >= {"double", "relations"}
    assert apart(files_of(compacted, without=(*PER_RUN, "luma", "middle"))) == apart(expected)
    assert values(compacted) == values(plain)


def apart(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out work lists and images, which name the folder of the lake."""
    return {n: data for n, data in files.items() if not n.startswith(("ingest/", "images/"))}


def values(folder: Path) -> dict[str, list[object]]:
    """Return folder -> the tables of its shards, with their metadata and digests."""
    dataset = Dataset.open(str(folder))
    found: dict[str, list[object]] = {}
    for instance, fingerprint in dataset.stage_folders():
        place = layout.instance_folder(instance, fingerprint)
        for n in dataset.files.shards(place):
            table, digests = dataset.files.read(place, n), dataset.files.digests(place, n)
            shard = (n, table.to_pylist(), table.schema.metadata, digests)
            found.setdefault(place, []).append(shard)
    return found


# The real stages ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(a pipeline whose dataset is compacted after every run, one whose dataset never is)."""
    pipelines = []
    for name in ("compacted", "plain"):
        folder = tmp_path_factory.mktemp(name)
        lake = folder / "lake"
        pipeline = folder / "kept.yaml"
        pipeline.write_text(PIPELINE.format(dataset=folder / "dataset", lake=lake))
        for numbers in (range(FIRST), range(FIRST, ALL)):
            add_images(lake, numbers)
            if numbers.start:
                write_files(lake, [("twin.png", image_bytes(image_keys(1)[0]))])
            run_inline(pipeline)
            if name == "compacted":
                assert compact(folder / "dataset") >= 4
        pipelines.append(pipeline)
    return pipelines


def run_inline(pipeline: Path) -> None:
    summary = open_session(pipeline).run(InlineRunner, runner_name="inline")
    assert summary.complete, summary.lines()


def opened(pipeline: Path) -> Dataset:
    return Dataset.open(str(pipeline.parent / "dataset"))


def ask(dataset: Dataset) -> list[dict[str, object]]:
    """Return the wide table without what names the lake's folder."""
    query = "SELECT * FROM rows ORDER BY shard, row"
    with open_tables(dataset, STAGES).query(query) as result:
        rows = result.read().to_pylist()
    local = ("source_uri", "source_mtime")
    return [{k: v for k, v in row.items() if k not in local} for row in rows]


def page(dataset: Dataset) -> dict[str, object]:
    """Return all sections of a report but when and where."""
    found = make_page(open_source(dataset, None, STAGES))
    apart = ("manifest", "runs", "provenance")
    return {f.name: getattr(found, f.name) for f in fields(found) if f.name not in apart}


def test_every_answer_is_that_of_a_dataset_that_never_was_compacted(made, tmp_path):
    """SQL, plan, snapshot, report; and after forgetting, which expands a group, once more."""
    compacted, plain = made
    spans = list((compacted.parent / "dataset").rglob("span.parquet"))
    assert {path.relative_to(compacted.parent / "dataset").parts[0] for path in spans} == {
        "inspect",
        "aesthetic",
        "embed",
        "categorize",
    }
    snapshots = [create_snapshot(pipeline).manifest for pipeline in made]

    assert snapshots[0].id == snapshots[1].id
    assert snapshots[0].conservation.kept > 0
    assert ask(opened(compacted)) == ask(opened(plain))
    assert len(ask(opened(plain))) == ALL + 1
    assert page(opened(compacted)) == page(opened(plain))

    names = []
    for pipeline in made:
        dataset = opened(pipeline)
        victim = next(r for r in rows_of(dataset) if r["source_key"] == image_keys(2)[1])
        phash = next(r for r in ask(dataset) if r["source_key"] == victim["source_key"])
        request = parse_request(
            [("here", victim["image_id"].hex()), ("here", f"phash:{phash['inspect_phash']:016x}")]
        )
        found = find(dataset, request, STAGES)
        done = erase(dataset, found, "asked to", "", purge=False)
        assert done.num_rows >= 1
        names.append((found.shards, done.stage_files, [t.num_images for t in found.taints]))
        assert erase(dataset, found, "asked to", "", purge=False).stage_files == ()
    assert names[0] == names[1]
    assert len(list((compacted.parent / "dataset").rglob("span.parquet"))) < len(spans)
    assert ask(opened(compacted)) == ask(opened(plain))

    for pipeline in made:
        run_inline(pipeline)
        verify_snapshot(opened(pipeline), snapshots[0].id)
    assert compact(compacted.parent / "dataset") == 4
    later = [create_snapshot(pipeline).manifest.id for pipeline in made]
    assert later[0] == later[1] != snapshots[0].id
    assert read_manifest(opened(compacted), later[0]).conservation.tombstoned >= 1
    assert ask(opened(compacted)) == ask(opened(plain))


def test_a_retry_expands_what_it_deletes_from(made, tmp_path):
    """A row with a passing error in a span costs that shard and its readers, and nothing else."""
    shutil.copytree(made[0].parent / "dataset", tmp_path / "dataset")
    dataset = Dataset.open(str(tmp_path / "dataset"))
    compact(dataset.store.url)
    session = open_session(made[0], [f"dataset={dataset.store.url}"])
    instances = session.instances(dataset)
    inspect = next(i for i in instances if i.name == "inspect")
    folder = layout.instance_folder("inspect", inspect.fingerprint)
    table = dataset.files.read(folder, 1)
    values = table.to_pylist()
    values[0]["inspect_error"] = "timeout: no answer"
    dataset.files.replace(folder, 1, type(table).from_pylist(values, table.schema))
    assert compact(dataset.store.url) == 1
    before = {i.name: dataset.instance_shards(i.name, i.fingerprint) for i in instances[:2]}

    assert retry_transient(dataset, None, instances) == {"inspect": 1}

    for name, shards in before.items():
        fingerprint = next(i.fingerprint for i in instances if i.name == name)
        left = Dataset.open(dataset.store.url).instance_shards(name, fingerprint)
        assert left == [n for n in shards if n != 1]
    embed = next(i for i in instances if i.name == "embed")
    span = layout.span_path(layout.instance_folder("embed", embed.fingerprint), 0)
    assert len(read_table(dataset.store, span)) == 6  # it reads nothing of inspect
