"""Taking out of a dataset what it keeps of forgotten images."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.forget.captions import clean_captions
from curation.forget.find import Found
from curation.forget.lists import clean_lists
from curation.ingest.tombstones import Tombstones, add_tombstones, read_tombstones
from curation.ingest.withhold import Mask, forbidden_rows, null_rows, withhold_in_shard
from schemas import dataset as layout
from schemas.columns import IDENTITY
from schemas.error_codes import row_error
from schemas.tombstones import TOMBSTONES

_IDENTITY = {field.name for field in IDENTITY}
_CACHED_SHARDS = 4096


@dataclass(frozen=True)
class Erased:
    """What was done.

    Attributes:
        num_rows: Rows that have no bytes any more.
        image_shards: Image shards written anew.
        stage_files: Files of stages written anew, of all pipelines and fingerprints.
        lists: Work lists of ingests written anew.
        snapshot_files: Tables of snapshots amended: captions or prompts were taken out.
        purged: Folders below snapshots that were deleted.
    """

    num_rows: int
    image_shards: tuple[int, ...]
    stage_files: tuple[str, ...]
    lists: tuple[str, ...]
    snapshot_files: tuple[str, ...]
    purged: tuple[str, ...]


def erase(dataset: Dataset, found: Found, reason: str, source: str, *, purge: bool) -> Erased:
    """Forbid the images, then take out what is kept of them.

    That is what stages said of them, their bytes and the words that came with them, those words in
    the work lists of ingests, and in snapshots their captions and the prompts of their pairs; only
    these change a snapshot, and on the record: see `curation.snapshot.amendments`. The identity of
    a row, its key and its content hash stay, so that every snapshot still accounts for it; the
    row's error is `forgotten`.

    Killed anywhere and called again it goes on: tombstones come first, so that nothing new begins
    with the images, and a file that was dealt with is left alone. Everything is gone through again
    until there is nothing to do and no tombstone has come in between, so that of several calls at
    the same time, and of a retry, none brings back what another took out: see
    `curation.ingest.withhold`. Three things may still appear afterwards, and calling this again
    finds them: what a stage at work had read before; the words of a copy that is listed later, for
    its work list is frozen before anybody knows its content; and what one of several rewriters put
    back that was killed right then. A snapshot that was being made and has no manifest yet is left
    to `longtail gc`.

    Args:
        dataset: The dataset.
        found: What `find` found.
        reason: Why, in the words of whoever asked.
        source: Where the request came from, for example a ticket; may be empty.
        purge: Delete materialised and derived tables of tainted snapshots that hold them.
    """
    name = add_tombstones(dataset, _tombstone_rows(found, reason, source))
    shards: set[int] = set()
    files: set[str] = set()
    lists: set[str] = set()
    tables: set[str] = set()
    applied: Tombstones | None = None
    is_clean = False
    while not is_clean or applied != read_tombstones(dataset):
        applied = read_tombstones(dataset)
        through = _Pass(dataset, found, applied)
        put_files = set(through.stage_files())
        put_shards = set(through.image_shards())
        put_lists = set(through.lists(lists))
        put_tables = set(through.tables(tables, name))
        is_clean = not (put_files or put_shards or put_lists or put_tables)
        files |= put_files
        shards |= put_shards
        lists |= put_lists
        tables |= put_tables
    purged = []
    for taint in found.taints if purge else ():
        for folder in taint.materialized:
            _delete(dataset, folder)
            purged.append(folder)
    return Erased(
        len(found.rows),
        tuple(sorted(shards)),
        tuple(sorted(files)),
        tuple(sorted(lists)),
        tuple(sorted(tables)),
        tuple(purged),
    )


class _Pass:
    """One way through all files that hold something of the rows; yields those that it has put.

    A file that is put is without all that is forbidden, also by others.
    """

    def __init__(self, dataset: Dataset, found: Found, tombstones: Tombstones) -> None:
        self._dataset = dataset
        self._found = found
        self._tombstones = tombstones
        self._forbidden_in = lru_cache(_CACHED_SHARDS)(self._read_forbidden)

    def stage_files(self) -> Iterator[str]:
        folders = list(self._dataset.stage_folders())
        for shard in self._found.shards:
            here = self._forbidden_in(shard)
            for instance, fingerprint in folders:
                folder = layout.instance_folder(instance, fingerprint)
                there = self._dataset.files.exists(folder, shard)
                if there and _null_values(self._dataset, folder, shard, instance, here):
                    yield f"{folder}/{layout.shard_file(shard)}"

    def image_shards(self) -> Iterator[int]:
        for shard in self._found.shards:
            if withhold_in_shard(self._dataset, shard, self._tombstones):
                yield shard

    def lists(self, again: Set[str]) -> Iterator[str]:
        return clean_lists(self._dataset, self._found.rows, self._forbidden_in, again)

    def tables(self, again: Set[str], tombstones: str) -> Iterator[str]:
        ids = self._found.rows["image_id"].combine_chunks()
        for taint in self._found.taints:
            yield from clean_captions(
                self._dataset, taint.snapshot, ids, self._forbidden_in, again, tombstones
            )

    def _read_forbidden(self, shard: int) -> Mask:
        return forbidden_rows(self._dataset, shard, self._tombstones)


def _tombstone_rows(found: Found, reason: str, source: str) -> pa.Table:
    named = [
        *((image_id, None) for image_id in sorted(found.tombstones.image_ids)),
        *((None, content) for content in sorted(found.tombstones.contents)),
    ]
    rows = [
        {"image_id": image_id, "content_sha256": content, "reason": reason, "source": source}
        for image_id, content in named
    ]
    return pa.Table.from_pylist(rows, TOMBSTONES)


def _null_values(dataset: Dataset, folder: str, shard: int, instance: str, forbidden: Mask) -> bool:
    """Null an instance's own columns in forbidden rows of one shard; say whether it had any.

    Args:
        dataset: The dataset.
        folder: Where the shard lies.
        shard: Its number.
        instance: Whose it is.
        forbidden: Whether each row of the image shard is forbidden.
    """
    table = dataset.files.read(folder, shard)
    error = f"{instance}_error"
    text = row_error("forgotten")
    here = forbidden[table["row"].to_numpy()]
    own = [name for name in table.column_names if name not in _IDENTITY and name != error]
    errors = table[error].filter(pa.array(here))
    values = sum(len(errors) - table[name].filter(pa.array(here)).null_count for name in own)
    if not values and pc.all(pc.equal(errors.fill_null(""), text)).as_py() in (True, None):
        return False
    for name in own:
        table = null_rows(table, name, here)
    index = table.schema.get_field_index(error)
    column = pc.if_else(pa.array(here), text, table[error])
    table = table.set_column(index, table.schema.field(index), column)
    dataset.files.replace(folder, shard, table)
    return True


def _delete(dataset: Dataset, folder: str) -> None:
    """Delete a folder's manifest first, so that what is left is never taken for a whole table."""
    files = dataset.store.files(folder)
    for name in sorted(files, key=lambda name: (not name.endswith("manifest.json"), name)):
        dataset.store.delete(name)
