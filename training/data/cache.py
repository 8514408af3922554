"""Latents and text features of a training table, read from what the stage `encode` made.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.errors import DatasetError, SnapshotError
from schemas.encode import DIGEST_BYTES
from schemas.error_codes import error_code
from training.data.cache_columns import CachedColumns
from training.data.cache_folders import (
    CacheConfig,
    CacheFolder,
    Kind,
    find_folders,
    matching,
    wanted_latents,
)
from training.data.captions import CaptionConfig, CaptionDraw
from training.data.table import TrainingTable
from training.encoders.identity import identity_lines
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NAMED_SHARDS = 4
_log = logging.getLogger(__name__)


@dataclass
class _Misses:
    """What a folder lacks of a table.

    Attributes:
        shards: Shards that have no file.
        num_rows: Rows without values, those of missing shards among them.
        reasons: Error code -> rows.
        num_texts: Captions that may be drawn and were not encoded.
    """

    shards: list[int]
    num_rows: int
    reasons: Mapping[str, int]
    num_texts: int = 0

    @property
    def count(self) -> int:
        """Rows and captions."""
        return self.num_rows + self.num_texts

    def sentence(self, folder: CacheFolder, table: TrainingTable) -> str:
        """Say what is missing and what to do."""
        parts = []
        if self.num_rows:
            parts.append(f"{self.num_rows} of {len(table)} {table.split} images are not encoded")
        if self.shards:
            named = ", ".join(f"{shard:08d}" for shard in self.shards[:_NAMED_SHARDS])
            more = " ..." if len(self.shards) > _NAMED_SHARDS else ""
            parts.append(f"{len(self.shards)} shards have no file ({named}{more})")
        parts += [f"{count} rows have the error {code}" for code, count in self.reasons.items()]
        if self.num_texts:
            parts.append(
                f"{self.num_texts} captions that may be drawn are not encoded, as they changed or "
                "are of a kind that `variants` leaves out"
            )
        return (
            f"data.cache: {folder.name} lacks what snapshot {table.snapshot[:12]} has: "
            f"{'; '.join(parts)}. Run the pipeline again with `encode` for these rows, or say "
            "data.cache.on_miss: encode to compute them each time"
        )


class CachedLatents:
    """Latents of the rows of a table.

    Args:
        folder: What made them.
        table: The rows.
        channels: C.
        cache_bytes: Values that are kept in memory, at most.
    """

    def __init__(
        self, folder: CacheFolder, table: TrainingTable, channels: int, cache_bytes: int
    ) -> None:
        self.folder = folder
        self._table = table
        self._channels = channels
        self._precision = folder.precision("codec")
        columns = ["latent_height", "latent_width"]
        self._sizes = np.zeros((len(table), 2), np.int32)
        self.misses = _Misses([], 0, {})
        for positions, found in _index(table, folder, columns, self.misses):
            for side, name in enumerate(columns):
                self._sizes[positions, side] = found[name].to_numpy()
        self._columns = CachedColumns(
            table.dataset, folder.instance, folder.fingerprint, cache_bytes
        )

    def read(self, positions: Sequence[int], mirrored: Sequence[bool]) -> list[Tensor | None]:
        """Return (C, H, W) fp32 for each position; null where there is none.

        Args:
            positions: Rows of the table.
            mirrored: Whether each is shown mirrored.
        """
        found: list[Tensor | None] = [None] * len(positions)
        for is_mirrored, column in ((False, "latent"), (True, "mirrored")):
            if is_mirrored and not self.folder.is_mirrored:
                continue
            mine = [
                n
                for n, (position, flip) in enumerate(zip(positions, mirrored, strict=True))
                if flip == is_mirrored and self._sizes[position, 0]
            ]
            values = self._columns.read(column, [_place(self._table, positions[n]) for n in mine])
            for n, data in zip(mine, values, strict=True):
                height, width = self._sizes[positions[n]].tolist()
                shape = (self._channels, height, width)
                found[n] = _tensor(data, self._precision, shape, self.folder)
        return found


class CachedTexts:
    """Features of the captions of a table's rows; found by the text, never by its place alone.

    Args:
        folder: What made them.
        table: The rows.
        width: D.
        cache_bytes: Values that are kept in memory, at most.

    Attributes:
        null_TD: Features of the empty text; null where nothing is encoded.
    """

    def __init__(
        self, folder: CacheFolder, table: TrainingTable, width: int, cache_bytes: int
    ) -> None:
        self.folder = folder
        self._table = table
        self._width = width
        self._precision = folder.precision("text")
        self.misses = _Misses([], 0, {})
        # Flat arrays, since dictionaries of millions of captions take gigabytes.
        self._start = np.zeros(len(table), np.int64)
        self._stop = np.zeros(len(table), np.int64)
        digests: list[bytes] = []
        tokens = [np.zeros(0, np.int32)]
        total = 0
        for positions, found in _index(table, folder, ["texts"], self.misses):
            lists = found["texts"].combine_chunks()
            ends = total + np.cumsum(lists.value_lengths().to_numpy())
            self._stop[positions] = ends
            self._start[positions] = np.concatenate([[total], ends[:-1]])
            flat = lists.flatten()
            digests += flat.field("digest").to_pylist()
            tokens.append(np.asarray(flat.field("tokens").to_numpy(), np.int32))
            total = int(ends[-1])
        self._digests = np.frombuffer(b"".join(digests), f"V{DIGEST_BYTES}")
        self._tokens = np.concatenate(tokens)
        self._columns = CachedColumns(
            table.dataset, folder.instance, folder.fingerprint, cache_bytes
        )
        here = np.flatnonzero(self._stop > self._start)
        self.null_TD = None
        self.null_TD = self.read([int(here[0])], [""])[0] if len(here) else None

    def read(self, positions: Sequence[int], texts: Sequence[str]) -> list[Tensor | None]:
        """Return (T, D) fp32 for each text of each position; null where it was not encoded.

        The empty text is the same for every row.
        """
        places = [self._find(p, text) for p, text in zip(positions, texts, strict=True)]
        mine = [n for n, place in enumerate(places) if place is not None]
        wanted = [_place(self._table, positions[n]) for n in mine]
        found: list[Tensor | None] = [None] * len(positions)
        for n, row in zip(mine, self._columns.read("features", wanted), strict=True):
            place = places[n]
            assert place is not None
            start = int(self._start[positions[n]])
            shape = (int(self._tokens[place]), self._width)
            found[n] = _tensor(row[place - start], self._precision, shape, self.folder)
        return [
            self.null_TD if features is None and not text else features
            for features, text in zip(found, texts, strict=True)
        ]

    def lengths(self, positions: Sequence[int], texts: Sequence[str]) -> list[int | None]:
        """Return T for each text of each position; null where it was not encoded."""
        places = [self._find(p, text) for p, text in zip(positions, texts, strict=True)]
        null = None if self.null_TD is None else len(self.null_TD)
        return [
            int(self._tokens[place]) if place is not None else null if not text else None
            for place, text in zip(places, texts, strict=True)
        ]

    def count_misses(self, captions: CaptionConfig) -> int:
        """Count the captions that may be drawn for a row that is here, and were not encoded."""
        draw = CaptionDraw(captions, 0)
        missing = 0
        for position, told in enumerate(self._table.captions.to_pylist()):
            if self._start[position] < self._stop[position]:
                usable = draw.usable(told or ())
                texts = {text for found in usable.values() for text in found}
                missing += sum(self._find(position, text) is None for text in texts)
        return missing

    def _find(self, position: int, text: str) -> int | None:
        """Return where a text stands among all, if it is among those of a row."""
        digest = hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]
        for place in range(int(self._start[position]), int(self._stop[position])):
            if self._digests[place].tobytes() == digest:
                return place
        return None


@dataclass(frozen=True)
class Cache:
    """What a cache has for the rows of one table.

    Attributes:
        latents: Null where pictures are encoded on the fly.
        texts: Null where captions are encoded on the fly.
    """

    latents: CachedLatents | None
    texts: CachedTexts | None

    def folders(self) -> dict[Kind, CacheFolder]:
        """Return kind -> where it is read from; what is computed is left out."""
        found: dict[Kind, CacheFolder] = {}
        if self.latents is not None:
            found["codec"] = self.latents.folder
        if self.texts is not None:
            found["text"] = self.texts.folder
        return found

    def stored(self) -> dict[str, str]:
        """Return kind -> precision of what is not exactly what the encoders give."""
        precisions = {str(kind): f.precision(kind) for kind, f in self.folders().items()}
        return {kind: found for kind, found in precisions.items() if found != "fp32"}


def open_cache(
    config: CacheConfig,
    table: TrainingTable,
    codec: LatentCodec,
    texts: TextEncoder,
    *,
    edge_px: int,
    flip: bool,
    captions: CaptionConfig,
    cache_bytes: int,
) -> Cache:
    """Find what a recipe's encoders made of a table's rows; loads no encoder.

    Args:
        config: Where to look.
        table: The rows.
        codec: The recipe's codec.
        texts: The recipe's text encoder.
        edge_px: The recipe's area.
        flip: Whether mirrored pictures are wanted.
        captions: Which captions may be drawn.
        cache_bytes: Values that are kept in memory, at most, half of it for each kind.

    Raises:
        SnapshotError: It was made with another encoder or size; or, unless misses are encoded, it
            lacks mirrored latents, rows or captions.
    """
    folders = find_folders(table.dataset, config)
    lines = identity_lines("codec", codec.identity())
    of_latents = matching(folders, "codec", wanted_latents(lines, edge_px, codec.stride))
    of_texts = matching(folders, "text", identity_lines("text", texts.identity()))
    refuses = config.on_miss == "refuse"
    if flip:
        of_latents = _mirrored(of_latents, refuses=refuses)
    room = cache_bytes // 2
    latents, found_texts = None, None
    for folder in of_latents:
        made = CachedLatents(folder, table, codec.channels, room)
        if latents is None or made.misses.num_rows < latents.misses.num_rows:
            latents = made
        if not latents.misses.num_rows:
            break
    for folder in of_texts:
        read = CachedTexts(folder, table, texts.width, room)
        read.misses.num_texts = read.count_misses(captions)
        if found_texts is None or read.misses.count < found_texts.misses.count:
            found_texts = read
        if not found_texts.misses.count:
            break
    for part in (latents, found_texts):
        if part is not None and part.misses.count:
            if refuses:
                raise SnapshotError(part.misses.sentence(part.folder, table))
            _log.warning("%s", part.misses.sentence(part.folder, table))
    return Cache(latents, found_texts)


def _mirrored(folders: list[CacheFolder], *, refuses: bool) -> list[CacheFolder]:
    """Return the folders that have mirrored latents; all of them, where there are none.

    Raises:
        SnapshotError: There are none, and what is missing is refused.
    """
    found = [folder for folder in folders if folder.is_mirrored]
    if folders and not found and refuses:
        message = (
            f"data.flip: {folders[0].name} was made with flip: false, so it has no latents of "
            "mirrored pictures; run the pipeline with flip: true, or say data.flip: false"
        )
        raise SnapshotError(message)
    return found or folders


def _index(
    table: TrainingTable, folder: CacheFolder, columns: Sequence[str], misses: _Misses
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Yield positions and small columns of the rows that a folder has, a shard at a time.

    What it has not is counted in `misses`, but for rows that a tombstone forbids: what was kept of
    them may be erased, and they count nothing.
    """
    prefix = folder.instance
    names = ["image_id", *(f"{prefix}_{name}" for name in ("error", *columns))]
    reasons: Counter[str] = Counter()
    order = np.argsort(table.shard, kind="stable")
    bounds = np.flatnonzero(np.diff(table.shard[order])) + 1
    for mine in np.split(order, bounds) if len(order) else ():
        shard = int(table.shard[mine[0]])
        if shard not in folder.shards:
            misses.shards.append(shard)
            misses.num_rows += int((~table.forbidden[mine]).sum())
            continue
        whole = table.dataset.read_instance(prefix, folder.fingerprint, shard, names)
        found = whole.take(pa.array(table.row[mine], pa.int64()))
        ids = np.frombuffer(b"".join(found["image_id"].to_pylist()), "V16")
        errors = found[f"{prefix}_error"].to_pylist()
        is_same = ids == table.image_ids[mine]
        good = np.array([error is None for error in errors]) & is_same
        allowed = ~table.forbidden[mine]
        misses.num_rows += int((allowed & ~good).sum())
        for error, same, counts in zip(errors, is_same.tolist(), allowed.tolist(), strict=True):
            if not counts:
                continue
            if not same:
                reasons["other_image"] += 1
            elif error is not None:
                reasons[error_code(error)] += 1
        if good.any():
            kept = found.filter(pa.array(good))
            yield mine[good], pa.table({name: kept[f"{prefix}_{name}"] for name in columns})
    misses.reasons = dict(sorted(reasons.items()))


def _place(table: TrainingTable, position: int) -> tuple[int, int]:
    return int(table.shard[position]), int(table.row[position])


def _tensor(
    data: bytes | None, precision: str, shape: tuple[int, ...], folder: CacheFolder
) -> Tensor:
    """Return what the stage stored as bytes, in fp32.

    Raises:
        DatasetError: It has another length than its shape says.
    """
    kind = _TYPES[precision]
    if data is None or len(data) != int(np.prod(shape)) * kind.itemsize:
        found = "nothing" if data is None else f"{len(data)} bytes"
        message = (
            f"{folder.name}: a value of shape {shape} in {precision} has {found}; delete that "
            "folder and run the pipeline again"
        )
        raise DatasetError(message)
    # A copy, since a tensor may be written to and bytes may not.
    return torch.frombuffer(bytearray(data), dtype=kind).reshape(shape).float()
