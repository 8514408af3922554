"""A small lake with duplicates, broken files and hostile names, curated by the real stages."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.config import Config
from curation.dataset import Dataset
from curation.pipeline.config import parse_pipeline
from curation.pipeline.instances import Registry
from curation.pipeline.relation_rows import relation_rows
from curation.pipeline.session import Session
from curation.pipeline.stage import Stage
from curation.report.source import open_source
from curation.snapshot.create import create_snapshot
from schemas.columns import column, table
from schemas.training import CAPTION
from stages.registry import STAGES
from stages.sample import HierarchicalSampler
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import write_files

HOSTILE_NAME = "</script><img src=x onerror=alert(1)>.png"
TURNING_NAME = "cat\u202egnp.png"
HOSTILE_CAPTION = "</script><img src=x onerror=alert(3)><!-- &lt;"
HOSTILE_PREDICATE = "inspect_mode <> '</script><img src=x onerror=alert(2)>'"

NUM_PICTURES = 24
NUM_COPIES = 3
NUM_BROKEN = 3
NUM_SMALL = 4
NUM_FILES = NUM_PICTURES + NUM_COPIES + NUM_BROKEN + NUM_SMALL + 1

PIPELINE = """\
name: walls
dataset: {dataset}
source: {{name: lake, roots: ["{lake}"], list_shards: 1}}
run: {{max_shard_rows: 10, workers: 1}}
stages:
  inspect: {{}}
  aesthetic: {{}}
  embed: {{}}
  categorize: {{branching: [4]}}
  dedup: {{}}
snapshot:
  where:
    intact: inspect_error IS NULL
    size: inspect_width >= 64 AND inspect_height >= 64
    quiet: aesthetic_score IS NOT NULL OR inspect_width > 1
    plain: "{predicate}"
  sample: {sample}
"""


def picture(number, size=96):
    """Draw one of several kinds of pictures, each different."""
    rng = np.random.default_rng(number)
    across, down = np.meshgrid(np.linspace(0, 6, size), np.linspace(0, 6, size + 8 * (number % 3)))
    angle, pitch = rng.uniform(0, 3), rng.uniform(0.5, 5)
    wave = np.sin((across * np.cos(angle) + down * np.sin(angle)) * pitch)
    if number % 4 == 0:
        wave = np.sign(wave)
    tint = rng.uniform(40, 215, size=3)
    return np.clip(tint + 90 * wave[..., None] * rng.uniform(-1, 1, size=3), 0, 255).astype(
        np.uint8
    )


def png(samples, **options):
    """Encode an array as PNG."""
    sink = io.BytesIO()
    Image.fromarray(samples).save(sink, "PNG", **options)
    return sink.getvalue()


def lake_files():
    """Return (key, bytes) of every file."""
    files = [(f"walls/{n:02d}.png", png(picture(n))) for n in range(NUM_PICTURES)]
    files += [(f"again/{n:02d}.png", png(picture(n))) for n in range(NUM_COPIES)]
    files += [("broken/empty.png", b""), ("broken/short.png", png(picture(90))[:300])]
    files += [(f"small/{n}.png", png(picture(50 + n, size=24))) for n in range(NUM_SMALL)]
    files += [(HOSTILE_NAME, b"no image"), (TURNING_NAME, png(picture(71)))]
    return files


class SayingConfig(Config):
    """Settings of `saying`."""


class SayingStage(Stage[SayingConfig]):
    """Captions of two lengths, as hostile as a model's can be."""

    name = "saying"
    config_type = SayingConfig

    def reads(self):
        return ("images.source_key",)

    def writes(self):
        return table(
            "saying",
            column("captions", pa.list_(CAPTION), "What is seen."),
            column("short_caption", pa.string(), "The same in a word."),
            column("caption_language", pa.string(), "No caption, but about one."),
            column("error", pa.string(), "Never."),
        )

    def process(self, shard):
        keys = shard.column("images.source_key").to_pylist()
        return pa.Table.from_pydict(
            {
                "captions": [
                    [{"variant": "long", "language": "en", "text": f"{HOSTILE_CAPTION} {key}"}]
                    for key in keys
                ],
                "short_caption": ["a wall"] * len(keys),
                "caption_language": ["en"] * len(keys),
                "error": [None] * len(keys),
            },
            schema=self.writes(),
        )


REGISTRY: Registry = {**STAGES, "saying": SayingStage}


def run_pipeline(
    folder,
    *,
    sample="{size: 12, seed: 3}",
    stages=None,
    more_stages="",
    changed=None,
    registry=REGISTRY,
):
    """Take the lake in, run the stages, and return the session."""
    write_files(folder / "lake", lake_files())
    text = PIPELINE.format(
        dataset=folder / "data", lake=folder / "lake", sample=sample, predicate=HOSTILE_PREDICATE
    )
    text = text.replace("snapshot:", f"{more_stages}snapshot:")
    config = parse_pipeline(text, "walls.yaml")
    if stages is not None or changed is not None:
        kept = {name: config.stages[name] for name in (config.stages if stages is None else stages)}
        config = config.model_copy(update={"stages": kept | (changed or {})})
        text = config.to_yaml()
    session = Session(config, text, registry)
    summary = session.run(InlineRunner, runner_name="inline")
    assert summary.complete, summary.lines()
    return session


def snapshot(session):
    """Publish what the session's pipeline says; return the manifest."""
    dataset = Dataset.open(session.config.dataset)
    instances = session.instances(dataset)
    relations = relation_rows(dataset, instances)
    made = create_snapshot(
        dataset, session.config, instances, relations, HierarchicalSampler(), code_version="0"
    )
    return made.manifest


def source_of(session, snapshot_id=None, registry=REGISTRY):
    """Open what a report is about."""
    return open_source(Dataset.open(session.config.dataset), snapshot_id, registry)
