"""Killed at any commit point and run again, a pipeline leaves what it leaves undisturbed.

A commit point is the moment before, amid or after the writing of a file, of the driver or of a
worker; `tests.fakes.faults` counts them and kills every process of the run at the n-th.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.storage import TEMPORARY
from tests.fakes import faults
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import make_lake
from tests.fakes.runs import Stages, files_of, make_session

STAGES: Stages = {"luma": {}, "middle": {}, "twins": {}}
RUN = {"max_shard_rows": 3}
PER_RUN = ("runs", "dataset.json")
NEVER = 1_000_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Eight files, which three shards hold."""
    return make_lake(tmp_path_factory.mktemp("lake"), 5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, lake):
    """The files of a run that nobody disturbs, and its commit points."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert drive(folder, lake, NEVER) == 0
    files = files_of(folder / "data", without=PER_RUN)
    assert {name.split("/")[0] for name in files} >= {"images", "luma", "middle", "relations"}
    return files, (folder / "commits").read_text().splitlines()


def drive(folder: Path, lake: Path, limit: int) -> int:
    """Run the pipeline in a process group of its own, to be killed at commit point `limit`."""
    command = [sys.executable, "-m", "tests.fakes.drive", str(folder / "data"), str(lake)]
    return subprocess.run(
        [*command, json.dumps({"stages": STAGES, "run": RUN})],
        env={**os.environ, faults.VARIABLE: f"{folder / 'commits'}:{limit}"},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        check=False,
        timeout=120,
    ).returncode


def kill_and_resume(folder: Path, lake: Path, limit: int, expected: dict[str, bytes]) -> None:
    """Kill at one point, run again, and compare every file."""
    folder.mkdir()
    assert drive(folder, lake, limit) == -signal.SIGKILL, limit
    point = (folder / "commits").read_text().splitlines()[limit - 1]
    session = make_session(folder / "data", lake, STAGES, **RUN)

    summary = session.run(InlineRunner, runner_name="inline")

    assert summary.complete, (limit, point, summary.lines())
    found = files_of(folder / "data", without=PER_RUN)
    left_over = {name for name in found if Path(name).name.startswith(TEMPORARY)}
    assert len(left_over) <= 1, (limit, point)
    assert {name: found[name] for name in found.keys() - left_over} == expected, (limit, point)


def test_commit_points_are_three_a_file(undisturbed):
    """Every file has a moment before, amid and after its writing."""
    _, commits = undisturbed
    points = [line.split(" ", 1) for line in commits]
    names = [name for point, name in points if point == "before"]

    assert len(names) > 20
    for moment in ("written", "after"):
        assert sorted(name for point, name in points if point == moment) == sorted(names)


@pytest.mark.parametrize("kind", ["ingest/00000000/list-00000001", "images/", "middle/", "pins/"])
def test_a_kill_amid_a_file_of_each_kind(undisturbed, tmp_path, lake, kind):
    """The bytes are written and the name is not: nothing of it counts, and nobody is charged."""
    expected, commits = undisturbed
    limit = next(n for n, line in enumerate(commits, 1) if line.startswith(f"written {kind}"))

    kill_and_resume(tmp_path / "killed", lake, limit, expected)


@pytest.mark.slow
def test_a_kill_at_every_commit_point(undisturbed, tmp_path, lake):
    """All of them, one after the other."""
    expected, commits = undisturbed

    def check(limit):
        kill_and_resume(tmp_path / f"killed-{limit}", lake, limit, expected)

    with ThreadPoolExecutor(2) as threads:
        assert len(list(threads.map(check, range(1, len(commits) + 1)))) == len(commits)
