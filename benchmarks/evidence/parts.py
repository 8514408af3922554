"""Parts of a page of evidence: each is run once, and its figures are kept."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.conditions import conditions
from curation.config import Config
from curation.errors import UsageError
from curation.fingerprint import pretty_json
from curation.storage import Store

Figures = dict[str, Any]
"""What a part found, as JSON."""

PACKAGES = ("torch", "diffusers", "numpy")
RESULT = "result.json"
SETTINGS = "settings.json"


class Part(Protocol):
    """Something that is trained and measured by itself.

    Attributes:
        name: Of its folder.
        pictures: Names of the PNGs that it leaves there.
    """

    name: str
    pictures: tuple[str, ...]

    @property
    def config(self) -> Config:
        """Every setting of it."""

    @property
    def encoders(self) -> dict[str, Any]:
        """What its encoders are, beyond their settings."""

    def run(self, folder: Path) -> Figures:
        """Train and measure, going on from what a run that was killed left in `folder`."""
        ...


def run_part(part: Part, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return a part's result, which is made if it is not there.

    Args:
        part: What is run.
        out: Each part has its folder below.
        say: Is told what goes on.

    Raises:
        UsageError: The part's folder was made with other settings.
    """
    folder = out / part.name
    store = Store(str(folder))
    settings = {**part.config.model_dump(mode="json"), "encoders": part.encoders}
    if not store.exists(SETTINGS):
        store.put(SETTINGS, pretty_json(settings))
    elif json.loads(store.read(SETTINGS)) != settings:
        message = (
            f"{folder}: was made with other settings than the script's now; delete the folder, or "
            "name another one with --out"
        )
        raise UsageError(message)
    if store.exists(RESULT):
        say(f"{part.name}: done already")
        return read_result(part, out)
    say(f"{part.name}: runs in {folder}")
    found = conditions(PACKAGES)
    result = {
        "part": part.name,
        "settings": settings,
        "figures": part.run(folder),
        "conditions": {**found, "date": datetime.now(UTC).date().isoformat()},
    }
    store.put(RESULT, pretty_json(result))
    return read_result(part, out)


def read_result(part: Part, out: Path) -> dict[str, Any]:
    """Return the result of a part that was run.

    Raises:
        UsageError: It was not, or not to its end.
    """
    store = Store(str(out / part.name))
    if not store.exists(RESULT):
        message = f"{out / part.name}: holds no {RESULT}; run the script without --report-only"
        raise UsageError(message)
    found: dict[str, Any] = json.loads(store.read(RESULT))
    return found
