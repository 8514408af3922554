"""What large columns will take, before they are built."""

from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from curation.config import Config
from curation.errors import ResourceError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.costs import cost_line
from curation.pipeline.plan import StepPlan
from curation.pipeline.session import Session
from curation.pipeline.stage import Cost, Shard, Stage
from schemas.columns import column, table
from tests.fakes import STAGES
from tests.fakes.inline_runner import InlineRunner


class BulkyConfig(Config):
    """Nothing to set."""


class BulkyStage(Stage[BulkyConfig]):
    """Write as many bytes as the mean colour of an image is bright."""

    name = "bulky"
    config_type = BulkyConfig

    def reads(self):
        return ("luma.mean", "images.num_bytes")

    def writes(self):
        return table(
            "bulky",
            column("data", pa.large_binary(), "Bytes.", bulk=True),
            column("error", pa.string(), "Why there are none."),
        )

    def cost_reads(self):
        return self.reads()

    def cost(self, sample):
        means = [mean for mean in sample["luma.mean"].to_pylist() if mean is not None]
        return Cost(sum(means) // len(means) if means else 7, f"{len(means)} rows looked at")

    def process(self, shard: Shard):
        data = [bytes(mean or 0) for mean in shard.column("luma.mean").to_pylist()]
        columns = [pa.array(data, pa.large_binary()), pa.nulls(len(data), pa.string())]
        return pa.table(columns, self.writes())


REGISTRY: dict[str, type[Stage[Any]]] = {**STAGES, "bulky": BulkyStage}


def session_of(tmp_path, pictures, stages):
    text = f"""
name: t
dataset: {tmp_path / "data"}
source: {{name: lake, kind: folder, roots: ["{pictures}"]}}
stages: {{{stages}}}
run: {{max_shard_rows: 4}}
"""
    return Session(parse_pipeline(text, "t.yaml"), text, REGISTRY)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    for number in range(10):
        Image.new("RGB", (8, 8), (number, number, number)).save(folder / f"{number}.png")
    return folder


def test_a_cost_is_told_of_rows_that_are_due(tmp_path, pictures):
    """From rows of the stages that it reads; nothing of a stage whose columns are small."""
    session_of(tmp_path, pictures, "luma: {}").run(InlineRunner, runner_name="inline")
    session = session_of(tmp_path, pictures, "luma: {}, bulky: {}")
    told: list[Any] = []

    plan = session.plan(session.create_dataset())
    session.run(InlineRunner, runner_name="inline", on_event=told.append)

    costs = {step.instance: step.cost for step in plan.steps}
    assert costs["images"] is None
    assert costs["luma"] is None
    assert costs["bulky"] == Cost(4500, "10 rows looked at")
    (step,) = [step for step in plan.steps if step.instance == "bulky"]
    assert step.num_bytes == 45_000
    said = [event for event in told if event["event"] == "cost"]
    assert [event["text"] for event in said] == [
        "bulky will take about 45.0 kB: 10 rows of 4,500 bytes (10 rows looked at)"
    ]
    again = session.plan(session.create_dataset())
    assert [step.cost for step in again.steps] == [None, None, None]


def test_before_the_source_is_listed_a_row_is_told_of(tmp_path, pictures):
    """Nobody knows how many there will be."""
    told: list[Any] = []
    session = session_of(tmp_path, pictures, "luma: {}, bulky: {run: {max_bytes: 100}}")

    session.run(InlineRunner, runner_name="inline", on_event=told.append)

    (event,) = [event for event in told if event["event"] == "cost"]
    assert "7 bytes a row (0 rows looked at)" in event["text"]


def test_more_than_the_limit_is_refused(tmp_path, pictures):
    """With the estimate, and before anything is run; the limit is no part of the meaning."""
    session_of(tmp_path, pictures, "luma: {}").run(InlineRunner, runner_name="inline")
    session = session_of(tmp_path, pictures, "luma: {}, bulky: {run: {max_bytes: 44_999}}")

    with pytest.raises(ResourceError, match=r"stages\.bulky will take about 45\.0 kB.*44,999"):
        session.run(InlineRunner, runner_name="inline")

    enough = session_of(tmp_path, pictures, "luma: {}, bulky: {run: {max_bytes: 45_000}}")
    assert enough.run(InlineRunner, runner_name="inline").complete
    assert [i.fingerprint for i in session._unpinned] == [i.fingerprint for i in enough._unpinned]


@pytest.mark.parametrize(
    ("rows", "row_bytes", "size"),
    [(1, 999, "999 bytes"), (1000, 1000, "1.0 MB"), (10**6, 4_762_000, "4.8 TB")],
)
def test_sizes_are_said_as_disks_are_sold(rows, row_bytes, size):
    """In decimal units."""
    step = StepPlan("a", "", "due", "", (0,), rows, cost=Cost(row_bytes, "x"))

    assert cost_line(step).startswith(f"a will take about {size}: {rows:,} rows")
