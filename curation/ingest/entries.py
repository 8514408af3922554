"""What a source says of its images: entries when it is listed, their bytes when they are read.

The seam between ingest and the kinds of sources: `Source` is all that ingest knows of a kind.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from curation.ingest.facts import Facts
from curation.ingest.identity import decode_key, encode_key


class Place(NamedTuple):
    """Where an entry stands in its source; places are ordered by raw key, then ordinal."""

    key: bytes
    ordinal: int = 0


START = Place(b"", -1)
"""Before every place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An image that a source holds, as far as listing tells; one line of a work list.

    Attributes:
        key: Raw; the file's path below its root, and for what is inside a file `file!inner`.
        uri: Address of the file that holds the bytes.
        facts: Size and version of the image; for what is inside a file, of as much as is known.
        ordinal: 0 for the first of its key, counting up where a source repeats one.
        offset: First byte in the file; null where the file is the image.
        length: Bytes at the offset.
        table_row: Row in the file, from 0, where the file is a table.
        alt_text: Text that belongs to the image, where listing reads it anyway.
        license: Likewise the licence.
        metadata: Likewise further facts, as a JSON object.
        sidecars: Where to read those three instead, in words of the kind; other words, other
            entry.
        container: `facts_json` of the file that this entry is inside of.
        error: `code: text` where listing can tell already that there will be no bytes.
        expected_bytes: Size to plan with where `facts` has none; not kept.
    """

    key: bytes
    uri: str
    facts: Facts
    ordinal: int = 0
    offset: int | None = None
    length: int | None = None
    table_row: int | None = None
    alt_text: str | None = None
    license: str | None = None
    metadata: str | None = None
    sidecars: str | None = None
    container: str | None = None
    error: str | None = None
    expected_bytes: int | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.key, self.ordinal)

    @property
    def has_texts(self) -> bool:
        """Whether it holds words, or says where to read them."""
        return any(getattr(self, name) is not None for name in TEXT_COLUMNS)

    def without_texts(self) -> "Entry":
        """Return the same image without words."""
        nothing: dict[str, Any] = dict.fromkeys(TEXT_COLUMNS)
        return replace(self, **nothing)

    def differs(self, other: "Entry") -> bool:
        """Say whether the image at the same place must be read again; see `Facts.differs`."""
        return self.bytes_differ(other) or any(
            getattr(self, name) != getattr(other, name) for name in TEXT_COLUMNS
        )

    def bytes_differ(self, other: "Entry") -> bool:
        """Say whether, by what listing tells, the image itself is another one."""
        return self.facts.differs(other.facts) or any(
            getattr(self, name) != getattr(other, name) for name in _BYTES
        )

    def to_line(self) -> dict[str, Any]:
        """Return its columns of `INGEST_LIST`."""
        line = {name: getattr(self, name) for name in _PLAIN}
        line["key"] = encode_key(self.key)
        line.update(num_bytes=self.facts.size, etag=self.facts.etag, mtime_ns=self.facts.mtime_ns)
        return line


TEXT_COLUMNS = ("alt_text", "license", "metadata", "sidecars")
"""Columns of `INGEST_LIST` with words that came with an image, or where to read them."""

_BYTES = ("offset", "length", "table_row", "error")
_PLAIN = ("uri", "ordinal", "container", *_BYTES, *TEXT_COLUMNS)
ENTRY_COLUMNS = ("key", "num_bytes", "etag", "mtime_ns", *_PLAIN)
"""Columns of `INGEST_LIST` that hold an entry."""

Line = Mapping[str, Any]
"""A line of `INGEST_LIST`."""


def entry_of(line: Line) -> Entry:
    """Return the entry that a line of a list was made from."""
    return Entry(
        key=decode_key(line["key"]),
        facts=Facts(line["num_bytes"], line["etag"], line["mtime_ns"]),
        **{name: line[name] for name in _PLAIN},
    )


@dataclass(frozen=True, slots=True)
class Container:
    """A file with entries inside, which is opened only where its facts are not those of before.

    Attributes:
        prefix: What the keys of its entries begin with, and no other key of the source does.
        facts: `facts_json` of the file.
        entries: Lists it, by place, after the place that the listing resumes after.
    """

    prefix: bytes
    facts: str | None
    entries: Callable[[], Iterator[Entry]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one line when it was read: bytes, or `code: text` why there are none.

    Attributes:
        uri: Address of the file that was read.
        num_bytes: Size of the image; null where unknown.
    """

    uri: str
    data: bytes | None = None
    num_bytes: int | None = None
    error: str | None = None
    offset: int | None = None
    length: int | None = None
    alt_text: str | None = None
    license: str | None = None
    metadata: str | None = None


class Source(Protocol):
    """One kind of source, opened. `curation.ingest.kinds` holds them all.

    Making one checks its roots and refuses them with a sentence; it reads nothing else.
    """

    @property
    def skipped(self) -> Counter[str]:
        """Why something was left out of the listing -> how often; for the log."""
        ...

    def entries(self, after: Place) -> Iterator[Entry | Container]:
        """List what is there, by place, from after the place `after`.

        The same content gives the same entries wherever it is resumed, so that a killed ingest
        goes on as if nothing had happened. Memory is bounded, whatever the size of the source.

        Raises:
            UsageError: It cannot be listed as a whole.
        """
        ...

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        """Read what lines of a list name: one `Taken` for each, in order.

        A pure function of the lines and of the content; nothing outside the source is read. What
        is no longer as listed is `changed`, what the store does not give `unavailable`.

        Raises:
            UsageError: The source is gone altogether, so this is no row's error.
        """
        ...


def facts_json(facts: Facts) -> str | None:
    """Write a file's facts as text to compare; null where they cannot tell versions apart."""
    if facts.etag is None and facts.mtime_ns is None:
        return None
    return json.dumps(version_of(facts), separators=(",", ":"))


def version_of(facts: Facts) -> dict[str, Any]:
    """Return what tells a file's version, as plain values that are equal for equal versions."""
    # With a tag the time says nothing: a copy of a bucket keeps the one and not the other.
    version = {"mtime_ns": facts.mtime_ns} if facts.etag is None else {"etag": facts.etag}
    return {"size": facts.size, **version}
