"""`kind: list`: files named by lists that others made, with what the lists say of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from errno import ENAMETOOLONG
from itertools import islice
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field

from curation.errors import UsageError
from curation.ingest.config import RootsConfig, absolute
from curation.ingest.entries import Entry, Line, Place, Taken
from curation.ingest.facts import Facts
from curation.ingest.identity import decode_key, encode_key
from curation.ingest.resolve import key_bytes, resolve
from curation.ingest.roots import Root, open_roots
from curation.ingest.rows_of_lists import Row, list_ending, metadata_of, read_rows
from curation.ingest.sorted_runs import sort_rows
from curation.ingest.take import take_file
from curation.ingest.texts import as_text
from curation.storage import Store
from schemas.error_codes import row_error

_STAT_THREADS = 32
_WINDOW = 512
_UNKNOWN = Facts(None, None, None)


class ListConfig(RootsConfig):
    """Files below roots that lists name.

    Attributes:
        lists: JSONL, CSV, TSV or Parquet files, told by their endings.
        path_column: Holds the path below a root, or the absolute path or URL of a file there.
        caption_column: Holds the caption; null for none.
        license_column: Holds the licence; null for none.
        metadata_columns: Columns to keep as metadata; null for all others.
    """

    kind: Literal["list"] = "list"
    lists: tuple[str, ...] = Field(min_length=1)
    path_column: str = "path"
    caption_column: str | None = None
    license_column: str | None = None
    metadata_columns: tuple[str, ...] | None = None

    def located(self) -> Self:
        lists = tuple(absolute(url) for url in self.lists)
        return super().located().model_copy(update={"lists": lists})

    def origin(self) -> dict[str, Any]:
        return {**super().origin(), "lists": list(self.lists)}

    def named_columns(self) -> dict[str, str]:
        """Return every column that must be there -> the key that names it."""
        named = {
            "source.path_column": self.path_column,
            "source.caption_column": self.caption_column,
            "source.license_column": self.license_column,
        }
        columns = {column: where for where, column in named.items() if column is not None}
        return dict.fromkeys(self.metadata_columns or (), "source.metadata_columns") | columns


class _Named(NamedTuple):
    """A row of a list; sorts by key, then by where it stands."""

    key: bytes
    place: int
    line: int
    path: str
    alt_text: str | None
    license: str | None
    metadata: str | None


class ListSource:
    """Every row of the lists is a row, with the key that the file has in `kind: folder`.

    So ids do not depend on where a row stands in a list. A path that is named twice is two rows,
    told apart by ordinals in the order of the lists. A path that leads out of the roots is a row
    with the error `outside` and is never read; one where no file is has the error `missing`.
    A line that is malformed or has no path refuses its list: it would be a row without a key.

    The lists are read in full before the first entry, and sorted, with temporary files above
    a number of rows (see `sort_rows`).
    """

    def __init__(self, config: ListConfig, dataset: Store | None = None) -> None:
        self._config = config
        self._roots = open_roots(config, dataset)
        self.skipped: Counter[str] = Counter()
        for url in config.lists:
            list_ending(url)

    def entries(self, after: Place) -> Iterator[Entry]:
        with ExitStack() as stack, ThreadPoolExecutor(_STAT_THREADS) as pool:
            rows = self._placed(map(_Named._make, sort_rows(self._rows(), stack)))
            wanted = (pair for pair in rows if Place(pair[0].key, pair[1]) > after)
            while window := list(islice(wanted, _WINDOW)):
                yield from pool.map(self._entry, *zip(*window, strict=True))

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        for line in lines:
            if line["error"] is not None:
                yield Taken(line["uri"], error=line["error"])
                continue
            key = decode_key(line["key"])
            taken = take_file(line, key, self._roots, self._config.max_file_bytes)
            if taken.data is not None:
                taken = replace(
                    taken,
                    alt_text=line["alt_text"],
                    license=line["license"],
                    metadata=line["metadata"],
                )
            yield taken

    def _rows(self) -> Iterator[_Named]:
        for place, url in enumerate(self._config.lists):
            folder, _, name = absolute(url).rpartition("/")
            where = self._config.model_copy(update={"roots": (folder,)})
            (root,) = open_roots(where)
            columns = self._config.named_columns()
            for row in read_rows(root, name.encode("utf-8", "surrogateescape"), columns):
                yield self._named(place, row, url)

    def _named(self, place: int, row: Row, url: str) -> _Named:
        config = self._config
        line, values = row
        path = values.get(config.path_column)
        if not isinstance(path, str) or not path:
            message = (
                f"{url}, line {line}: no path in {config.path_column!r}; correct the list, or "
                "source.path_column, and run again"
            )
            raise UsageError(message)
        found = resolve(path, self._roots)
        aside = {config.path_column, config.caption_column or "", config.license_column or ""}
        return _Named(
            key_bytes(path) if found is None else found[1],
            place,
            line,
            path,
            as_text(values.get(config.caption_column or "")) or None,
            as_text(values.get(config.license_column or "")) or None,
            metadata_of(values, aside, config.metadata_columns),
        )

    @staticmethod
    def _placed(rows: Iterable[_Named]) -> Iterator[tuple[_Named, int]]:
        """Number the rows of each key."""
        key, ordinal = b"", 0
        for row in rows:
            ordinal = ordinal + 1 if row.key == key else 0
            key = row.key
            yield row, ordinal

    def _entry(self, row: _Named, ordinal: int) -> Entry:
        found = resolve(row.path, self._roots)
        uri, facts = encode_key(row.key), _UNKNOWN
        error: str | None = row_error("outside")
        if found is not None:
            error = row_error("missing")
            uri = found[0][0].uri(row.key)
            for root in found[0]:
                here, code = _look(root, row.key)
                if here is not None or code != "missing":
                    uri, facts = root.uri(row.key), here or _UNKNOWN
                    error = row_error(code) if code else None
                    break
        return Entry(
            row.key,
            uri,
            facts,
            ordinal=ordinal,
            alt_text=row.alt_text,
            license=row.license,
            metadata=row.metadata,
            error=error,
        )


def _look(root: Root, key: bytes) -> tuple[Facts | None, str | None]:
    """Return what is known of a file, or the code of why it cannot be read."""
    if not root.reaches(key):
        return None, "outside"
    try:
        with root.open(key) as (facts, _):
            return facts, None
    except OSError as error:
        # Anything but a file that is not there may pass, and is for the reading to say.
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        return None, "missing" if gone or error.errno == ENAMETOOLONG else None
