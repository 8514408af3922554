"""The shard files of images and stages, whether each is a file of its own or lies in a span.

Who reads, replaces or deletes a shard of a stage does it here, and need not know which it is. A
group may be compacted or expanded by another process at any time: a reader that misses the one form
looks for the other.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from curation.spans import Footer, expand_span, read_footer
from curation.storage import Store
from curation.tables import file_digests, file_schema, read_table, write_table
from schemas import dataset as layout

_SHARD = re.compile(r"shard-(\d{8})\.parquet")

_FOOTERS = 16
"""Footers of spans held in memory: those of a group in all instances that are read side by side."""


class ShardFiles:
    """The shards below `images` and the folders of stages.

    Args:
        store: The dataset's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._compacted: dict[tuple[str, int], bool] = {}
        """What was last seen of a group; only a first guess, which `_find` corrects."""
        self._footers: dict[str, tuple[Any, Footer]] = {}

    # Listing ---------------------------------------------------------------------------------

    def shards(self, folder: str) -> list[int]:
        """Return the numbers of the shards that are there, sorted."""
        found: list[int] = []
        for name in self._store.names(folder):
            if name.isdigit():
                group = int(name)
                files = self._store.names(f"{folder}/{name}")
                compacted = folder != layout.IMAGES and layout.SPAN in files
                self._compacted[folder, group] = compacted
                if compacted:
                    found.extend(layout.group_shards(group))
                else:
                    found.extend(int(m[1]) for file in files if (m := _SHARD.fullmatch(file)))
        return sorted(found)

    def files(self, folder: str, shards: Iterable[int]) -> tuple[str, ...]:
        """Return the paths of the files that hold these shards, in order, a span once.

        A span is named as soon as one of its shards is wanted.
        """
        paths: dict[str, None] = {}
        for shard in shards:
            group = layout.group_of(shard)
            if self._is_compacted(folder, group):
                paths[layout.span_path(folder, group)] = None
            else:
                paths[f"{folder}/{layout.shard_file(shard)}"] = None
        return tuple(paths)

    def exists(self, folder: str, shard: int) -> bool:
        """Say whether a shard is there now."""
        path = f"{folder}/{layout.shard_file(shard)}"
        # The file is looked for twice: a span may be expanded between two looks.
        span = layout.span_path(folder, layout.group_of(shard))
        paths = (path,) if folder == layout.IMAGES else (path, span, path)
        return any(self._store.exists(name) for name in paths)

    # Reading ---------------------------------------------------------------------------------

    def read(self, folder: str, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns, by their names on disk, of one shard; `FileNotFoundError` where none is."""
        return self._find(
            folder,
            shard,
            lambda path: read_table(self._store, path, columns),
            lambda file, footer: footer.read(file, shard, columns),
        )

    def schema(self, folder: str, shard: int) -> pa.Schema:
        """Return the schema of one shard, as Parquet has it; reads a footer only."""
        return self._find(
            folder,
            shard,
            lambda path: file_schema(self._store, path),
            lambda _, footer: footer.schema,
        )

    def digests(self, folder: str, shard: int) -> dict[str, str]:
        """Return column -> digest of its values for one shard; reads a footer only."""
        found: dict[str, str] = self._find(
            folder,
            shard,
            lambda path: file_digests(self._store, path),
            lambda _, footer: footer.digests[shard],
        )
        return found

    def _find(
        self,
        folder: str,
        shard: int,
        in_file: Callable[[str], Any],
        in_span: Callable[[IO[bytes], Footer], Any],
    ) -> Any:
        """Return what a shard's file says, or its span if that is there."""
        path = f"{folder}/{layout.shard_file(shard)}"
        group = layout.group_of(shard)
        compacted = self._is_compacted(folder, group)
        for _ in range(2):  # or it is there in neither form
            try:
                if not compacted:
                    return in_file(path)
                with self._open_span(folder, group) as (file, footer):
                    return in_span(file, footer)
            except FileNotFoundError:
                if folder == layout.IMAGES:
                    raise
                compacted = self._compacted[folder, group] = not compacted
        if compacted:
            with self._open_span(folder, group) as (file, footer):
                return in_span(file, footer)
        return in_file(path)

    def _is_compacted(self, folder: str, group: int) -> bool:
        if folder == layout.IMAGES:
            return False
        if (folder, group) not in self._compacted:
            exists = self._store.exists(layout.span_path(folder, group))
            self._compacted[folder, group] = exists
        return self._compacted[folder, group]

    @contextmanager
    def _open_span(self, folder: str, group: int) -> Iterator[tuple[IO[bytes], Footer]]:
        """Open a span; the footer is read again only if another file has taken its place."""
        path = layout.span_path(folder, group)
        with self._store.open(path) as file:
            version = self._store.version(file)
            held = self._footers.pop(path, None)
            if held is not None and version is not None and held[0] == version:
                footer = held[1]
            else:
                footer = read_footer(file, group, self._store.uri(path))
            self._footers[path] = (version, footer)
            if len(self._footers) > _FOOTERS:
                del self._footers[next(iter(self._footers))]
            yield file, footer

    # Rewriting -------------------------------------------------------------------------------

    def replace(self, folder: str, shard: int, table: pa.Table) -> None:
        """Put another table in the place of a shard; a compacted group is expanded first."""
        self._change(folder, shard, lambda path: write_table(self._store, path, table))

    def delete(self, folder: str, shard: int) -> None:
        """Delete a shard if it is there; a compacted group is expanded first."""
        self._change(folder, shard, self._store.delete)

    def _change(self, folder: str, shard: int, change: Callable[[str], None]) -> None:
        group = layout.group_of(shard)
        span = layout.span_path(folder, group)
        is_done = False
        # Once more where the group was compacted just before the change: the span has not seen it.
        while not is_done or self._store.exists(span):
            expand_span(self._store, folder, group)
            self._compacted[folder, group] = False
            change(f"{folder}/{layout.shard_file(shard)}")
            is_done = True
