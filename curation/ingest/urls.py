"""`kind: urls`: files on the web that lists name, downloaded into the image shards."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator

from curation.download import (
    MAX_URL_LENGTH,
    DownloadConfig,
    Fetched,
    check_ready,
    fetch_all,
    normalise,
    refusal,
)
from curation.download.fetch import Lookup
from curation.download.outcome import Outcome
from curation.ingest.config import RootsConfig, absolute
from curation.ingest.entries import Entry, Line, Place, Taken
from curation.ingest.facts import Facts
from curation.ingest.listing import list_files
from curation.ingest.roots import Root, open_roots
from curation.ingest.rows_of_lists import ENDINGS, metadata_of, read_rows
from curation.ingest.sorted_runs import sort_rows
from curation.ingest.texts import as_text
from curation.storage import Store
from schemas.error_codes import row_error

_UNKNOWN = Facts(None, None, None)
_PAGE_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")
_PAGE_HEAD_BYTES = 1024


class UrlsConfig(RootsConfig):
    """Lists of URLs below folders or prefixes: JSONL, CSV, TSV, Parquet, or text, a URL a line.

    Attributes:
        url_column: Holds the URL; a text file has one column of that name.
        caption_column: Holds the caption; null for none.
        license_column: Holds the licence; null for none.
        metadata_columns: Columns to keep as metadata; null for all others.
        max_file_bytes: Larger files become rows with the error `too_large`, read no further.
        expected_bytes: Size of a file to plan shards with, since only a download tells.
        shard_bytes: Bytes that the files of one shard may have together, for they are in memory;
            what would be more is `deferred` to the next ingest.
        download: How files are fetched.
    """

    lists_failed_again: ClassVar[bool] = True

    kind: Literal["urls"] = "urls"
    url_column: str = "url"
    caption_column: str | None = None
    license_column: str | None = None
    metadata_columns: tuple[str, ...] | None = None
    max_file_bytes: int = Field(default=32 << 20, ge=1, le=256 << 20)
    expected_bytes: int = Field(default=256 << 10, ge=1)
    shard_bytes: int = Field(default=512 << 20, ge=1, le=1 << 30)
    download: DownloadConfig

    @field_validator("store")
    @classmethod
    def _bytes(cls, store: Literal["bytes", "reference"]) -> Literal["bytes", "reference"]:
        if store == "reference":
            message = "what is behind a URL changes and goes away; set `store: bytes`"
            raise ValueError(message)
        return store

    def located(self) -> Self:
        located = super().located()
        if self.download.ca_file is None:
            return located
        download = self.download.model_copy(update={"ca_file": absolute(self.download.ca_file)})
        return located.model_copy(update={"download": download})

    def named_columns(self, ending: str) -> dict[str, str]:
        """Return every column that a list must have -> the key that names it."""
        named = {self.url_column: "source.url_column"}
        if ending == "txt":
            return named
        for column in self.metadata_columns or ():
            named[column] = "source.metadata_columns"
        if self.caption_column is not None:
            named[self.caption_column] = "source.caption_column"
        if self.license_column is not None:
            named[self.license_column] = "source.license_column"
        return named


class _Listed(NamedTuple):
    """A row of a list; sorts by key, then by where it stands."""

    key: bytes
    list_key: bytes
    line: int
    alt_text: str | None
    license: str | None
    metadata: str | None


class UrlSource:
    """Every URL of the lists is a row, and its key is the URL: see `normalise`.

    A URL that is named several times is one row, with the words that stand at its first place in
    the order of the lists' paths, and is fetched once. A row of a list without a URL or with one
    that is too long, and a file that is no list by its ending, are left out and counted.

    A URL is fetched again where it failed for a passing reason, or where its words have changed;
    what came once stays as it came. Redirects do not show: the address of a row is its URL, since
    where a redirect leads is often signed for a day. A row whose URL brought an HTML page instead
    of a file is `web_page` and keeps nothing of it; everything else is for the stages to judge.
    """

    def __init__(
        self, config: UrlsConfig, dataset: Store | None = None, lookup: Lookup | None = None
    ) -> None:
        check_ready(config.download)
        self._config = config
        self._roots = open_roots(config, dataset)
        self._lookup = lookup
        self._left_out: Counter[str] = Counter()

    @property
    def skipped(self) -> Counter[str]:
        return sum((root.skipped for root in self._roots), self._left_out.copy())

    # Listing -----------------------------------------------------------------------------------

    def entries(self, after: Place) -> Iterator[Entry]:
        self._left_out.clear()
        with ExitStack() as stack:
            latest: bytes | None = None
            for row in sort_rows(self._rows(), stack):
                listed = _Listed(*row)
                if listed.key == latest:
                    self._left_out["URLs that are listed before"] += 1
                    continue
                latest = listed.key
                if Place(latest) > after:
                    yield self._entry(listed)

    def _rows(self) -> Iterator[_Listed]:
        config = self._config
        aside = {config.url_column, config.caption_column or "", config.license_column or ""}
        for root, key in self._lists():
            ending = key.rpartition(b".")[2].decode("latin-1").lower()
            for line, values in read_rows(root, key, config.named_columns(ending)):
                url = values.get(config.url_column)
                name = normalise(url) if isinstance(url, str) else ""
                if not name:
                    self._left_out["rows without a URL"] += 1
                    continue
                if len(name) > MAX_URL_LENGTH:  # mostly images themselves, as `data:` URLs
                    self._left_out[f"URLs longer than {MAX_URL_LENGTH} characters"] += 1
                    continue
                yield _Listed(
                    name.encode("utf-8", "surrogatepass"),
                    key,
                    line,
                    as_text(values.get(config.caption_column or "")) or None,
                    as_text(values.get(config.license_column or "")) or None,
                    metadata_of(
                        values, aside, None if ending == "txt" else config.metadata_columns
                    ),
                )

    def _lists(self) -> Iterator[tuple[Root, bytes]]:
        for file in list_files(self._roots):
            _, point, ending = file.key.rpartition(b"/")[2].rpartition(b".")
            if not point or ending.decode("latin-1").lower() not in ENDINGS:
                self._left_out["files that are no lists"] += 1
                continue
            root = next(root for root in self._roots if root.uri(file.key) == file.uri)
            yield root, file.key

    def _entry(self, listed: _Listed) -> Entry:
        url = listed.key.decode("utf-8", "replace")
        return Entry(
            listed.key,
            url,
            _UNKNOWN,
            alt_text=listed.alt_text,
            license=listed.license,
            metadata=listed.metadata,
            error=refusal(url),
            expected_bytes=self._config.expected_bytes,
        )

    # Reading -----------------------------------------------------------------------------------

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        wanted = [number for number, line in enumerate(lines) if line["error"] is None]
        config = self._config
        outcomes: dict[int, Outcome] = {}
        told = fetch_all(
            [lines[number]["uri"] for number in wanted],
            config.download,
            max_bytes=config.max_file_bytes,
            max_total_bytes=config.shard_bytes,
            lookup=self._lookup,
        )
        with closing(told):
            for number, line in enumerate(lines):
                if line["error"] is not None:
                    yield Taken(line["uri"], error=line["error"])
                    continue
                while number not in outcomes:
                    position, outcome = next(told)
                    outcomes[wanted[position]] = outcome
                yield _taken(line, outcomes.pop(number))


def _taken(line: Line, outcome: Outcome) -> Taken:
    words = {name: line[name] for name in ("alt_text", "license", "metadata")}
    if not isinstance(outcome, Fetched):
        return Taken(line["uri"], error=outcome.error)
    if _is_web_page(outcome.data):
        return Taken(line["uri"], num_bytes=len(outcome.data), error=row_error("web_page"))
    return Taken(line["uri"], outcome.data, len(outcome.data), **words)


def _is_web_page(data: bytes) -> bool:
    """Say whether a browser would show the data as HTML, whatever its header or name said.

    Source: WHATWG MIME Sniffing, section 7.1, in part; comments in front are not looked behind.
    """
    head = data[:_PAGE_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith(_PAGE_BEGINNINGS) or (
        head.startswith(b"<?xml") and b"<!doctype html" in head
    )
