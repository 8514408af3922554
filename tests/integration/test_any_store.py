"""One pipeline on a disk and on an object store: the same answers, to the snapshot's id."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from curation.storage import Store
from tests.curation.cli.cli_runs import longtail
from tests.fakes.lake import make_lake
from tests.integration.conftest import BUCKET

pytestmark = pytest.mark.slow

STAGES = """
  inspect: {}
  aesthetic: {}
  embed: {}
  categorize: {branching: [2, 2]}
  caption: {}
  dedup: {perceptual: null}
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files, and beside it an archive of the same files."""
    folder = tmp_path_factory.mktemp("lake")
    make_lake(folder / "files", 12)
    (folder / "tars").mkdir()
    with tarfile.open(folder / "tars" / "all.tar", "w") as archive:
        for path in sorted((folder / "files").rglob("*.*")):
            archive.add(path, path.relative_to(folder / "files").as_posix())
    return folder


def uploaded(lake: Path, place: str) -> str:
    """Return where the lake is: on disk, or in the bucket, where it is put if it is not there."""
    if place == "file":
        return str(lake)
    store = Store(f"s3://{BUCKET}/lake-of-{lake.name}")
    if not store.exists("tars/all.tar"):
        for path in sorted(p for p in lake.rglob("*") if p.is_file()):
            store.put(path.relative_to(lake).as_posix(), path.read_bytes())
    return store.url


@pytest.fixture
def answers(endpoint, lake, tmp_path, capsys):
    """Return what runs a pipeline somewhere and asks it everything."""

    def ask(place: str, kind: str, runner: str = "local") -> dict[str, object]:
        roots = f"{uploaded(lake, place)}/{'files' if kind == 'folder' else 'tars'}"
        url = str(tmp_path / "set") if place == "file" else f"s3://{BUCKET}/set-{kind}-{runner}"
        path = tmp_path / f"{place}-{kind}-{runner}.yaml"
        path.write_text(
            f"name: any\ndataset: {url}\n"
            f"source: {{name: lake, kind: {kind}, roots: ['{roots}'], store: reference}}\n"
            f"stages:{STAGES}"
            "snapshot: {where: {intact: inspect_error IS NULL}, sample: {size: 8, seed: 3}}\n"
            "run: {max_shard_rows: 5}\n"
        )
        run = ["run", str(path), "--runner", runner, "--workers", "2", "--address", "local"]
        # A process of its own: another test's cluster would not know where the bucket is.
        command = [sys.executable, "-m", "curation.cli", *run]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        query = "SELECT * EXCLUDE (source_uri) FROM rows ORDER BY shard, row"
        rows = longtail(capsys, "sql", url, query, "--format", "json")
        made = longtail(capsys, "snapshot", "create", path, "--json")
        for command in (
            ["snapshot", "materialize", url, "latest"],
            ["snapshot", "verify", url, "latest"],
            ["report", url, "--snapshot", "latest", "--output", tmp_path / "report.html"],
            ["run", path, "--retry-transient", "--runner", "local"],
        ):
            ran = longtail(capsys, *command)
            assert ran.code == 0, (command, ran.err)
        gone = longtail(capsys, "gc", url, "--grace-days", "0", "--json")
        victim = json.loads(rows.out)[0]["image_id"]
        forget = ["forget", url, victim, "--yes", "--reason", "asked to", "--json"]
        forgotten = json.loads(longtail(capsys, *forget).out)
        return {
            "rows": json.loads(rows.out),
            "snapshot": json.loads(made.out)["id"],
            "garbage": json.loads(gone.out)["garbage"],
            "forgotten": [row["image_id"] for row in forgotten["rows"]],
            "tainted": [taint["snapshot"] for taint in forgotten["tainted_snapshots"]],
            "left": longtail(capsys, "sql", url, query, "--format", "json").out,
        }

    return ask


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_a_bucket_gives_the_answers_of_a_folder(answers, kind):
    """Originals left in place, read in ranges; every stage, a snapshot, forgetting, garbage."""
    on_disk = answers("file", kind)
    in_bucket = answers("s3", kind)

    assert in_bucket == on_disk
    assert len(on_disk["rows"]) == 15
    assert on_disk["garbage"] == []
    assert on_disk["forgotten"] == [on_disk["rows"][0]["image_id"]]


@pytest.mark.timeout(300)
def test_a_bucket_gives_ray_the_same(answers):
    """Actors and their children reach the store by the environment alone."""
    assert answers("s3", "folder", "ray") == answers("file", "folder")
