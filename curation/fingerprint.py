"""What invalidates what: canonical JSON, digests, and the meaning of a column.

The fingerprint of an instance says what its columns mean. It covers everything that can change a
value (stage, backend, configuration, weights, artefact, column versions, pixels, and the meaning of
each column read) and nothing that cannot (names of instances, devices, replicas, paths).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINGERPRINT_LENGTH = 16
DIGEST_LENGTH = 32


def canonical_json(value: Any) -> str:
    """Encode `value` so that equal content gives equal text: sorted keys, no spaces, ASCII.

    Raises:
        ValueError: A float is NaN or infinite. TypeError: Something is no JSON value.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def pretty_json(value: Any) -> bytes:
    """Encode `value` for a file that people read too: sorted keys, two spaces, a final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    return text.encode() + b"\n"


def digest(value: Any) -> str:
    """Hash JSON content: 32 hexadecimal characters of SHA-256."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:DIGEST_LENGTH]


def digest_files(files: Mapping[str, bytes]) -> str:
    """Hash named files, for artefacts: 32 hexadecimal characters of SHA-256."""
    return digest({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


@dataclass(frozen=True)
class Meaning:
    """Everything about a configured stage that can change a value that it writes.

    Attributes:
        stage: Name of the stage, not of the instance.
        backends: Role -> `name@version` of each exchangeable part chosen.
        config: The resolved configuration without run settings, as JSON.
        digests: What -> digest, for weights and prompts.
        artifact: Digest of the fitted artefact; null where the stage fits nothing.
        columns: Column written (without prefix) -> version.
        pixels: The `PixelSpec` as JSON with `pixels.VERSION`; null without pixels.
        reads: Logical column read -> meaning of that column.
        unfitted: Keys of `config` and `digests` that decide on values and not on the artefact.
    """

    stage: str
    backends: Mapping[str, str]
    config: Mapping[str, Any]
    digests: Mapping[str, str]
    artifact: str | None
    columns: Mapping[str, int]
    pixels: Mapping[str, Any] | None
    reads: Mapping[str, str]
    unfitted: frozenset[str] = frozenset()

    def _content(self) -> dict[str, Any]:
        return {
            "format": "longtail-meaning-1",
            "stage": self.stage,
            "backends": dict(self.backends),
            "config": dict(self.config),
            "digests": dict(self.digests),
            "artifact": self.artifact,
            "columns": dict(self.columns),
            "pixels": None if self.pixels is None else dict(self.pixels),
            "reads": dict(self.reads),
        }

    def fingerprint(self) -> str:
        """Return the folder name of this configured stage: 16 hexadecimal characters."""
        return digest(self._content())[:FINGERPRINT_LENGTH]

    def fit_key(self) -> str:
        """Return what the fitted artefact depends on: the fingerprint without what comes after."""
        content = {**self._content(), "artifact": None}
        for part in ("config", "digests"):
            content[part] = {k: v for k, v in content[part].items() if k not in self.unfitted}
        return digest(content)[:FINGERPRINT_LENGTH]

    def column(self, name: str) -> str:
        """Return the meaning of one written column: the others do not enter it."""
        return digest({**self._content(), "columns": {name: self.columns[name]}})


def base_meaning(name: str, version: int) -> str:
    """Return the meaning of a column that ingest owns."""
    return digest({"format": "longtail-meaning-1", "stage": "ingest", "columns": {name: version}})
