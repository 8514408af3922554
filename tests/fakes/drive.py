"""Runs a pipeline of fakes on its own: `python -m tests.fakes.drive DATASET LAKE JSON`.

JSON holds the stages and, under `run`, how they run. What kills it comes from the environment, see
`tests.fakes.faults`.
"""

import json
import sys
from pathlib import Path

from tests.fakes.runs import make_session, run


def main(dataset: str, lake: str, text: str) -> int:
    """Run, and return the exit code."""
    value = json.loads(text)
    session = make_session(Path(dataset), Path(lake), value["stages"], **value["run"])
    return run(session).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
