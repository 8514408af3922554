"""Taking captions of forgotten images, and prompts of their pairs, out of snapshots.

A scorer's pair has an image's caption for its prompt, so prompts go as captions do.
"""

import hashlib
from collections.abc import Callable, Iterator, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.ingest.withhold import Mask
from curation.snapshot.amendments import amend_file
from curation.snapshot.manifest import SnapshotManifest
from curation.snapshot.read import read_manifest, read_parts, snapshot_path
from curation.tables import from_parquet, read_table

_COLUMNS = ("shard", "row", "image_id", "captions")
_SIDES = ("winner_image_id", "loser_image_id")


def clean_captions(
    dataset: Dataset,
    snapshot: str,
    image_ids: pa.Array,
    forbidden_in: Callable[[int], Mask],
    again: Set[str],
    tombstones: str,
) -> Iterator[str]:
    """Empty what a snapshot keeps of forgotten images' words; yield each file that was put.

    That is `captions` in `data/`, and `prompt` in `preferences/` of pairs that name such an image,
    kept or not.

    Args:
        dataset: The dataset.
        snapshot: Its whole id.
        image_ids: The images that must be without captions afterwards.
        forbidden_in: Shard -> whether each of its rows is forbidden.
        again: Files that this caller has put: they must be without all that is forbidden.
        tombstones: File with the tombstones that ask for it.
    """
    made = set(dataset.image_shards())
    manifest = read_manifest(dataset, snapshot)
    for file in sorted(manifest.files):
        path = snapshot_path(snapshot, file)
        if file.startswith("preferences/") and dataset.store.exists(path):
            pairs = _Pairs(dataset, manifest, file, made, forbidden_in)
            if pairs.clean(image_ids, tombstones, is_again=path in again):
                yield path
        if not file.startswith("data/") or not dataset.store.exists(path):
            continue  # a file that is missing is for `verify_snapshot` to say
        facts = read_table(dataset.store, path, _COLUMNS)
        here = np.asarray(pc.is_in(facts["image_id"], image_ids).to_numpy(), np.bool_)
        if path in again:
            here |= _forbidden(facts, made, forbidden_in)
        if not _has_captions(facts, here):
            continue
        data = dataset.store.read(path)
        table = from_parquet(pa.BufferReader(data))
        here |= _forbidden(table, made, forbidden_in)
        index = table.schema.get_field_index("captions")
        field = table.schema.field(index)
        captions = pc.if_else(pa.array(here), pa.scalar([], field.type), table["captions"])
        table = table.set_column(index, field, captions)
        before = hashlib.sha256(data).hexdigest()
        amend_file(dataset, snapshot, file, before, table, tombstones)
        yield path


class _Pairs:
    """A file of a snapshot's `preferences/`; arguments as `clean_captions` has them."""

    def __init__(
        self,
        dataset: Dataset,
        manifest: SnapshotManifest,
        file: str,
        made: set[int],
        forbidden_in: Callable[[int], Mask],
    ) -> None:
        self._dataset = dataset
        self._manifest = manifest
        self._file = file
        self._made = made
        self._forbidden_in = forbidden_in

    def clean(self, image_ids: pa.Array, tombstones: str, *, is_again: bool) -> bool:
        """Null the prompts of pairs that name a forgotten image; say whether there were any."""
        path = snapshot_path(self._manifest.id, self._file)
        facts = read_table(self._dataset.store, path, (*_SIDES, "prompt"))
        if is_again:
            image_ids = self._with_forbidden(facts, image_ids)
        if not pc.any(_has_prompt(facts, image_ids)).as_py():
            return False
        data = self._dataset.store.read(path)
        table = from_parquet(pa.BufferReader(data))
        here = _has_prompt(table, self._with_forbidden(table, image_ids))
        index = table.schema.get_field_index("prompt")
        field = table.schema.field(index)
        prompts = pc.if_else(here, pa.scalar(None, field.type), table["prompt"])
        table = table.set_column(index, field, prompts)
        before = hashlib.sha256(data).hexdigest()
        amend_file(self._dataset, self._manifest.id, self._file, before, table, tombstones)
        return True

    def _with_forbidden(self, table: pa.Table, image_ids: pa.Array) -> pa.Array:
        """Return `image_ids` and all images of a table of pairs that are forbidden."""
        named = pa.concat_arrays([table[side].combine_chunks() for side in _SIDES])
        found = [image_ids]
        columns = ["shard", "row", "image_id"]
        for part in read_parts(self._dataset, self._manifest, "decisions", columns):
            part = part.filter(pc.is_in(part["image_id"], named.drop_null()))
            mask = _forbidden(part, self._made, self._forbidden_in)
            found.append(part["image_id"].filter(pa.array(mask)).combine_chunks())
        return pa.concat_arrays(found)


def _has_prompt(table: pa.Table, image_ids: pa.Array) -> pa.ChunkedArray:
    """Say which pairs name one of these images and have a prompt yet."""
    winner, loser = (pc.is_in(table[side], image_ids) for side in _SIDES)
    return pc.and_(pc.or_(winner, loser), table["prompt"].is_valid())


def _has_captions(facts: pa.Table, here: Mask) -> bool:
    lengths = pc.list_value_length(facts["captions"].filter(pa.array(here)))
    return bool(pc.any(pc.greater(lengths, 0)).as_py())


def _forbidden(table: pa.Table, made: set[int], forbidden_in: Callable[[int], Mask]) -> Mask:
    shards, rows = (np.asarray(table[name].to_numpy()) for name in ("shard", "row"))
    here = np.zeros(len(table), np.bool_)
    for shard in set(pc.unique(table["shard"]).to_pylist()) & made:
        inside = shards == shard
        here[inside] = forbidden_in(shard)[rows[inside]]
    return here
