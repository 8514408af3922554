"""What a run is, in `run.json` of its output: from its first moment, whatever becomes of it."""

import datetime as dt
import json
import uuid
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from curation.fingerprint import pretty_json
from curation.storage import Store
from training.model import count_parameters
from training.ranks import world_size

if TYPE_CHECKING:
    from training.run import Run

RECORD = "run.json"


def write_record(run: "Run", model: nn.Module, start: int | None) -> dict[str, Any]:
    """Write what a run is; return it.

    A run that goes on keeps its id; one that begins gets a new one, whatever the output held.

    Args:
        run: The run.
        model: What it trains.
        start: The step that it goes on from; null where it begins.
    """
    store = run.checkpoints.store
    before = read_record(store) if start is not None else None
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    record = {
        **run.facts(),
        "format": 1,
        "id": uuid.uuid4().hex[:12] if before is None else before["id"],
        "began_at": now if before is None else before["began_at"],
        "resumed": [] if before is None else [*before["resumed"], {"step": start, "at": now}],
        "num_images": len(run.table),
        "num_visits": int(run.table.repeats.sum()),
        "num_forbidden": int(run.table.forbidden.sum()),
        "num_held_out": len(run.held_out),
        "num_parameters": count_parameters(model),
        "num_ranks": world_size(),
        "device": _device(run.device),
        "versions": {name: metadata.version(name) for name in ("torch", "diffusers")},
    }
    store.put(RECORD, pretty_json(record))
    return record


def read_record(store: Store) -> dict[str, Any] | None:
    """Return what a run is; null where the output has none."""
    if not store.exists(RECORD):
        return None
    found: dict[str, Any] = json.loads(store.read(RECORD))
    return found


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
