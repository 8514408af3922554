"""Compares text with a file under `tests/golden/files/`.

To renew the files after a change that is meant:

    LONGTAIL_RENEW_GOLDENS=1 python -m pytest tests/golden
    git diff tests/golden/files

The first command writes what was found and fails every test that wrote, so that nothing passes
without having been compared; run the tests again without the variable.
"""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

FOLDER = Path(__file__).parent / "files"
RENEW = "LONGTAIL_RENEW_GOLDENS"


def check(name: str, found: str) -> None:
    """Fail unless `found` is the content of the golden file `name`."""
    path = FOLDER / name
    if os.environ.get(RENEW) == "1":
        path.write_text(found, encoding="utf-8")
        pytest.fail(f"{path} was renewed; look at the difference and run without {RENEW}")
    assert found == path.read_text(encoding="utf-8"), f"differs from {path}"


def check_json(name: str, found: Any) -> None:
    """Fail unless `found`, as sorted and indented JSON, is the golden file `name`."""
    check(name, json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def describe_schema(schema: pa.Schema) -> str:
    """Write a schema as lines of `name: type {what is known of it}`."""
    lines = []
    for field in schema:
        known = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        lines.append(f"{field.name}: {field.type} {json.dumps(known, sort_keys=True)}")
    return "\n".join(lines) + "\n"
