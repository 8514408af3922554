"""The run whose traces on disk are on record: five tiny images, an empty file, every kind of stage.

The images are PPM files written by hand, so that no encoder's version enters their hashes.
"""

from pathlib import Path

from curation.pipeline.session import Session
from curation.pipeline.summary import RunSummary
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import write_files
from tests.fakes.runs import Stages, make_session

STAGES: Stages = {
    "luma": {},
    "double": {"factor": 3},
    "middle": {},
    "bad": {"what": "raise", "shard": 1},
    "echo": {},
    "twins": {},
}


def ppm(red: int, green: int, blue: int) -> bytes:
    """Write an image of 4 x 3 equal pixels."""
    return b"P6 4 3 255\n" + bytes([red, green, blue]) * 12


FILES = [
    ("a/black.ppm", ppm(0, 0, 0)),
    ("a/grey.ppm", ppm(128, 128, 128)),
    ("b/grey.ppm", ppm(128, 128, 128)),
    ("b/nothing.ppm", b""),
    ("c/orange.ppm", ppm(255, 128, 0)),
    ("white.ppm", ppm(255, 255, 255)),
]


def run_small(folder: Path) -> tuple[Session, RunSummary]:
    """Take the files in below `folder` and run every stage; `bad` gives up shard 1."""
    write_files(folder / "lake", FILES)
    session = make_session(folder / "data", folder / "lake", STAGES, max_shard_rows=2)
    return session, session.run(InlineRunner, runner_name="inline")
