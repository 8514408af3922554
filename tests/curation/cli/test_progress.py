"""What a terminal says of a run, and how shells complete."""

import os
import re
import subprocess
import sys

import pytest

from curation.cli.progress import pace
from tests.curation.cli.cli_runs import longtail


@pytest.mark.parametrize(
    ("began", "now", "total", "text"),
    [
        (None, (5.0, 0), 4096, ""),
        ((5.0, 1024), (5.0, 1024), 4096, ""),
        ((60.0, 1024), (70.0, 2048), 4096, "102 rows/s, 0 min 20 s left"),
        ((60.0, 1024), (70.0, 2048), None, "102 rows/s"),
        ((0.0, 1), (10.0, 11), 36_011, "1.0 rows/s, 10 h 00 min left"),
        ((0.0, 1), (10.0, 4096), 4096, "410 rows/s"),
    ],
)
def test_the_time_left_counts_from_the_first_rows(began, now, total, text):
    """A minute of starting up says nothing about the rows to come."""
    assert pace(began, now, total) == text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(capsys, shell):
    """It asks the program itself, so it never gets old."""
    ran = longtail(capsys, "completion", shell)

    assert ran.code == 0
    assert "_LONGTAIL_COMPLETE" in ran.out


def test_bash_completes_a_command():
    """What the script asks, asked by hand."""
    asked = {
        "_LONGTAIL_COMPLETE": "bash_complete",
        "COMP_WORDS": "longtail snap",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "curation.cli"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "plain,snapshot\n"


def test_no_color_is_honoured():
    """No escape sequence in a pipe, and no colour where somebody does not want any."""
    command = [sys.executable, "-m", "curation.cli", "doctor"]
    plain = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR")}
    forced = {**plain, "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm-256color"}
    in_pipe, without_colour = (
        subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout
        for env in (plain, forced)
    )

    assert "Python" in in_pipe
    assert "\x1b" not in in_pipe
    assert "Python" in without_colour
    assert not re.search("\x1b\\[[0-9;]*(3|4|9)[0-9]", without_colour)
