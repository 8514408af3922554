"""What the `source:` section of a pipeline holds, whatever its kind."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from curation.config import Config

PROTOCOLS = ("file", "s3", "gs", "memory")
"""fsspec protocols that may be read where no source says otherwise."""


class SourceConfig(Config):
    """Where images come from; `curation.ingest.kinds` holds the class of each kind.

    Attributes:
        name: Stable name of the source; it enters every `image_id`, so moving the lake to another
            root under the same name changes nothing.
        kind: Key of the kind in `SOURCES`; each class narrows it to its own.
        store: `bytes` copies every original into the image shards; `reference` leaves it in place.
        sync: Whether images that have vanished since the last ingest become superseded.
        protocols: fsspec protocols that roots may use.
        max_file_bytes: Larger images become rows with the error `too_large`, unread; at most 1 GiB.
        list_shards: Shards in one frozen list; smaller lets the first shard start sooner.
        lists_failed_again: Whether an image whose latest row has a transient error is listed again,
            though nothing about it has changed; set by the class of a kind.
    """

    lists_failed_again: ClassVar[bool] = False

    name: str
    kind: str
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

    def located(self) -> Self:
        """Return the same source with absolute paths: workers may stand in another folder."""
        return self

    def origin(self) -> dict[str, Any]:
        """Return what `done.json` keeps of the source."""
        return {"name": self.name, "kind": self.kind, "store": self.store, "sync": self.sync}


class RootsConfig(SourceConfig):
    """A source below roots.

    Attributes:
        roots: Folders or prefixes; keys are paths below them. Several roots are listed as one, in
            byte order of the key, and a key must not be in two of them.
    """

    roots: tuple[str, ...] = Field(min_length=1)

    def located(self) -> Self:
        return self.model_copy(update={"roots": tuple(absolute(root) for root in self.roots)})

    def origin(self) -> dict[str, Any]:
        return {**super().origin(), "roots": list(self.roots)}


def absolute(url: str) -> str:
    """Return a local path as an absolute one, and a URL as it is."""
    return url if "://" in url or "::" in url else str(Path(url).absolute())
