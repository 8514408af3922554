"""The guide does what it says: every command and query of it is run, in order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
DATASET = "work/portraits"

_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return (language, file or nothing, text) of every fenced block."""
    return [(m[1], m[2] or "", m[3]) for m in _BLOCK.finditer(GUIDE.read_text())]


def as_script() -> str:
    """Turn the guide into a shell script that stops at the first thing that fails."""
    lines = ["set -euo pipefail"]
    for language, file, text in blocks():
        if language == "console":
            commands = text.removeprefix("$ ").split("\n$ ")
            lines += [f"echo; echo {_quoted(f'$ {c.strip()}')}\n{c.strip()}" for c in commands]
        elif language == "sql":
            query = " ".join(text.split())
            lines.append(f"echo; echo {_quoted(query)}\nlongtail sql {DATASET} {_quoted(query)}")
        elif language == "yaml":
            lines.append(f"mkdir -p {Path(file).parent}\ncat > {file} <<'END'\n{text}END")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_there_are_twenty_questions() -> None:
    """They are numbered, each has its query, and every block is one that is run."""
    numbers = re.findall(r"^(\d+)\\\. ", GUIDE.read_text(), re.MULTILINE)

    assert [int(number) for number in numbers] == list(range(1, 21))
    assert [language for language, _, _ in blocks()].count("sql") == 20
    assert {language for language, _, _ in blocks()} == {"console", "sql", "yaml"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_and_query_of_the_guide_works(tmp_path: Path) -> None:
    """From an empty folder, as a reader types them; a query that finds nothing is no answer."""
    bin_folder = Path(sys.executable).parent
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(GUIDE.parents[1])}

    done = subprocess.run(
        ["bash"],
        input=as_script(),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / "work" / "report.html").stat().st_size > 10_000
    for _, answer in _answers(done.stdout):
        assert answer.strip().count("\n") >= 2, answer


def _answers(output: str) -> list[tuple[str, str]]:
    """Return (query, what was printed after it) for every query of the guide."""
    found = []
    for language, _, text in blocks():
        query = " ".join(text.split())
        if language == "sql" and not query.startswith("SELECT r.source_key"):
            # The twentieth may find none: a stricter threshold can only take out.
            _, _, rest = output.partition(f"\n{query}\n")
            found.append((query, rest.split("\n\n", 1)[0]))
    return found
