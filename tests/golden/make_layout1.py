"""Makes the checked-in dataset anew: `python -m tests.golden.make_layout1`.

It was made once, when layout 1 was settled. Do not make it again to please a test: what is checked
in stands for the datasets that users have.
"""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa

from curation.dataset import Dataset
from curation.fingerprint import pretty_json
from curation.ingest.tombstones import add_tombstones
from curation.pipeline.config import parse_pipeline
from curation.pipeline.session import Session
from schemas.tombstones import TOMBSTONES
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import write_files
from tests.golden.layout1_stages import LAYOUT1_STAGES
from tests.golden.small_run import ppm

DATASET = Path(__file__).parent / "layout1" / "dataset"
LAKE = Path("/tmp/longtail-layout1/lake")

PIPELINE = """\
# A pipeline as somebody wrote it.
name: old
dataset: old
source: {name: lake, roots: [/tmp/longtail-layout1/lake], sync: true, list_shards: 1}
run: {max_shard_rows: 3}
stages:
  size: {}
  tall: {stage: size, unit_bytes: 4}
  rank: {inputs: {size: size}}
  picky: {inputs: {size: tall}}
  twins: {}
"""

FIRST = [
    ("a/black.ppm", ppm(0, 0, 0)),
    ("a/grey.ppm", ppm(128, 128, 128)),
    ("b/forbidden.ppm", ppm(1, 2, 3)),
    ("b/grey.ppm", ppm(128, 128, 128)),
    ("b/nothing.ppm", b""),
]
SECOND = [("a/black.ppm", ppm(9, 9, 9) + b"more"), ("c/100%.ppm", ppm(0, 0, 0))]


def main() -> None:
    """Make the dataset in two ingests: new files, then a changed, a vanished and another new."""
    shutil.rmtree(DATASET, ignore_errors=True)
    shutil.rmtree(LAKE, ignore_errors=True)
    config = parse_pipeline(PIPELINE, "old.yaml", [f"dataset={DATASET}"])
    session = Session(config, PIPELINE, LAYOUT1_STAGES)
    description = {
        "format": "longtail-dataset",
        "layout": 1,
        "dataset_id": "0b5c7a1e-6f0e-4c57-9f39-3a3f1f7f6d11",
        "max_shard_rows": 3,
        "max_shard_bytes": 256 << 20,
    }
    DATASET.mkdir(parents=True)
    (DATASET / "dataset.json").write_bytes(pretty_json(description))
    dataset = Dataset.open(str(DATASET))
    forbidden = {
        "image_id": [None],
        "content_sha256": [hashlib.sha256(dict(FIRST)["b/forbidden.ppm"]).digest()],
        "reason": ["asked to"],
        "source": ["ticket 7"],
    }
    add_tombstones(dataset, pa.table(forbidden, schema=TOMBSTONES))
    write_files(LAKE, FIRST)
    session.run(InlineRunner, runner_name="inline")
    write_files(LAKE, SECOND)
    (LAKE / "b/grey.ppm").unlink()
    session.run(InlineRunner, runner_name="inline")


if __name__ == "__main__":
    main()
