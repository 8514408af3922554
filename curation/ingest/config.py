"""The `source:` section of a pipeline."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from curation.config import Config

PROTOCOLS = ("file", "s3", "gs", "memory")
"""fsspec protocols that may be read where no source says otherwise."""


class SourceConfig(Config):
    """Where images come from.

    Attributes:
        name: Stable name of the source; it enters every `image_id`, so moving the lake to another
            root under the same name changes nothing.
        kind: What the roots hold.
        roots: Folders or prefixes; keys are paths below them. Several roots are listed as one, in
            byte order of the key, and a key must not be in two of them.
        store: `bytes` copies every original into the image shards; `reference` leaves it in place.
        sync: Whether files that have vanished since the last ingest become superseded.
        protocols: fsspec protocols that roots may use.
        max_file_bytes: Larger files become rows with the error `too_large`, unread; at most 1 GiB.
        list_shards: Shards in one frozen list; smaller lets the first shard start sooner.
    """

    name: str
    kind: Literal["folder"] = "folder"
    roots: tuple[str, ...] = Field(min_length=1)
    store: Literal["bytes", "reference"] = "bytes"
    sync: bool = False
    protocols: tuple[str, ...] = PROTOCOLS
    max_file_bytes: int = Field(default=200 << 20, ge=1, le=1 << 30)
    list_shards: int = Field(default=4, ge=1, le=4096)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            message = "a source name has letters, digits, '.', '_' and '-' only"
            raise ValueError(message)
        return name

    def located(self) -> "SourceConfig":
        """Return the same source with absolute roots: workers may stand in another folder."""
        roots = (r if "://" in r or "::" in r else str(Path(r).absolute()) for r in self.roots)
        return self.model_copy(update={"roots": tuple(roots)})
