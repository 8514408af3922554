"""Which pairs of preferred images a snapshot keeps, and why the others are out."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.errors import ConservationError, SnapshotError
from curation.fingerprint import digest
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS, SplitConfig
from curation.snapshot.current import hash_places
from curation.snapshot.decide import Decisions
from curation.snapshot.manifest import FileInfo, PairCounts
from curation.snapshot.materialize import nearest_buckets
from curation.snapshot.preference_table import Image, StatedPair, say
from curation.snapshot.read import snapshot_path
from curation.snapshot.split import SPLITS, TRAIN, VALIDATION, draw_splits
from curation.tables import column_digests, to_parquet
from schemas.preferences import PREFERENCES

FORMAT = "longtail-preferences-1"

SHARD_PAIRS = 1 << 16
"""Pairs of a file."""


@dataclass
class _Pair:
    """A pair on its way to a decision; `winner` and `loser` are rows of `Decisions`."""

    stated: StatedPair
    pair_id: bytes
    key: str
    winner: int
    loser: int
    split: str | None
    reason: str | None


def decide_pairs(
    dataset: Dataset, stated: Sequence[StatedPair], decisions: Decisions, config: SplitConfig
) -> pa.Table:
    """Decide about every pair; what comes out does not depend on the order of what goes in.

    A pair is kept where both images are, have sizes of one aspect bucket, and the split of its
    prompt leaks nothing: see docs/adr/0033.

    Returns:
        `PREFERENCES`, as many rows as `stated`.

    Raises:
        SnapshotError: A row names an image that the dataset does not know, or by a key that several
            have; or two different pairs have one id.
    """
    images = _find_images(dataset, stated, decisions)
    aspects = _Aspects(decisions, set(images.values()))
    splits = _prompt_splits([pair.prompt for pair in stated], config)
    pairs = []
    for pair in stated:
        key = prompt_key(pair.prompt)
        winner, loser = images[pair.winner], images[pair.loser]
        split = splits.get(key)
        reason = _own_reason(decisions, aspects, winner, loser, split)
        own = pair.pair_id or _pair_id(decisions, pair.prompt, winner, loser)
        pairs.append(_Pair(pair, own, key, winner, loser, split, reason))
    _check_ids(pairs)
    _contradictions(pairs)
    _duplicates(pairs)
    _seen_in_train(pairs)
    # Total but for rows that are the same in every column.
    pairs.sort(key=lambda pair: (pair.pair_id, pair.reason or "", *_strength(pair)))
    table = _table(decisions, pairs)
    if len(table) != len(stated):
        message = f"{len(stated)} pairs of preferences, but {len(table)} are kept or have a reason"
        raise ConservationError(message)
    return table


def prompt_key(prompt: str) -> str:
    """Return what prompts share that differ in case, white space or Unicode's forms only."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def pairs_digest(pairs: pa.Table) -> str:
    """Hash the values of a table of decided pairs: 32 hexadecimal characters."""
    return digest({"format": FORMAT, "columns": column_digests(pairs)})


def count_pairs(pairs: pa.Table) -> PairCounts:
    """Return where every pair went."""
    kept = pairs.filter(pairs["kept"])
    excluded = Counter(pairs["reason"].drop_null().to_pylist())
    splits = Counter(kept["split"].to_pylist())
    counts = PairCounts(
        pairs=len(pairs),
        excluded=dict(sorted(excluded.items())),
        kept=len(kept),
        splits={name: splits[name] for name in SPLITS},
        sources=dict(sorted(Counter(name or "" for name in kept["source"].to_pylist()).items())),
    )
    if counts.kept + excluded.total() != counts.pairs:
        message = f"{counts.pairs} pairs, but {counts.kept} kept and {excluded.total()} excluded"
        raise ConservationError(message)
    return counts


def write_pairs(dataset: Dataset, snapshot: str, pairs: pa.Table) -> dict[str, FileInfo]:
    """Put `preferences/`."""
    files = {}
    for number, start in enumerate(range(0, len(pairs), SHARD_PAIRS)):
        part = pairs.slice(start, SHARD_PAIRS)
        name, data = f"preferences/shard-{number:05d}.parquet", to_parquet(part)
        dataset.store.put(snapshot_path(snapshot, name), data)
        files[name] = FileInfo(
            num_bytes=len(data), num_rows=len(part), sha256=hashlib.sha256(data).hexdigest()
        )
    return files


# Images ----------------------------------------------------------------------------------------


def _find_images(
    dataset: Dataset, stated: Sequence[StatedPair], decisions: Decisions
) -> dict[Image, int]:
    """Return the row of each image that is named: the kept one where there is one."""
    named = {image for pair in stated for image in (pair.winner, pair.loser)}
    found = _by_id(decisions, [image for image in named if isinstance(image, bytes)])
    keys = {image for image in named if isinstance(image, str)}
    places = _places_of(dataset, keys) if keys else {}
    found |= _by_place(decisions, {k: p for k, (p, count) in places.items() if count == 1})
    for pair in stated:
        for side, image in (("winner", pair.winner), ("loser", pair.loser)):
            if image in found:
                continue
            if isinstance(image, bytes):
                fault = f"{image.hex()} is no image of {dataset.store.url}"
            elif image in places:
                fault = f"{image!r} is the key of {places[image][1]} files; name image_ids instead"
            else:
                fault = f"{image!r} is no key of a file of {dataset.store.url}"
            message = f"{say(pair.where)}: {side} {fault}"
            if image not in places:
                message += "; take the image in first, with `longtail run`"
            raise SnapshotError(message)
    return found


def _by_id(decisions: Decisions, wanted: Sequence[bytes]) -> dict[Image, int]:
    rows = decisions.rows
    buffers = [None, pa.py_buffer(np.ascontiguousarray(rows.image_id))]
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(rows), buffers)
    at = pc.index_in(ids, value_set=pa.array(wanted, pa.binary(16)))
    numbers = np.asarray(at.fill_null(-1).to_numpy(), np.int64)
    return _best(decisions, np.where(rows.has_id, numbers, -1), wanted)


def _by_place(decisions: Decisions, places: dict[str, bytes]) -> dict[Image, int]:
    rows = decisions.rows
    here = rows.place.astype(">u8").view("V16").ravel()
    buffers = [None, pa.py_buffer(here)]
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(rows), buffers)
    at = pc.index_in(ids, value_set=pa.array(list(places.values()), pa.binary(16)))
    return _best(decisions, np.asarray(at.fill_null(-1).to_numpy(), np.int64), list(places))


def _best(
    decisions: Decisions, numbers: NDArray[np.int64], wanted: Sequence[Image]
) -> dict[Image, int]:
    """Return for each of `wanted` its row: kept, else current, else the last."""
    rows = np.flatnonzero(numbers >= 0)
    order = np.lexsort((rows, decisions.rows.current[rows], decisions.kept[rows]))
    return {wanted[numbers[row]]: int(row) for row in rows[order]}


def _places_of(dataset: Dataset, keys: Collection[str]) -> dict[str, tuple[bytes, int]]:
    """Return for each key that is listed the hash of its place, and how many places have it."""
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[str, set[bytes]] = {}
    for state in dataset.ingests():
        for number in state.lists:
            listed = dataset.read_list(state.seq, number, ["source_name", "key", "ordinal"])
            listed = listed.filter(pc.is_in(listed["key"], value_set=wanted))
            columns = [listed[name].to_pylist() for name in ("source_name", "key", "ordinal")]
            hashes = hash_places(*columns).astype(">u8")
            for key, place in zip(columns[1], hashes, strict=True):
                found.setdefault(key, set()).add(place.tobytes())
    return {key: (min(places), len(places)) for key, places in found.items()}


class _Aspects:
    """The aspect bucket of rows, of the sizes that models are trained in.

    Args:
        decisions: Their sizes.
        rows: Which will be asked for.
    """

    def __init__(self, decisions: Decisions, rows: Collection[int]) -> None:
        places = np.array(sorted(rows), np.int64)
        facts = decisions.rows.facts.select(["width", "height"]).take(pa.array(places))
        known = np.asarray(pc.and_(facts["width"].is_valid(), facts["height"].is_valid()))
        facts = facts.filter(pa.array(known))
        width, height = (
            np.asarray(facts[name].to_numpy(), np.int64) for name in ("width", "height")
        )
        bucket = nearest_buckets(width, height, ERNIE_IMAGE_BUCKETS)
        self._of = dict(zip(places[known].tolist(), bucket.tolist(), strict=True))

    def of(self, row: int) -> int | None:
        """Return the bucket of a row; null where its size is not known."""
        return self._of.get(row)


# Reasons ---------------------------------------------------------------------------------------


def _prompt_splits(prompts: Sequence[str], config: SplitConfig) -> dict[str, str]:
    """Return the split of each prompt that is not empty, by `prompt_key`."""
    keys = sorted({key for key in map(prompt_key, prompts) if key})
    drawn = draw_splits([hashlib.sha256(key.encode()).digest() for key in keys], config)
    return {key: SPLITS[place] for key, place in zip(keys, drawn.tolist(), strict=True)}


def _own_reason(
    decisions: Decisions, aspects: _Aspects, winner: int, loser: int, split: str | None
) -> str | None:
    """Return why a pair is out whatever the other pairs are."""
    if split is None:
        return "no_prompt"
    if winner == loser:
        return "same_image"
    for side, row in (("winner", winner), ("loser", loser)):
        if not decisions.kept[row]:
            return f"{side}_not_kept"
    if aspects.of(winner) is None or aspects.of(loser) is None:
        return "no_size"
    if aspects.of(winner) != aspects.of(loser):
        return "bucket_mismatch"
    is_held_out = [SPLITS[decisions.split[row]] == VALIDATION for row in (winner, loser)]
    return "split_mismatch" if split == TRAIN and any(is_held_out) else None


def _check_ids(pairs: Sequence[_Pair]) -> None:
    first: dict[bytes, _Pair] = {}
    for pair in pairs:
        other = first.setdefault(pair.pair_id, pair)
        same = (pair.stated.prompt, pair.winner, pair.loser)
        if same != (other.stated.prompt, other.winner, other.loser):
            message = (
                f"{say(pair.stated.where)}: pair_id {pair.pair_id.hex()} is that of another pair, "
                f"in row {other.stated.where[1]} of {other.stated.where[0]}"
            )
            raise SnapshotError(message)


def _contradictions(pairs: Sequence[_Pair]) -> None:
    """Take out what is preferred both ways for one prompt: nobody knows who is right."""
    said = {(pair.key, pair.winner, pair.loser) for pair in pairs}
    for pair in pairs:
        if pair.reason is None and (pair.key, pair.loser, pair.winner) in said:
            pair.reason = "contradiction"


def _duplicates(pairs: Sequence[_Pair]) -> None:
    """Keep of what is said several times the one with the largest margin."""
    seen = set()
    for pair in sorted((p for p in pairs if p.reason is None), key=_strength):
        same = (pair.key, pair.winner, pair.loser)
        if same in seen:
            pair.reason = "duplicate"
        seen.add(same)


def _strength(pair: _Pair) -> tuple[float, str, str, bytes]:
    stated = pair.stated
    margin = -1.0 if stated.margin is None else stated.margin
    return -margin, stated.source or "", stated.prompt, pair.pair_id


def _seen_in_train(pairs: Sequence[_Pair]) -> None:
    """Take out held-out pairs of which an image is learnt from in another pair."""
    left = [pair for pair in pairs if pair.reason is None]
    learnt = {row for p in left if p.split == TRAIN for row in (p.winner, p.loser)}
    for pair in left:
        if pair.split == VALIDATION and {pair.winner, pair.loser} & learnt:
            pair.reason = "seen_in_train"


# The table -------------------------------------------------------------------------------------


def _pair_id(decisions: Decisions, prompt: str, winner: int, loser: int) -> bytes:
    content = _identity(decisions, winner) + _identity(decisions, loser) + prompt.encode()
    return hashlib.sha256(b"longtail-pair-1\0" + content).digest()[:16]


def _identity(decisions: Decisions, row: int) -> bytes:
    """Return a row's image_id, or the hash of its place where it was never taken in."""
    rows = decisions.rows
    known = rows.image_id[row] if rows.has_id[row] else rows.place[row].astype(">u8")
    return bytes(known.tobytes())


def _table(decisions: Decisions, pairs: Sequence[_Pair]) -> pa.Table:
    def image(row: int) -> bytes | None:
        return decisions.rows.image_id[row].tobytes() if decisions.rows.has_id[row] else None

    columns = {
        "pair_id": [pair.pair_id for pair in pairs],
        "prompt": [pair.stated.prompt for pair in pairs],
        "winner_image_id": [image(pair.winner) for pair in pairs],
        "loser_image_id": [image(pair.loser) for pair in pairs],
        "source": [pair.stated.source for pair in pairs],
        "margin": [pair.stated.margin for pair in pairs],
        "kept": [pair.reason is None for pair in pairs],
        "reason": [pair.reason for pair in pairs],
        "split": [pair.split for pair in pairs],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in PREFERENCES]
    return pa.Table.from_arrays(arrays, schema=PREFERENCES)
