"""Several instances of one stage: planned, run, listed, asked, decided, reported side by side."""

import json
from pathlib import Path

import pytest

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.inventory import take_inventory
from curation.pipeline.config import parse_pipeline
from curation.pipeline.fit import read_artifact
from curation.pipeline.relation_rows import relation_rows
from curation.pipeline.session import Session
from curation.report import write_report
from curation.snapshot.create import create_snapshot
from curation.sql import open_tables
from stages.registry import STAGES
from stages.sample import HierarchicalSampler
from tests.curation.cli.cli_runs import longtail
from tests.fakes.inline_runner import InlineRunner
from tests.stages.photographs import edited_copies, photograph

NAMES = ("astronaut", "brick", "coffee", "coins", "retina", "rocket", "dahlia", "pagoda")
INSTANCES = ["inspect", "embed", "coarse", "fine", "caption", "thumbnail", "tiny"]
PIPELINE = """\
name: several
dataset: {folder}/data
source: {{name: lake, kind: folder, roots: ["{folder}/lake"]}}
run: {{max_shard_rows: 10, workers: 1}}
stages:
  inspect: {{}}
  embed: {{}}
  coarse: {{stage: categorize, branching: [3]}}
  fine: {{stage: categorize, branching: [3, 2, 2]}}
  caption: {{inputs: {{categorize: fine}}}}
  thumbnail: {{}}
  tiny: {{stage: thumbnail, size_px: 32, format: jpeg}}
snapshot:
  inputs: {{categorize: {chosen}}}
  where: {{intact: inspect_error IS NULL}}
  sample: {{size: 12, seed: 1}}
"""


def open_session(folder, chosen="fine"):
    text = PIPELINE.format(folder=folder, chosen=chosen)
    return Session(parse_pipeline(text, "several.yaml"), text, STAGES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight photographs with six copies each, and what the pipeline makes of them."""
    root: Path = tmp_path_factory.mktemp("several")
    for name in NAMES:
        (root / "lake" / name).mkdir(parents=True)
        for edit, data in edited_copies(photograph(name)).items():
            (root / "lake" / name / f"{edit}.jpg").write_bytes(data)
    session = open_session(root)
    assert session.run(InlineRunner, runner_name="inline").complete
    return root


@pytest.fixture
def dataset(folder):
    return Dataset.open(str(folder / "data"))


def test_each_instance_has_a_folder_and_is_done(folder, dataset):
    """Two trees of one stage have two fingerprints; nothing is left to plan."""
    plan = open_session(folder).plan(dataset)
    states = {state.instance: state for state in take_inventory(dataset, STAGES).instances}

    assert [step.instance for step in plan.steps] == ["images", *INSTANCES]
    assert {step.state for step in plan.steps} == {"done"}
    assert list(states) == INSTANCES
    assert {state.finished for state in states.values()} == {5}
    assert states["coarse"].stage == states["fine"].stage == "categorize"
    assert states["coarse"].fingerprint != states["fine"].fingerprint
    assert states["tiny"].stage == "thumbnail"


def test_a_change_of_one_recomputes_it_and_its_readers(folder, dataset):
    """The other instance of the stage, and who reads that, stay as they are."""
    text = PIPELINE.format(folder=folder, chosen="fine").replace("[3, 2, 2]", "[2, 2]")
    changed = Session(parse_pipeline(text, "several.yaml"), text, STAGES)

    states = {step.instance: step.state for step in changed.plan(dataset).steps}

    assert {name for name, state in states.items() if state != "done"} == {"fine", "caption"}


def test_columns_have_the_name_of_their_instance(folder, dataset):
    """SQL sees both trees side by side, each with its own depth, names and errors."""
    query = (
        "SELECT source_key, coarse_path, fine_path, coarse_name, fine_name, fine_error, "
        "caption_captions, octet_length(thumbnail_image) AS large, octet_length(tiny_image) AS "
        "small, tiny_width FROM rows ORDER BY source_key"
    )
    with open_tables(dataset, STAGES).query(query) as result:
        rows = result.read().to_pylist()

    assert len(rows) == 6 * len(NAMES)
    assert {row["coarse_path"].count("/") for row in rows} == {0}
    assert {row["fine_path"].count("/") for row in rows} == {2}
    assert len({row["coarse_path"] for row in rows}) == 3
    assert 3 < len({row["fine_path"] for row in rows}) <= 12
    assert all(row["large"] > row["small"] and row["tiny_width"] <= 32 for row in rows)
    assert {row["fine_error"] for row in rows} == {None}
    for row in rows:
        leaf = row["fine_name"].split("/")[-1]
        words = [word for word in leaf.split() if word.isalpha()]
        tags = next(c["text"] for c in row["caption_captions"] if c["variant"] == "tags")
        assert tags.startswith(" ".join(words))


def test_names_are_words_of_the_paths(dataset):
    """The folders' names became names of categories, and siblings differ."""
    with open_tables(dataset, STAGES).query(
        "SELECT DISTINCT fine_path, fine_name FROM rows"
    ) as result:
        named = {row["fine_path"]: row["fine_name"] for row in result.read().to_pylist()}

    words = {word for name in named.values() for part in name.split("/") for word in part.split()}
    assert len(set(named.values())) == len(named)
    assert len(words & set(NAMES)) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(("chosen", "depth"), [("coarse", 1), ("fine", 3)])
def test_a_snapshot_samples_by_the_tree_that_it_names(folder, dataset, tmp_path, chosen, depth):
    """Decisions and the report speak of the chosen instance."""
    session = open_session(folder, chosen)
    instances = session.instances(dataset)
    relations = relation_rows(dataset, instances)
    made = create_snapshot(dataset, session.config, instances, relations, HierarchicalSampler())

    assert made.manifest.columns["category_path"] == f"{chosen}_path"
    paths = [path for path in made.manifest.categories if path]
    assert max(path.count("/") + 1 for path in paths) == depth
    assert made.manifest.num_draws == 12
    output = tmp_path / "report.html"
    write_report(dataset, made.manifest.id, output, STAGES)
    page = output.read_text(encoding="utf-8")
    leaf = next(path for path in paths if path.count("/") + 1 == depth)
    assert leaf in page


def test_a_snapshot_must_say_which(folder, dataset):
    """With two trees and no choice the request is refused, and says how to choose."""
    session = open_session(folder)
    config = session.config.model_copy(
        update={"snapshot": session.config.snapshot.model_copy(update={"inputs": {}})}
    )
    instances = session.instances(dataset)

    with pytest.raises(SnapshotError, match="categorize could be coarse or fine; say `inputs"):
        create_snapshot(dataset, config, instances, {}, HierarchicalSampler())


def test_ls_and_show_list_both(folder, capsys):
    """The commands show each instance under its own name."""
    listed = json.loads(longtail(capsys, "ls", folder / "data", "--json").out)
    shown = json.loads(longtail(capsys, "show", folder / "data", "fine", "--json").out)

    assert [state["instance"] for state in listed["instances"]] == INSTANCES
    assert {entry["column"] for entry in shown} >= {"fine_path", "fine_name", "fine_leaf"}


def test_a_fit_takes_rows_without_texts(folder, dataset):
    """No image has an alt text, and all are in the sample; what the fit reads is in the lineage."""
    fine = next(i for i in open_session(folder).instances(dataset) if i.name == "fine")
    assert fine.artifact is not None
    model = json.loads(read_artifact(dataset, "fine", fine.artifact)["model.json"])

    assert model["sample_rows"] == 6 * len(NAMES)
    assert set(fine.lineage()["reads"]) == {
        "embed.vector",
        "images.source_key",
        "images.alt_text",
    }
