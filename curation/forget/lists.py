"""Taking words that came with forgotten images out of the work lists.

Where a source's lists hold captions and facts, ingest freezes them into its work lists. The lines
stay, with place and shard and row, and say no more than where an image was.
"""

from collections.abc import Callable, Iterator, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.ingest.entries import TEXT_COLUMNS
from curation.ingest.withhold import Mask, null_rows
from curation.tables import file_schema, read_table, write_table
from schemas import dataset as layout

_PLACE = ("source_name", "key", "ordinal")


def clean_lists(
    dataset: Dataset, rows: pa.Table, forbidden_in: Callable[[int], Mask], again: Set[str]
) -> Iterator[str]:
    """Null the words in the lines that rows were made from; yield each list that was put.

    Of what vanished the lines serve nothing but their place, so that of a list that is put none
    has words any more.

    Args:
        dataset: The dataset.
        rows: The rows that must be clean afterwards, as `forget.find.ROWS`.
        forbidden_in: Shard -> whether each of its rows is forbidden.
        again: Lists that this caller has put: they must be without all that is forbidden.
    """
    wanted = _row_numbers(rows)
    places = set(_places(rows, ("source_name", "source_key", "source_ordinal")))
    made = set(dataset.image_shards())
    for state in dataset.ingests():
        for number in state.lists:
            lines = dataset.read_list(state.seq, number, [*_PLACE, "shard", "row", *TEXT_COLUMNS])
            path = layout.list_path(state.seq, number)
            words = _with_words(lines)
            concerned = words & _concerned(lines, wanted, places)
            if path in again:
                concerned = words & _forbidden(lines, made, forbidden_in)
            if not concerned.any():
                continue
            table = read_table(dataset.store, path)
            here = _forbidden(lines, made, forbidden_in)
            for name in set(TEXT_COLUMNS) & set(file_schema(dataset.store, path).names):
                table = null_rows(table, name, here)
            write_table(dataset.store, path, table)
            yield path


def _row_numbers(table: pa.Table) -> np.ndarray:
    """Return shard and row in one integer; -1 where there are none."""
    shard, row = (
        table[name].cast(pa.int64()).fill_null(-1).to_numpy() for name in ("shard", "row")
    )
    return np.where(shard < 0, -1, (shard << 32) | row)


def _places(table: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _with_words(lines: pa.Table) -> Mask:
    valid = [np.asarray(lines[name].is_valid().to_numpy(), np.bool_) for name in TEXT_COLUMNS]
    return np.asarray(np.logical_or.reduce(valid))


def _concerned(lines: pa.Table, wanted: np.ndarray, places: set[tuple[object, ...]]) -> Mask:
    """Say which lines are of wanted rows, or tell that what was at one of the places vanished."""
    here = np.isin(_row_numbers(lines), wanted[wanted >= 0])
    gone = np.flatnonzero(lines["shard"].is_null().to_numpy())
    for line, place in zip(gone, _places(lines.take(pa.array(gone)), _PLACE), strict=True):
        here[line] = place in places
    return here


def _forbidden(lines: pa.Table, made: set[int], forbidden_in: Callable[[int], Mask]) -> Mask:
    """Say which lines are of forbidden rows, or of something that vanished."""
    here = np.asarray(lines["shard"].is_null().to_numpy(), np.bool_)
    shards = np.asarray(lines["shard"].fill_null(-1).to_numpy())
    rows = np.asarray(lines["row"].fill_null(0).to_numpy())
    for shard in set(pc.unique(lines["shard"].drop_null()).to_pylist()) & made:
        inside = shards == shard
        here[inside] = forbidden_in(shard)[rows[inside]]
    return here
