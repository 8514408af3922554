"""The first file of a shard stands: whoever comes second goes on with it.

Two workers may make the same file, as when one that was given up for lost is alive. What they make
may differ: in a row with a passing error, or in the last bit of a model's answer. Had the second
one replaced the file, what was computed from the first would not fit to it.
"""

from collections import Counter

import pyarrow as pa

from curation.dataset import Dataset
from curation.pipeline.tasks import StepResult
from curation.tables import BYTES, column_digest, create_table, file_digests, read_table
from schemas.error_codes import error_code


def count_errors(column: pa.ChunkedArray) -> dict[str, int]:
    """Return error code -> rows of a column with errors."""
    counts = Counter(error_code(text) for text in column.to_pylist() if text is not None)
    return dict(sorted(counts.items()))


def standing(dataset: Dataset, path: str, errors: str) -> StepResult:
    """Answer for a file that is there already.

    Args:
        dataset: Where it lies.
        path: The file.
        errors: Its column with errors.
    """
    column = read_table(dataset.store, path, [errors])[errors]
    return StepResult("done", len(column), count_errors(column))


def create_or_stand(
    dataset: Dataset, path: str, table: pa.Table, errors: str
) -> tuple[StepResult, bool]:
    """Write a file unless it is there.

    Args:
        dataset: Where it lies.
        path: The file.
        table: What to write.
        errors: Its column with errors.

    Returns:
        The result, of `table` or of the file that stands, and whether its values are `table`'s.
    """
    if create_table(dataset.store, path, table):
        return StepResult("done", len(table), count_errors(table[errors])), True
    own = {name: column_digest(table[name]) for name in table.column_names if name != BYTES}
    return standing(dataset, path, errors), file_digests(dataset.store, path) == own
