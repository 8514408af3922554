"""A snapshot's tables: the decisions about all rows, and the training rows among them."""

import hashlib
import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from curation.dataset import Dataset
from curation.errors import ConservationError
from curation.snapshot.captions import CaptionReader
from curation.snapshot.decide import Decisions, split_names
from curation.snapshot.manifest import FileInfo
from curation.snapshot.preferences import write_pairs
from curation.snapshot.read import snapshot_path
from curation.tables import conform, to_parquet
from schemas import dataset as layout
from schemas.decisions import DECISIONS
from schemas.training import TRAINING


def write_tables(
    dataset: Dataset,
    snapshot: str,
    decisions: Decisions,
    captions: CaptionReader,
    pairs: pa.Table | None = None,
) -> dict[str, FileInfo]:
    """Put `decisions/` and `data/`, one file each for a group of shards, and `preferences/`."""
    files: dict[str, FileInfo] = {}
    group = decisions.rows.shard // layout.SHARDS_PER_GROUP
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
    for start, stop in itertools.pairwise(bounds):
        name = f"part-{group[start]:05d}.parquet"
        table = _decisions_table(decisions, start, stop)
        kept = decisions.kept[start:stop]
        facts = decisions.rows.facts.slice(start, stop - start).filter(pa.array(kept))
        places = decisions.rows.shard[start:stop][kept], decisions.rows.row[start:stop][kept]
        facts = facts.append_column("captions", captions.read(*places))
        tables = {
            f"decisions/{name}": table,
            f"data/{name}": _training_table(table.filter(pa.array(kept)), facts),
        }
        for file, content in tables.items():
            data = to_parquet(content)
            dataset.store.put(snapshot_path(snapshot, file), data)
            files[file] = FileInfo(
                num_bytes=len(data), num_rows=len(content), sha256=hashlib.sha256(data).hexdigest()
            )
    written = {
        folder: sum(info.num_rows for file, info in files.items() if file.startswith(folder))
        for folder in ("decisions/", "data/")
    }
    if written != {"decisions/": len(group), "data/": int(decisions.kept.sum())}:
        message = f"snapshot {snapshot}: wrote {written} of {len(group)} rows"
        raise ConservationError(message)
    return files if pairs is None else files | write_pairs(dataset, snapshot, pairs)


def _decisions_table(decisions: Decisions, start: int, stop: int) -> pa.Table:
    rows = decisions.rows
    part = slice(start, stop)
    kept = decisions.kept[part]
    reason, reasons = rows.reasons.columns(start, stop)
    ids = [bytes(value) for value in rows.image_id[part]]
    columns: dict[str, Any] = {
        "shard": pa.array(rows.shard[part]),
        "row": pa.array(rows.row[part]),
        "image_id": pa.array(ids, pa.binary(16), mask=~rows.has_id[part]),
        "kept": pa.array(kept),
        "reason": reason,
        "reasons": reasons,
        "repeat": pa.array(decisions.repeat[part]),
        "weight": pa.array(decisions.weight[part], mask=~kept),
        "split": pa.array(split_names(decisions.split[part]), pa.string()),
        "category_path": rows.facts["category_path"].slice(start, stop - start).cast(pa.string()),
    }
    return conform(pa.table(columns), DECISIONS)


def _training_table(table: pa.Table, facts: pa.Table) -> pa.Table:
    """Return the training rows for the kept rows of a decisions table."""
    columns = {
        **{name: facts[name] for name in ("captions", "width", "height", "aesthetic_score")},
        **{name: table[name] for name in TRAINING.names if name in table.column_names},
    }
    return conform(pa.table(columns), TRAINING)
