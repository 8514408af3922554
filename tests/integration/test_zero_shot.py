"""Taxonomy and attributes from pictures to a snapshot, with a tiny CLIP of random weights."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import yaml

from curation.cli import main
from curation.dataset import Dataset
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.config import parse_pipeline
from curation.pipeline.session import Session
from stages.registry import STAGES
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
    """`attributes_watermark < 0.5` decides, and the measured instance stands beside it."""
    keys, answers = read(root, "attributes")
    values = sorted(value for value in answers["watermark"].to_pylist() if value is not None)
    middle = values[len(values) // 2]
    pipeline = root / "pipeline.yaml"
    capsys.readouterr()

    where = f"snapshot.where.clean=attributes_watermark < {middle!r}"
    code = longtail("snapshot", "create", root / "data", "--pipeline", pipeline, "--set", where)

    assert code == 0
    dataset, _ = instances(root)
    (snapshot,) = dataset.store.names("snapshots")
    code = longtail(
        "sql",
        root / "data",
        "SELECT reason, count(*) AS n FROM decisions GROUP BY reason ORDER BY ALL",
        "--format",
        "json",
    )
    assert code == 0, snapshot
    found = capsys.readouterr().out
    below = sum(value < middle for value in values)
    assert f'"n": {len(values) - below}' in found or "clean" in found
    assert keys


def test_workers_need_no_model(root):
    """With the artefact, categories and answers are found without torch."""
    code = """
import sys
import numpy as np
import pyarrow as pa
from curation.pipeline.fit import read_artifact
from curation.pipeline.stage import Shard
from tests.integration.test_zero_shot import instances
from pathlib import Path
dataset, known = instances(Path(sys.argv[1]))
for name in ("categorize", "attributes"):
    instance = known[name]
    stage = instance.make(read_artifact(dataset, name, instance.artifact))
    stage.setup()
    vectors = dataset.read_instance("embed", known["embed"].fingerprint, 0)
    table = vectors.rename_columns(["shard", "row", "image_id", "embed.vector", "error"])
    assert len(stage.process(Shard(0, table))) == 8
print([m for m in ("torch", "open_clip", "PIL", "ray") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code.replace("from tests.integration.test_zero_shot", "from probe")],
        capture_output=True,
        text=True,
        check=False,
        cwd=write_probe(root),
        env={"PYTHONPATH": f"{write_probe(root)}:.", "PATH": ""},
    )
    assert done.stdout.strip() == "[]", done.stderr
