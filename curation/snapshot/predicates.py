"""Expressions evaluated over the rows of a shard, by DuckDB."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.duck import connect, query
from curation.errors import QueryError, SnapshotError
from curation.snapshot.expressions import ROWS, Expression
from curation.snapshot.inputs import Sources
from curation.snapshot.sampler import SCORE_SCALE

_ORDER_LIMIT = 2.0**62
"""Larger values than this cannot be ordered as 64-bit integers."""


class Evaluator:
    """Evaluates checked expressions; use it in a `with`.

    Args:
        expressions: What is evaluated.
        sources: Which column comes from where.
    """

    def __init__(self, expressions: Iterable[Expression], sources: Sources) -> None:
        self._expressions = tuple(expressions)
        self._sources = sources
        self._connection: Any = connect()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def types(self) -> dict[str, pa.DataType]:
        """Bind the expressions against the columns' types and return name -> type of the value.

        Raises:
            SnapshotError: An expression does not fit the types of its columns.
        """
        found = {}
        for expression in self._expressions:
            names = ["row", *sorted(expression.columns - {"row"})]
            empty = self._sources.schema(names).empty_table()
            found[expression.name] = self._run([expression], empty).schema.field(0).type
        return found

    def evaluate(self, table: pa.Table, owners: Collection[str]) -> dict[str, pa.ChunkedArray]:
        """Return name -> values in the order of rows.

        Args:
            table: The rows of a shard, with the columns of `owners`.
            owners: Instances whose columns are there; what reads others is left out.

        Raises:
            SnapshotError: An expression cannot be computed for some value.
        """
        ready = [
            e
            for e in self._expressions
            if all(self._sources.owners[c] in owners for c in e.columns)
        ]
        if not ready:
            return {}
        columns = ["row", *sorted({c for e in ready for c in e.columns} - {"row"})]
        result = self._run(ready, table.select(columns))
        return {e.name: result.column(place) for place, e in enumerate(ready)}

    def _run(self, expressions: Sequence[Expression], table: pa.Table) -> pa.Table:
        self._connection.register(ROWS, _with_uuids(table))
        try:
            values = ", ".join(f"({e.sql}) AS v{place}" for place, e in enumerate(expressions))
            return query(self._connection, f"SELECT {values} FROM {ROWS}")
        except QueryError as error:
            name = expressions[0].name
            if len(expressions) > 1:
                # Find the one that fails, so that the sentence can name it.
                self._connection.unregister(ROWS)
                for expression in expressions:
                    self._run([expression], table)
                self._connection.register(ROWS, table)
            message = f"snapshot: {name}: {error}; TRY_CAST gives null where a CAST fails"
            raise SnapshotError(message) from error
        finally:
            self._connection.unregister(ROWS)


def check_boolean(types: dict[str, pa.DataType], names: Iterable[str]) -> None:
    """Refuse predicates that are not true or false.

    Raises:
        SnapshotError: Names the first one.
    """
    for name in names:
        if not pa.types.is_boolean(types[name]):
            message = (
                f"snapshot.where.{name}: the expression is {types[name]}, expected true or false; "
                "compare it with something"
            )
            raise SnapshotError(message)


def check_orderable(types: dict[str, pa.DataType], names: Iterable[str]) -> None:
    """Refuse orders that are not numbers.

    Raises:
        SnapshotError: Names the first one.
    """
    for name in names:
        kind = types[name]
        is_whole = pa.types.is_integer(kind) and kind != pa.uint64()
        if not (is_whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            message = f"{name}: the expression is {kind}, expected a number; CAST it to DOUBLE"
            raise SnapshotError(message)


def order_keys(values: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Return numbers as integers in the same order: whole ones as they are, others in 1e-4 units.

    Null comes out below everything.

    Raises:
        SnapshotError: A value is not finite or too large.
    """
    lowest = np.iinfo(np.int64).min
    if pa.types.is_integer(values.type):
        return np.asarray(pc.fill_null(values.cast(pa.int64()), lowest).to_numpy())
    found = np.asarray(pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy()) * SCORE_SCALE
    if not (np.abs(found) < _ORDER_LIMIT).all():
        message = f"{name}: a value is not finite or too large to be put in order"
        raise SnapshotError(message)
    null = np.asarray(pc.is_null(values).to_numpy())
    return np.where(null, lowest, np.rint(found).astype(np.int64))


def _with_uuids(table: pa.Table) -> pa.Table:
    """Show identifiers as what they are on disk and in SQL."""
    for place, field in enumerate(table.schema):
        if (field.metadata or {}).get(b"logical") == b"uuid":
            array = table.column(place).combine_chunks()
            chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
            storage = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in chunks]
            table = table.set_column(place, field.name, pa.chunked_array(storage, pa.uuid()))
    return table
