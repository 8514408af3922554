"""A span: all shards of a group in one Parquet file, a row group each, in the shards' order.

    <instance>/<fingerprint>/<group>/span.parquet

It has the schema of a shard's file. Its footer keeps, for each shard, the digests of the columns
that the shard's own file kept, under the same key. Where a span exists it stands for its group:
shard files beside it were left there by a kill, and nobody reads them.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import DatasetError
from curation.storage import Store
from curation.tables import (
    DIGESTS,
    file_digests,
    from_parquet,
    parquet_options,
    schema_digests,
    to_disk,
    to_parquet,
)
from schemas import dataset as layout


@dataclass(frozen=True)
class Footer:
    """What the end of a span says.

    Attributes:
        group: Its group.
        metadata: The Parquet footer.
        schema: Schema of each of its shards, as Parquet has it.
        digests: Shard -> column -> digest of its values.
    """

    group: int
    metadata: Any
    schema: pa.Schema
    digests: dict[int, dict[str, str]]

    def read(self, file: IO[bytes], shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of one shard, as from the shard's own file."""
        place = shard - layout.group_shards(self.group).start
        return from_parquet(file, columns, [place], self.metadata)


def read_footer(file: IO[bytes], group: int, where: str) -> Footer:
    """Read the footer of an opened span.

    Raises:
        DatasetError: It does not hold the shards of `group`.
    """
    parquet = pq.ParquetFile(file)
    found = json.loads((parquet.metadata.metadata or {}).get(DIGESTS, b"{}"))
    shards = layout.group_shards(group)
    if list(found) != [f"{n:08d}" for n in shards] or parquet.num_row_groups != len(shards):
        message = (
            f"{where}: not the span of shards {shards.start} to {shards.stop - 1}; restore it, or "
            "delete it and run the pipeline again to make these shards anew"
        )
        raise DatasetError(message)
    digests = {int(number): columns for number, columns in found.items()}
    schema = parquet.schema_arrow
    kept = {key: value for key, value in (schema.metadata or {}).items() if key != DIGESTS}
    return Footer(group, parquet.metadata, schema.with_metadata(kept or None), digests)


def write_span(path: Path, shards: Iterable[tuple[int, pa.Table, dict[str, str]]]) -> None:
    """Write (shard, table, digests of its columns) as a local file, one table in memory at a time.

    Every table must have the schema of the first, metadata and all.
    """
    digests: dict[str, dict[str, str]] = {}
    writer: Any = None
    try:
        for shard, table, kept in shards:
            digests[f"{shard:08d}"] = kept
            disk = to_disk(table.combine_chunks())
            if writer is None:
                writer = pq.ParquetWriter(path, disk.schema, **parquet_options(disk.schema))
            assert disk.schema.equals(writer.schema, check_metadata=True), shard
            writer.write_table(disk, row_group_size=max(len(disk), 1))
        assert writer is not None, path
        writer.add_key_value_metadata({DIGESTS: json.dumps(digests, sort_keys=True)})
    finally:
        if writer is not None:
            writer.close()


def expand_span(store: Store, folder: str, group: int) -> None:
    """Write every shard of a span as a file of its own, byte for byte as before, and delete it.

    Killed anywhere and called again it goes on. Nothing happens where the span is gone, which says
    that another process has done it. A compaction that was about to delete shard files when the
    span went may still do so; what is gone then is written once more, from what was read before.

    Raises:
        DatasetError: The span is damaged.
    """
    path = layout.span_path(folder, group)
    try:
        with _kept_open(store, path) as file:
            footer = read_footer(file, group, store.uri(path))
            _drop_others(store, folder, footer)
            _write_missing(store, folder, footer, file)
            store.delete(path)
            _write_missing(store, folder, footer, file)
    except FileNotFoundError:
        return


@contextmanager
def _kept_open(store: Store, path: str) -> Iterator[IO[bytes]]:
    """Open a file so that it can be read after it was deleted."""
    if store.is_local:
        with store.open(path) as file:
            yield file
    else:
        with tempfile.TemporaryFile(prefix="longtail-span-") as copy:
            copy.write(store.read(path))
            yield copy


def _write_missing(store: Store, folder: str, footer: Footer, file: IO[bytes]) -> None:
    """Write the shards that have no file; again until all are there, if somebody deletes them."""
    path = layout.span_path(folder, footer.group)
    while missing := _missing(store, folder, footer.group):
        for shard in missing:
            data = to_parquet(footer.read(file, shard))
            found = schema_digests(pq.read_schema(pa.BufferReader(data)))
            where = f"{store.uri(path)}, shard {shard}"
            check_digests(found, footer.digests[shard], where)
            store.create(f"{folder}/{layout.shard_file(shard)}", data)


def check_digests(found: dict[str, str], kept: dict[str, str], where: str) -> None:
    """Compare the digests of columns with those that a footer keeps.

    Raises:
        DatasetError: Names the first column that differs.
    """
    for name in sorted({*found, *kept}):
        if found.get(name) != kept.get(name):
            message = (
                f"{where}: the values of column {name} are not those that its footer states; "
                "restore the file, or delete it and run the pipeline again"
            )
            raise DatasetError(message)


def _drop_others(store: Store, folder: str, footer: Footer) -> None:
    """Delete the shard files beside a span that differ from what it holds: they do not count."""
    missing = set(_missing(store, folder, footer.group))
    for shard in layout.group_shards(footer.group):
        path = f"{folder}/{layout.shard_file(shard)}"
        if shard not in missing and file_digests(store, path) != footer.digests[shard]:
            store.delete(path)


def _missing(store: Store, folder: str, group: int) -> list[int]:
    """Return the shards of a group that have no file of their own."""
    names = set(store.names(layout.group_folder(folder, group)))
    shards = layout.group_shards(group)
    return [shard for shard in shards if layout.shard_file(shard).split("/")[1] not in names]
