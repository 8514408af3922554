"""The commands as a user types them: what they refuse, what they say, doing nothing twice."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.fingerprint import pretty_json

STAGES = "{inspect: {}, aesthetic: {}, dedup: {}}"


def longtail(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "curation.cli", *arguments]
    return subprocess.run(  # type: ignore[call-overload]
        command, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture
def pipeline(tmp_path: Path, pictures: Path) -> Callable[..., str]:
    """Return what writes a pipeline file with some of its sections replaced."""

    def write(**sections: str) -> str:
        content = {
            "name": "test",
            "dataset": str(tmp_path / "dataset"),
            "source": f"{{name: lake, roots: [{pictures}]}}",
            "stages": STAGES,
            **sections,
        }
        path = tmp_path / "pipeline.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in content.items()))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"source": "{name: lake, roots: [/no/such/folder]}"}, "/no/such/folder"),
        ({"source": "{name: lake, roots: ['s3://a::file://b']}"}, "chained"),
        (
            {"stages": "{inspekt: {}}"},
            "stages.inspekt: unknown stage 'inspekt' (did you mean inspect",
        ),
        (
            {"stages": "{inspect: {hashr: x}}"},
            "stages.inspect.hashr: unknown key (did you mean hasher",
        ),
        ({"stages": "{inspect: {hasher: best}}"}, "stages.inspect.hasher: unknown hasher 'best'"),
        ({"snapshop": "{}"}, "snapshop: unknown key (did you mean snapshot"),
        ({"run": "{workers: many}"}, "run.workers: "),
        ({"stages": "{aesthetic: {}}"}, "it reads inspect, which is not in the pipeline"),
        ({"dataset": "/proc/1/fd/longtail"}, "/proc/1/fd/longtail"),
    ],
)
def test_a_wrong_pipeline_is_refused_in_a_sentence(
    pipeline: Callable[..., str], sections: dict[str, str], said: str
) -> None:
    """Exit code 2 (1 where the store refuses), an `error:` line with the place, no traceback."""
    done = longtail("run", pipeline(**sections), "--runner", "local")

    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if "dataset" in sections else 2)


def test_an_empty_source_is_refused(pipeline: Callable[..., str], tmp_path: Path) -> None:
    """A folder without a file may be a missing mount: nothing is made of it."""
    empty = tmp_path / "empty"
    empty.mkdir()

    done = longtail(
        "run", pipeline(source=f"{{name: lake, roots: [{empty}]}}"), "--runner", "local"
    )

    assert done.returncode == 2
    assert str(empty) in done.stderr


def test_a_newer_layout_is_refused(pipeline: Callable[..., str], tmp_path: Path) -> None:
    """What a later version wrote is left alone."""
    content = {"format": "longtail-dataset", "layout": 2, "dataset_id": "x"}
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "dataset.json").write_bytes(pretty_json(content))

    done = longtail("run", pipeline(), "--runner", "local")

    assert done.returncode == 2
    assert "layout 2" in done.stderr
    assert "install a newer longtail" in done.stderr


def test_no_space_left_says_so_and_loses_nothing(
    pipeline: Callable[..., str], tmp_path: Path
) -> None:
    """Files that no longer fit are charged with a clear reason; with room the run completes."""
    path = pipeline()

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    full = longtail("run", path, "--runner", "local", preexec_fn=little_room)
    assert full.returncode == 1
    assert "no space" in full.stderr or "too large" in full.stderr
    assert not list((tmp_path / "dataset").rglob("*.parquet"))

    done = longtail("run", path, "--runner", "local", "--retry-quarantined")
    assert done.returncode == 0, done.stderr


def test_a_pipeline_that_can_never_be_run_is_refused(pipeline: Callable[..., str]) -> None:
    """A GPU that the local runner does not have is refused before anything starts."""
    done = longtail("run", pipeline(stages="{inspect: {run: {gpus: 1}}}"), "--runner", "local")

    assert done.returncode == 2
    assert "GPU" in done.stderr


def test_the_same_command_again_does_nothing_and_starts_no_ray(
    pipeline: Callable[..., str], tmp_path: Path
) -> None:
    """Run, run again on Ray's name: nothing is written, Ray is not even imported."""
    path = pipeline()
    first = longtail("run", path, "--runner", "local")
    assert first.returncode == 0, first.stderr
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "dataset").rglob("*")}

    script = (
        "import sys; from curation.cli import main\n"
        f"try: main(['run', {path!r}])\n"
        "except SystemExit as end: print(end.code, 'ray' in sys.modules)"
    )
    again = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert again.stdout.splitlines()[-1] == "0 False"
    assert "nothing to do" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "dataset").rglob("*")} == before


def test_a_pipeline_goes_from_files_to_an_answer(
    pipeline: Callable[..., str], tmp_path: Path
) -> None:
    """Run, snapshot, verify, ask in SQL: the numbers add up."""
    path = pipeline(snapshot="{where: {intact: inspect_error IS NULL}}")
    dataset = str(tmp_path / "dataset")
    assert longtail("run", path, "--runner", "local").returncode == 0

    made = longtail("snapshot", "create", path, "--json")
    assert made.returncode == 0, made.stderr
    snapshot = json.loads(made.stdout)["id"]
    query = "SELECT coalesce(reason, 'kept') AS reason, count(*) AS n FROM decisions GROUP BY 1"
    answer = longtail("sql", dataset, query, "--format", "json")
    counts = {row["reason"]: row["n"] for row in json.loads(answer.stdout)}

    assert counts == {"kept": 78, "intact": 1, "duplicate": 1}
    assert longtail("snapshot", "verify", dataset, snapshot).returncode == 0
    shown = longtail("snapshot", "show", dataset, snapshot)
    assert snapshot in shown.stdout
    found = [folder.name for folder in (tmp_path / "dataset" / "snapshots").iterdir()]
    assert found == [snapshot]
