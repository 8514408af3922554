"""Taxonomy and attributes from pictures to a snapshot, with a tiny CLIP of random weights."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import yaml

from curation.cli import main
from curation.dataset import Dataset
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.config import parse_pipeline
from curation.pipeline.planner import _fit_pool
from curation.pipeline.session import Session
from curation.pipeline.tasks import CPU_POOL
from curation.tables import from_parquet
from stages.categorize.stage import CategorizeStage
from stages.registry import STAGES
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.tiny_clip import clip_folder
from tests.stages.photographs import FILES, file_bytes, photograph

pytestmark = pytest.mark.slow

NAMES = sorted(FILES)
TREE = """\
format: 1
name: small
children:
  - {name: nature, children: [a flower, the moon, grass]}
  - {name: things, children: [coins, a rocket, coffee, text]}
"""
PROBES = {"watermark": None, "bright": {"positive": ["bright"], "negative": ["dark"]}}


def write_pipeline(root, **attributes):
    content = {
        "name": "zero",
        "dataset": str(root / "data"),
        "source": {"name": "lake", "roots": [str(root / "lake")]},
        "stages": {
            "inspect": {},
            "embed": {
                "embedder": "open_clip",
                "weights": str(root / "clip"),
                "run": {"device": "cpu"},
            },
            "categorize": {
                "categorizer": "taxonomy",
                "taxonomy": str(root / "tree.yaml"),
                "threshold": 0,
            },
            "attributes": {"prober": "zero_shot", "probes": PROBES, **attributes},
            "measured": {"stage": "attributes"},
        },
        "run": {"max_shard_rows": 8, "workers": 1},
        "snapshot": {
            "where": {
                "intact": "inspect_error IS NULL",
                "clean": "attributes_watermark < 0.5",
                "framed": "measured_border < 0.5",
            },
            "sample": {"size": 1000, "category_exponent": 0.5, "seed": 7},
        },
    }
    path = root / "pipeline.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def longtail(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


def instances(root):
    dataset = Dataset.open(str(root / "data"))
    config = choose_pipeline(dataset, None)
    assert config is not None
    return dataset, {i.name: i for i in applied_instances(dataset, config, STAGES)}


def read(root, name):
    """Return the source keys, and what an instance wrote for them without its prefix."""
    dataset, known = instances(root)
    keys = [dataset.read_images(n, ["source_key"]) for n in dataset.image_shards()]
    parts = [
        dataset.read_instance(name, known[name].fingerprint, n) for n in dataset.image_shards()
    ]
    table = pa.concat_tables(parts)
    names = [column.removeprefix(f"{name}_") for column in table.column_names]
    return pa.concat_tables(keys)["source_key"].to_pylist(), table.rename_columns(names)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero_shot")
    (folder / "lake").mkdir()
    for name in NAMES:
        (folder / "lake" / f"{name}.jpg").write_bytes(file_bytes(photograph(name)))
    (folder / "lake" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "tree.yaml").write_text(TREE, encoding="utf-8")
    clip_folder(folder / "clip")
    assert longtail("run", write_pipeline(folder), "--runner", "local") == 0
    return folder


def test_every_picture_has_a_category_and_answers(root):
    """All that could be embedded has a path of the tree, a score and both answers."""
    keys, categories = read(root, "categorize")
    _, answers = read(root, "attributes")

    assert len(keys) == len(NAMES) + 1
    for key, category, answer in zip(
        keys, categories.to_pylist(), answers.to_pylist(), strict=True
    ):
        if key == "broken.jpg":
            assert category["path"] is None
            assert answer["error"] == "missing_input: embed.vector is null"
            continue
        assert category["path"].split("/")[0] in ("nature", "things")
        assert 0 < category["margin"] <= category["score"] <= 1
        assert 0 < answer["watermark"] < 1
        assert 0 < answer["bright"] < 1


def test_a_snapshot_takes_an_attribute(root, capsys):
    """`attributes_watermark < x` keeps those below it, of what the other predicates keep."""
    keys, answers = read(root, "attributes")
    _, measured = read(root, "measured")
    values = answers["watermark"].to_pylist()
    middle = float(np.median([value for value in values if value is not None]))
    where = f"snapshot.where.clean=attributes_watermark < {middle!r}"
    capsys.readouterr()

    code = longtail("snapshot", "create", root / "pipeline.yaml", "--set", where, "--json")

    assert code == 0
    found = json.loads(capsys.readouterr().out)
    frames = measured["border"].to_pylist()
    below = [
        key
        for key, value, frame in zip(keys, values, frames, strict=True)
        if value is not None and value < middle and frame < 0.5
    ]
    assert 0 < len(below) < len(NAMES)
    dataset, _ = instances(root)
    folder = f"snapshots/{found['id']}/decisions"
    parts = [
        from_parquet(io.BytesIO(dataset.store.read(f"{folder}/{name}")))
        for name in dataset.store.names(folder)
    ]
    decisions = pa.concat_tables(parts).sort_by([("shard", "ascending"), ("row", "ascending")])
    kept = [key for key, is_in in zip(keys, decisions["kept"].to_pylist(), strict=True) if is_in]
    assert kept == below
    paths = read(root, "categorize")[1]["path"].to_pylist()
    assert decisions["category_path"].to_pylist() == paths


def test_workers_need_no_model(root):
    """With the artefact, categories and answers are found without torch."""
    code = """
import sys
from curation.dataset import Dataset
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.fit import read_artifact
from curation.pipeline.stage import Shard
from stages.categorize.stage import CategorizeStage
from stages.registry import STAGES
dataset = Dataset.open(sys.argv[1])
known = {i.name: i for i in applied_instances(dataset, choose_pipeline(dataset, None), STAGES)}
table = dataset.read_instance("embed", known["embed"].fingerprint, 0)
table = table.rename_columns(["shard", "row", "image_id", "embed.vector", "error"])
for name in ("categorize", "attributes"):
    instance = known[name]
    stage = instance.make(read_artifact(dataset, name, instance.artifact))
    stage.setup()
    assert len(stage.process(Shard(0, table))) == 8
print([m for m in ("torch", "open_clip", "transformers") if m in sys.modules])
"""
    command = [sys.executable, "-c", code, str(root / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[]", done.stderr


def write_labels(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def test_a_taxonomy_is_calibrated(root, tmp_path, capsys):
    """Labels that agree with the model make it surer; the settings are printed for the pipeline."""
    keys, found = read(root, "categorize")
    pairs = zip(keys, found["path"].to_pylist(), strict=True)
    rows = [(key, path) for key, path in pairs if path is not None]
    labels = write_labels(
        tmp_path / "labels.csv", ["source_key", "category"], [*rows[2:], ("none.jpg", "nature")]
    )
    capsys.readouterr()

    code = longtail("calibrate", root / "data", labels, "--precision", "0.5", "--json")

    assert code == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["instance"], content["unknown"]) == ("categorize", 1)
    figures = content["figures"]["categorize"]
    assert figures["num_rows"] == len(rows) - 2
    assert figures["accuracy"] > 0.5  # random cosines are close; another temperature may reorder
    assert content["settings"]["temperature"] < 1
    assert figures["loss_after"] < figures["loss_before"]
    assert 0 < content["settings"]["threshold"] < 1
    assert longtail("calibrate", root / "data", labels) == 0
    assert "under stages.categorize: temperature: " in capsys.readouterr().out


def test_attributes_are_calibrated_and_used(root, tmp_path, capsys):
    """The written file changes the calibrated column by its sigmoid, and nothing upstream."""
    keys, before = read(root, "attributes")
    values = before["watermark"].to_pylist()
    middle = np.median([value for value in values if value is not None])
    pairs = [(k, v) for k, v in zip(keys, values, strict=True) if v is not None]
    answers = [(key, int(value > middle)) for key, value in pairs]
    answers[3] = (answers[3][0], 1 - answers[3][1])  # nobody is always right
    labels = write_labels(tmp_path / "labels.csv", ["source_key", "watermark"], answers)
    out = root / "calibration.json"
    _, earlier = instances(root)
    capsys.readouterr()

    assert longtail("calibrate", root / "data", labels, "--out", out) == 0
    assert f"calibration: {out}" in capsys.readouterr().out
    text = write_pipeline(root, calibration=str(out)).read_text()
    config = parse_pipeline(text, "pipeline.yaml")
    try:
        summary = Session(config, text, STAGES).run(InlineRunner, runner_name="inline")
        assert summary.complete
        keys_again, after = read(root, "attributes")
        _, known = instances(root)
    finally:
        write_pipeline(root)
    assert keys_again == keys
    sigmoid = json.loads(out.read_text())["probes"]["watermark"]
    logits = np.array([np.log(value / (1 - value)) for _, value in pairs])
    expected = 1 / (1 + np.exp(-(sigmoid["slope"] * logits + sigmoid["bias"])))
    found = [value for value in after["watermark"].to_pylist() if value is not None]
    assert found == pytest.approx(expected.tolist(), abs=1e-3)
    assert after["bright"].equals(before["bright"])
    changed = {name for name in known if known[name].fingerprint != earlier[name].fingerprint}
    assert changed == {"attributes"}


def test_texts_are_embedded_where_the_model_is(root):
    """The fit goes to the workers of `embed`, with their memory and device; others do not."""
    _, known = instances(root)

    assert _fit_pool(known["categorize"], known) == "embed"
    assert _fit_pool(known["attributes"], known) == "embed"
    assert not known["measured"].is_fitted
    clusters = replace(known["categorize"], config=CategorizeStage.parse({}, "stages.categorize"))
    assert _fit_pool(clusters, known) == CPU_POOL


@pytest.mark.parametrize(
    ("columns", "rows", "options", "words"),
    [
        (["source_key"], [["coins.jpg"]], [], "has no column of labels beside source_key"),
        (["name", "category"], [["a", "b"]], [], "expected a column image_id or source_key"),
        (["source_key", "category"], [["x.jpg", "nature"]], [], "names no image of"),
        (["source_key", "category"], [["", "nature"]], [], "row 1: says neither image_id nor"),
        (["image_id", "category"], [["x", "nature"]], [], "row 1: 'x' is no image_id"),
        (["source_key", "category"], [["coins.jpg", "cats"]], [], "'cats' is no category of this"),
        (["source_key", "category"], [["broken.jpg", "nature"]], [], "none of its images has"),
        (["source_key", "watermark"], [["coins.jpg", "1"]], [], "say with --out"),
        (["source_key", "logo"], [["coins.jpg", "1"]], ["--out", "x"], "no column called like a"),
        (["source_key", "bright"], [["coins.jpg", "1"]], ["--out", "x"], "1 images are labelled 1"),
        (["source_key", "bright"], [["coins.jpg", "?"]], ["--out", "x"], "'?' is no answer"),
        (["source_key", "category"], [["coins.jpg", "a"]], ["--instance", "measured"], "no instan"),
        (["source_key", "bright"], [["coins.jpg", "1"]], ["--instance", "measured"], "no instance"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(
    root, tmp_path, capsys, columns, rows, options, words
):
    """A sentence says what is wrong with the file, and nothing is written."""
    labels = write_labels(tmp_path / "labels.csv", columns, rows)
    options = [tmp_path / "x" if option == "x" else option for option in options]
    capsys.readouterr()

    assert longtail("calibrate", root / "data", labels, *options) == 2

    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
