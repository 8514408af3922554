"""Exit codes, frozen: scripts and schedulers go by them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.curation.cli.cli_runs import longtail
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

INTERRUPT = """
import os, signal, sys, threading
from curation import duck
from curation.cli import main

# A parent that ignores the signal hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run(statement, **options):
    # The signal comes once DuckDB is at work, however slow the machine is.
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return confined(statement, **options)

confined, duck.confined = duck.confined, run
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset, a right pipeline file and a wrong one; no case changes them."""
    folder = tmp_path_factory.mktemp("place")
    make_bare_dataset(folder / "dataset")
    (folder / "right.yaml").write_text(f"name: a\ndataset: {folder}/dataset\nstages: {{}}\n")
    (folder / "wrong.yaml").write_text(f"name: a\ndataset: {folder}/dataset\nstage: {{}}\n")
    return folder


@pytest.mark.parametrize("name", list(CASES))
def test_exit_code_and_first_word_of_the_error(place, capsys, name):
    """0 done, 1 failed or damaged, 2 refused; errors are sentences, never a traceback."""
    arguments, code, start = CASES[name]

    ran = longtail(capsys, *(a.format(dataset=place / "dataset", tmp=place) for a in arguments))

    assert ran.code == code, ran.err
    assert ran.err.startswith(start)
    assert bool(ran.err) == bool(start)
    assert "Traceback" not in ran.err


def test_the_module_exits_as_the_command_does(place):
    """`python -m curation.cli` is for where nothing is installed."""
    command = [sys.executable, "-m", "curation.cli", "sql", str(place / "dataset"), "DROP TABLE a"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: DROP is refused")


@pytest.mark.slow
def test_an_interrupted_query_exits_as_shells_have_it(place):
    """Ctrl-C during a long query ends it at once, with 130 and without a traceback."""
    query = "SELECT sum(hash(a.i * b.i) % 7) FROM range(1000000) a(i), range(1000000) b(i)"
    command = [sys.executable, "-c", INTERRUPT, "sql", str(place / "dataset"), query]

    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


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
