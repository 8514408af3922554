"""Errors of a reference model on a snapshot's pairs, computed before a run that compares to them.

    meaning.json        what they are
    epoch-<n>.parquet   of pairs that are trained on, for the visits of one epoch
    held_out.parquet    of those that are not

In `snapshots/<id>/derived/reference_errors/<fingerprint>/`, beside the snapshot and no part of its
id. A file that is there is whole: of several ranks each
computes its share, and the first gathers and puts them. So the run itself needs no reference model
in memory, and computes what it would have with one.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from curation.config import Config, validate
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.fingerprint import FINGERPRINT_LENGTH, digest, pretty_json
from curation.snapshot.config import Bucket
from curation.snapshot.read import snapshot_path
from curation.tables import read_table, to_parquet
from schemas.preferences import REFERENCE_ERRORS
from training.data.preferences import PairSource, PairTable
from training.draws import SampleKey
from training.model import VelocityModel
from training.objectives.dpo import FrozenReference, Reference
from training.objectives.flow import SigmaConfig, draw_sigma
from training.ranks import rank, world_size

FORMAT = "longtail-reference-errors-1"

_MEANING = "meaning.json"
_CACHED_EPOCHS = 3
"""What an epoch leaves over comes in the next one, as a visit of the first."""


class ReferenceMeaning(Config):
    """Everything that decides what the errors are; its hash is the folder's name.

    Attributes:
        format: Version of this structure, of the draws and of the loss.
        reference: Digest of the reference's weights, or of whatever else says which model it is.
        codec: `LatentCodec.identity()`.
        text: `TextEncoder.identity()`.
        precision: In which the reference computes.
        sigma: Which noise levels are drawn.
        seed: Of the draws.
        buckets: Sizes in which pictures are shown, one for each aspect.
        captions: Which text is shown: the pair's prompt, always.
    """

    format: str = FORMAT
    reference: str
    codec: dict[str, Any]
    text: dict[str, Any]
    precision: str
    sigma: SigmaConfig
    seed: int
    buckets: tuple[Bucket, ...]
    captions: Literal["prompt"] = "prompt"

    def fingerprint(self) -> str:
        """Return the folder's name: 16 hexadecimal characters."""
        return digest(self.model_dump(mode="json"))[:FINGERPRINT_LENGTH]


def write_reference_errors(
    dataset: Dataset,
    snapshot: str,
    meaning: ReferenceMeaning,
    model: VelocityModel,
    source: PairSource,
    epochs: Iterable[int] = (0,),
) -> list[str]:
    """Compute and put what is not there yet, an epoch at a time.

    Every rank calls it with its own source; killed and called again it goes on with the epoch that
    it was at.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's whole id.
        meaning: What is computed; `meaning.seed` is the source's.
        model: The reference; it is not changed.
        source: The pairs of a split, without a reference of its own.
        epochs: Which epochs a run will visit. Of held-out pairs there is one, whatever is said.

    Returns:
        The files that were put.

    Raises:
        UsageError: An error is no number.
    """
    assert meaning.seed == source.seed, "the draws are the source's"
    folder = errors_folder(snapshot, meaning)
    if rank() == 0:
        value = pretty_json(meaning.model_dump(mode="json"))
        dataset.store.create(f"{folder}/{_MEANING}", value)
    put = []
    for epoch in (0,) if source.table.is_held_out else sorted(set(epochs)):
        name = f"{folder}/{_file(source.table.is_held_out, epoch)}"
        if _there(dataset, name):
            continue
        mine = _compute(FrozenReference(model), source, meaning.sigma, epoch)
        table = _gathered(mine)
        if table is not None:
            dataset.store.put(name, to_parquet(table))
        put.append(name)
    if world_size() > 1:
        dist.barrier()  # who goes on finds the files there
    return put


class ReferenceErrors:
    """Reads what `write_reference_errors` wrote, for `PairSource`.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's whole id.
        meaning: What the run needs.
        table: The pairs of which errors are wanted.

    Raises:
        UsageError: Nothing of that meaning was computed; says what else was, and how it differs.
    """

    def __init__(
        self, dataset: Dataset, snapshot: str, meaning: ReferenceMeaning, table: PairTable
    ) -> None:
        self._dataset = dataset
        self._folder = errors_folder(snapshot, meaning)
        self._is_held_out = table.is_held_out
        self._epochs: OrderedDict[int, dict[bytes, tuple[float, float, int]]] = OrderedDict()
        if not dataset.store.exists(f"{self._folder}/{_MEANING}"):
            raise UsageError(_nothing(dataset, snapshot, meaning))

    def require(self, epochs: Iterable[int]) -> None:
        """Refuse, before a run begins, epochs that were not computed.

        Raises:
            UsageError: Names the first of them.
        """
        for epoch in epochs:
            name = f"{self._folder}/{_file(self._is_held_out, epoch)}"
            if not self._dataset.store.exists(name):
                raise UsageError(self._missing(epoch))

    def of(self, keys: Sequence[SampleKey], numel: int) -> Tensor:
        """Return (B, 2) errors of winners and losers, fp32, for visits of pairs.

        Raises:
            UsageError: An epoch was not computed, or lacks a pair.
        """
        found = []
        for key in keys:
            known = self._epoch(key.epoch).get(key.image_id)
            if known is None:
                name = _file(self._is_held_out, key.epoch)
                message = (
                    f"{self._dataset.store.uri(self._folder)}/{name}: lacks pair "
                    f"{key.image_id.hex()}; delete the file and compute it again"
                )
                raise UsageError(message)
            if known[2] != numel:
                message = (
                    f"{self._dataset.store.uri(self._folder)}: errors of pair "
                    f"{key.image_id.hex()} are over {known[2]} elements, its latent has {numel}; "
                    "delete the folder and compute it again"
                )
                raise UsageError(message)
            found.append(known[:2])
        return torch.tensor(found).view(-1, 2)

    def _epoch(self, epoch: int) -> dict[bytes, tuple[float, float, int]]:
        if epoch in self._epochs:
            self._epochs.move_to_end(epoch)
            return self._epochs[epoch]
        name = f"{self._folder}/{_file(self._is_held_out, epoch)}"
        try:
            table = read_table(self._dataset.store, name)
        except FileNotFoundError as error:
            raise UsageError(self._missing(epoch)) from error
        columns = (table[c].to_pylist() for c in ("e_ref_win", "e_ref_lose", "numel"))
        values = zip(*columns, strict=True)
        self._epochs[epoch] = dict(zip(table["pair_id"].to_pylist(), values, strict=True))
        while len(self._epochs) > _CACHED_EPOCHS:
            self._epochs.popitem(last=False)
        return self._epochs[epoch]

    def _missing(self, epoch: int) -> str:
        names = [n for n in self._dataset.store.names(self._folder) if n.endswith(".parquet")]
        what = "held-out pairs were" if self._is_held_out else f"epoch {epoch} was"
        return (
            f"{self._dataset.store.uri(self._folder)}: {what} not computed, there are "
            f"{', '.join(names) or 'none'}; compute the reference's errors of it first"
        )


def errors_folder(snapshot: str, meaning: ReferenceMeaning) -> str:
    """Return where errors of a meaning lie."""
    return snapshot_path(snapshot, f"derived/reference_errors/{meaning.fingerprint()}")


def _file(is_held_out: bool, epoch: int) -> str:
    return "held_out.parquet" if is_held_out else f"epoch-{epoch:08d}.parquet"


def _there(dataset: Dataset, name: str) -> bool:
    """Say whether a file is there, as the first rank sees it: all must do the same."""
    seen = [dataset.store.exists(name)]
    if world_size() > 1:
        dist.broadcast_object_list(seen)
    return seen[0]


@torch.no_grad()
def _compute(
    reference: Reference, source: PairSource, sigma: SigmaConfig, epoch: int
) -> dict[str, list[Any]]:
    """Return this rank's share of an epoch, as columns."""
    columns: dict[str, list[Any]] = {field.name: [] for field in REFERENCE_ERRORS}
    for batch in source.epoch(epoch):
        sigma_B, noise_BCHW = draw_sigma(sigma, batch), batch.noise("noise")
        error_B2 = reference.errors(batch, sigma_B, noise_BCHW).cpu()
        counted = batch.weight_B.cpu() > 0
        for place in torch.nonzero(counted).flatten().tolist():
            key = batch.keys[place]
            win, lose = error_B2[place].tolist()
            row = (key.image_id, key.epoch, float(sigma_B[place]), win, lose)
            for name, value in zip(columns, (*row, batch.latent_BCHW[0].numel()), strict=True):
                columns[name].append(value)
    return columns


def _gathered(mine: dict[str, list[Any]]) -> pa.Table | None:
    """Return the shares of all ranks as one table by pair_id; null but for the first rank.

    Raises:
        UsageError: An error is no number, on every rank.
    """
    shares: list[dict[str, list[Any]]] = [mine]
    if world_size() > 1:
        shares = [{} for _ in range(world_size())]
        dist.all_gather_object(shares, mine)
    rows = sorted(row for share in shares for row in zip(*share.values(), strict=True))
    columns = zip(*rows, strict=True) if rows else ([] for _ in REFERENCE_ERRORS)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, REFERENCE_ERRORS, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=REFERENCE_ERRORS)
    for pair_id, _, sigma, win, lose, _ in rows:
        if not (abs(win) < float("inf") and abs(lose) < float("inf")):
            message = (
                f"pair {pair_id.hex()}: the reference's errors at noise level {sigma:.3f} are "
                f"{win} and {lose}, expected numbers; compute in fp32, or take another reference"
            )
            raise UsageError(message)
    return table if rank() == 0 else None


def _nothing(dataset: Dataset, snapshot: str, meaning: ReferenceMeaning) -> str:
    """Word that nothing of a meaning is there, and what differs of what is nearest to it."""
    root = snapshot_path(snapshot, "derived/reference_errors")
    wanted = meaning.model_dump(mode="json")
    others = []
    for name in dataset.store.names(root):
        path = f"{root}/{name}/{_MEANING}"
        if dataset.store.exists(path):
            value = json.loads(dataset.store.read(path))
            known = validate(ReferenceMeaning, value, dataset.store.uri(path))
            others.append(_differences(known.model_dump(mode="json"), wanted))
    where = f"snapshot {snapshot}: no errors of this reference were computed"
    if not others:
        return f"{where}; compute them first, or keep the reference in memory"
    nearest = min(others, key=lambda found: (len(found), found))
    return (
        f"{where}: the nearest of the {len(others)} that are there differ in {', '.join(nearest)}; "
        "compute them anew, or change the recipe back"
    )


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what differs, as `name (there X, here Y)`."""
    found = []
    for name in sorted(known.keys() | wanted.keys()):
        there, here = known.get(name), wanted.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            found += [f"{name}.{inner}" for inner in _differences(there, here)]
        elif there != here:
            found.append(f"{name} (there {there}, here {here})")
    return found
