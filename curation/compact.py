"""Compacting: the shards of a finished group of a stage become one file.

Only the columns of stages: a group of images would be a file of hundreds of gigabytes, and nobody
lists images by the thousand that are a few kilobytes each.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curation.dataset import Dataset
from curation.spans import check_digests, read_footer, write_span
from curation.tables import column_digests, file_digests, read_table
from schemas import dataset as layout
from schemas.columns import is_bulk


@dataclass(frozen=True)
class Group:
    """The shards of a stage in one folder, of which a span can be made.

    Attributes:
        folder: `<instance>/<fingerprint>`.
        number: Of the group.
        files: The shard files that will be deleted, in the order of the shards.
        num_bytes: Their size.
        has_span: Whether the span is there and these files were left behind by a kill.
    """

    folder: str
    number: int
    files: tuple[str, ...]
    num_bytes: int
    has_span: bool

    @property
    def path(self) -> str:
        """Where it lies."""
        return layout.group_folder(self.folder, self.number)


def find_groups(dataset: Dataset) -> list[Group]:
    """List the groups that are finished and not compacted, or not to the end.

    A group is finished when all its shards are listed and each has its file. One with a shard in
    quarantine is not.
    """
    listed = set(dataset.listed_shards())
    found: list[Group] = []
    for instance, fingerprint in dataset.stage_folders():
        folder = layout.instance_folder(instance, fingerprint)
        for name in dataset.store.names(folder):
            if name.isdigit():
                found += _find_group(dataset, folder, int(name), listed)
    return found


def _find_group(dataset: Dataset, folder: str, number: int, listed: set[int]) -> Iterator[Group]:
    path = layout.group_folder(folder, number)
    names = set(dataset.store.names(path))
    shards = layout.group_shards(number)
    files = [f"{folder}/{layout.shard_file(shard)}" for shard in shards]
    there = tuple(file for file in files if file.rsplit("/", 1)[-1] in names)
    has_span = layout.SPAN in names
    is_finished = len(there) == len(files) and listed.issuperset(shards)
    if there and (has_span or is_finished):
        details = dataset.store.details(path)
        num_bytes = sum(details[file][0] for file in there if file in details)
        yield Group(folder, number, there, num_bytes, has_span)


def compact_group(dataset: Dataset, group: Group) -> str | None:
    """Make the span of a group, read it back, and only then delete the shard files.

    Killed anywhere it leaves either the shard files or the span, complete, and called again it goes
    on. Memory holds one shard, the local disk for temporary files one span.

    Returns:
        Why the group was left as it is; null when it is compacted.

    Raises:
        DatasetError: A file is damaged; the group is left as it is.
    """
    store = dataset.store
    span = layout.span_path(group.folder, group.number)
    if not group.has_span:
        before = store.details(group.path)
        with tempfile.TemporaryDirectory(prefix="longtail-compact-") as spill:
            path = Path(spill) / layout.SPAN
            try:
                write_span(path, _tables(dataset, group))
                _check(group, path)
            except _UnfitError as error:
                return str(error)
            except FileNotFoundError:
                return _CHANGED
            if not store.create(span, path):
                return "another process compacts it"
        after = store.details(group.path)
        if any(after.get(file) != before.get(file) for file in group.files):
            # Somebody retries or forgets here, who takes shard files for what counts.
            store.delete(span)
            return _CHANGED
    for file in group.files:
        # Somebody who rewrites a shard takes the span apart first, and then these files count.
        if not store.exists(span):
            return _CHANGED
        store.delete(file)
    return None


_CHANGED = "changed meanwhile; run the same command again"


class _UnfitError(Exception):
    """The files of a group are not for one file."""


def _tables(dataset: Dataset, group: Group) -> Iterator[tuple[int, pa.Table, dict[str, str]]]:
    schema: pa.Schema | None = None
    for shard, file in zip(layout.group_shards(group.number), group.files, strict=True):
        table = read_table(dataset.store, file)
        schema = schema or table.schema
        if any(is_bulk(field) for field in schema):
            message = "holds large values that are read row by row; stays as it is"
            raise _UnfitError(message)
        if not table.schema.equals(schema, check_metadata=True):
            message = f"columns are described otherwise from shard {shard} on; stays as it is"
            raise _UnfitError(message)
        yield shard, table, file_digests(dataset.store, file)


def _check(group: Group, path: Path) -> None:
    """Read a span back and compare it with what the shard files say that they hold."""
    with path.open("rb") as file:
        footer = read_footer(file, group.number, str(path))
        for shard, kept in footer.digests.items():
            where = f"{group.path}, shard {shard}"
            check_digests(column_digests(footer.read(file, shard)), kept, where)
