"""Ray job: bring a dataset up to date with a pipeline file.

    ray job submit --working-dir . -- python -m jobs.curate configs/portraits.yaml

What is there is skipped, so submitting the same file again resumes it.
"""

import sys
from pathlib import Path

from curation.errors import LongtailError
from jobs.sessions import curate


def main(path: str) -> int:
    """Run the pipeline in `path`; return the exit code for Ray."""
    try:
        summary = curate(Path(path))
    except LongtailError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(summary.lines()))
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
