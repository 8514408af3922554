"""What a machine remembers of large files, so that it reads them once."""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from curation.fingerprint import digest


class Memory:
    """Notes in a folder: what was found of something while it was as its key says.

    Without a folder, or one that cannot be written, nothing is remembered, and that is all.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def place(self, name: str) -> Path | None:
        """Return the note's file; null where there is no folder."""
        return None if self._folder is None else self._folder / f"{digest(name)}.json"

    def recall(self, name: str, key: Mapping[str, Any]) -> str:
        """Return what was noted of `name` under exactly this key; empty for nothing."""
        place = self.place(name)
        if place is None:
            return ""
        try:
            known = json.loads(place.read_text(encoding="utf-8"))
            return str(known["found"]) if known["name"] == name and known["key"] == key else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""  # not looked at before, or by a version that noted it otherwise

    def note(self, name: str, key: Mapping[str, Any], found: str) -> None:
        """Remember what was found, in place of what was known of `name`."""
        place = self.place(name)
        if place is None:
            return
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{uuid.uuid4().hex}")
            content = {"name": name, "key": dict(key), "found": found}
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(place)
