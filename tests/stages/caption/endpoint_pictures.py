"""Pictures of one colour each, by which a fake server tells them apart, and stages that ask it."""

import io
from typing import Any

import pyarrow as pa
from PIL import Image

from curation.pipeline.stage import Shard, run_stage
from stages.caption.captioner import CaptionConfig
from stages.caption.stage import CaptionStage
from tests.fakes.openai_server import Asked, FakeOpenAI
from tests.stages.photographs import image_shard

QUICK: dict[str, Any] = {
    "backoff_s": 0.01,
    "max_wait_s": 0.05,
    "request_timeout_s": 0.5,
    "deadline_s": 1.5,
    "tries": 2,
}
"""Settings of an endpoint for tests, which have no time."""

KINDS = {
    "images.alt_text": pa.string(),
    "images.metadata": pa.string(),
    "categorize.name": pa.string(),
    "ocr.text": pa.string(),
}


def color_of(number: int) -> tuple[int, int, int]:
    """Return one of 512 colours that survive a JPEG, and rounding to the nearest 16."""
    assert number < 512
    return (number % 8 * 32, number // 8 % 8 * 32, number // 64 * 32)


def picture(number: int, size: tuple[int, int] = (96, 64)) -> bytes:
    """Return the file of a picture of one colour."""
    sink = io.BytesIO()
    Image.new("RGB", size, color_of(number)).save(sink, "PNG")
    return sink.getvalue()


def by_picture(what: dict[int, str]):
    """Do something to each picture of `what`; whatever else is asked is answered."""
    by_color = {color_of(number): name for number, name in what.items()}

    def decide(asked: Asked) -> str:
        return by_color.get(asked.color(), "ok") if asked.is_real and asked.images else "ok"

    return decide


def make(fake: FakeOpenAI, endpoint: dict[str, Any] | None = None, **config: Any) -> CaptionStage:
    """Return a stage that asks `fake`, not set up, with its facts."""
    value = {
        "captioner": "openai",
        "model": "fake-vl",
        "revision": "2026-10",
        "endpoint": {"url": fake.url, **QUICK, **(endpoint or {})},
        **config,
    }
    parsed = CaptionStage.parse(value, "stages.caption")
    assert isinstance(parsed, CaptionConfig)
    stage = CaptionStage(parsed)
    stage.facts = stage.learn()
    return stage


def shard_for(stage: CaptionStage, files: list[bytes], facts: list[dict[str, Any]] | None = None):
    """Return a shard of `files` with the columns that the stage reads."""
    shard = image_shard(files, stage.pixels())
    table = shard.table
    for name in stage.reads():
        values = [row.get(name) for row in (facts or [{}] * len(files))]
        table = table.append_column(name, pa.array(values, KINDS[name]))
    return Shard(3, table, shard._views)


def caption(stage: CaptionStage, files: list[bytes], facts: list[dict[str, Any]] | None = None):
    """Set a stage up and caption pictures; return its rows."""
    stage.setup()
    return run_stage(stage, shard_for(stage, files, facts)).to_pylist()
