"""A pipeline with a cascade: run in child processes, read with SQL, decided by a snapshot."""

import pytest
import yaml
from PIL import Image
from skimage import data

from curation.dataset import Dataset
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.sql import open_tables
from stages.registry import STAGES
from tests.fakes.tiny_internvl import make_internvl

pytestmark = pytest.mark.slow


def pictures(folder):
    """Write crops of photographs, some of them blurred, and one file that is no picture."""
    folder.mkdir()
    for number, picture in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        for step in range(4):
            image = Image.fromarray(picture).crop((20 * step, 10 * step, 280, 240))
            image = image.reduce(step + 1).resize((300, 260))
            image.save(folder / f"{number}-{step}.png")
    (folder / "broken.png").write_bytes(b"nothing")


def run(tmp_path, stages):
    value = {
        "name": "p",
        "dataset": str(tmp_path / "data"),
        "source": {"name": "lake", "roots": [str(tmp_path / "lake")]},
        "stages": stages,
        "run": {"max_shard_rows": 5, "workers": 1, "device": "cpu"},
    }
    text = yaml.safe_dump(value, sort_keys=False)
    session = Session(parse_pipeline(text, "p.yaml"), text, STAGES)
    summary = session.run(LocalRunner, runner_name="local")
    assert summary.complete, summary.lines()


def ask(tmp_path, query):
    tables = open_tables(Dataset.open(str(tmp_path / "data")), STAGES, "p")
    with tables.query(query) as result:
        return result.read().to_pylist()


def test_a_cascade_decides_as_scoring_everything(tmp_path, monkeypatch):
    """With the band that the scores give; what is left out is a query away."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    pictures(tmp_path / "lake")
    model = {
        "stage": "aesthetic",
        "scorer": "ernie_image_aes",
        "weights": str(make_internvl(tmp_path / "model", seed=3)),
        "precision": "fp32",
        "run": {"memory_bytes": 8 << 30},
    }
    whole = {"inspect": {}, "aesthetic": {}, "all": model}
    run(tmp_path, whole)
    rows = ask(
        tmp_path,
        "SELECT source_key, aesthetic_score AS cheap, all_score AS dear FROM rows "
        "WHERE all_score IS NOT NULL ORDER BY dear",
    )
    threshold = (rows[3]["dear"] + rows[4]["dear"]) / 2
    expected = {row["source_key"] for row in rows[4:]}
    band = {
        "least": min(row["cheap"] for row in rows[4:]) - 0.001,
        "most": max(row["cheap"] for row in rows[:4]) + 0.001,
    }

    big = {**model, "after": band, "inputs": {"aesthetic": "aesthetic"}}
    run(tmp_path, {**whole, "big": big})
    found = ask(
        tmp_path,
        "SELECT source_key, (big_band = 'above' OR "
        f"(big_band = 'inside' AND big_score >= {threshold})) AS kept, "
        "big_score IS NULL OR big_score = all_score AS is_same FROM rows",
    )
    (share,) = ask(tmp_path, "SELECT avg((big_band <> 'inside')::INT) AS share FROM rows")

    assert len(rows) == 12
    assert {row["source_key"] for row in found if row["kept"]} == expected
    assert {row["source_key"] for row in found if row["kept"] is None} == {"broken.png"}
    assert all(row["is_same"] for row in found)
    inside = sum(band["least"] <= row["cheap"] <= band["most"] for row in rows)
    assert 0 < inside < 12
    assert share["share"] == pytest.approx(1 - inside / 12)
