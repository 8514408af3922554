"""Exit codes, frozen: scripts and schedulers go by them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.curation.small_dataset import make_bare_dataset

ROOT = Path(__file__).parents[2]

CASES = {
    "help": (["--help"], 0, ""),
    "version": (["--version"], 0, ""),
    "ls": (["ls", "{dataset}"], 0, ""),
    "sql": (["sql", "{dataset}", "SELECT 1"], 0, ""),
    "verify_of_damaged_files": (["snapshot", "verify", "{dataset}", "0123"], 1, ""),
    "output_that_cannot_be_written": (
        ["sql", "{dataset}", "SELECT 1", "-o", "/no/such/folder/out.csv"],
        1,
        "error: ",
    ),
    "no_command": ([], 2, "Usage: "),
    "unknown_command": (["lss"], 2, "Usage: "),
    "unknown_option": (["ls", "--no"], 2, "Usage: "),
    "missing_argument": (["sql", "{dataset}"], 2, "Usage: "),
    "no_dataset": (["ls", "{tmp}"], 2, "error: "),
    "refused_sql": (["sql", "{dataset}", "DROP TABLE images"], 2, "error: "),
    "two_statements": (["sql", "{dataset}", "SELECT 1; SELECT 2"], 2, "error: "),
    "wrong_sql": (["sql", "{dataset}", "SELEC"], 2, "error: "),
    "unknown_table": (["show", "{dataset}", "x"], 2, "error: "),
    "unknown_pipeline": (["sql", "{dataset}", "SELECT 1", "--pipeline", "x"], 2, "error: "),
    "no_snapshot": (["snapshot", "show", "{dataset}", "x"], 2, "error: "),
    "no_pipeline_file": (["plan", "{tmp}/none.yaml"], 2, "error: "),
    "wrong_pipeline_file": (["run", "{tmp}/wrong.yaml", "--runner", "local"], 2, "error: "),
    "wrong_override": (["plan", "{tmp}/right.yaml", "--set", "x"], 2, "error: "),
    "unknown_stage": (["plan", "{tmp}/right.yaml", "--set", "stages.x={{}}"], 2, "error: "),
    "unknown_runner": (["run", "{tmp}/right.yaml", "--runner", "x"], 2, "Usage: "),
    "chained_url": (["ls", "simplecache::memory://x"], 2, "error: "),
    "unknown_protocol": (["ls", "nosuch://x"], 2, "error: "),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset, a right pipeline file and a wrong one; no case changes them."""
    folder = tmp_path_factory.mktemp("place")
    make_bare_dataset(folder / "dataset")
    (folder / "right.yaml").write_text(f"name: a\ndataset: {folder}/dataset\nstages: {{}}\n")
    (folder / "wrong.yaml").write_text(f"name: a\ndataset: {folder}/dataset\nstage: {{}}\n")
    return folder


@pytest.mark.parametrize("name", list(CASES))
def test_exit_code_and_first_word_of_the_error(place, name):
    """0 done, 1 failed or damaged, 2 refused; errors are sentences, never a traceback."""
    arguments, code, start = CASES[name]
    filled = [a.format(dataset=place / "dataset", tmp=place) for a in arguments]

    done = subprocess.run(
        [sys.executable, "-m", "curation.cli", *filled],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(start)
    assert bool(done.stderr) == bool(start)
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_early_gets_no_traceback(place):
    """`longtail ... | head` ends quietly."""
    script = (
        f"'{sys.executable}' -m curation.cli sql '{place}/dataset' "
        "'SELECT i FROM range(100000) t(i)' --format csv | head -1"
    )

    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("i\n", "")
