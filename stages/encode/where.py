"""Which rows are encoded: one SQL expression over columns of the row.

A predicate is written as those of a snapshot are, but a column is named by the stage that it comes
from, not by an instance: `aesthetic_score >= 40` is `aesthetic.score`, and `inputs:` says of which
instance where there are several. So its meaning does not depend on what instances are called.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.duck import connect, query
from curation.errors import ConfigError, QueryError
from curation.snapshot.expressions import ROWS, Expression, parse_expression
from schemas.images import IMAGES

_HIDDEN = frozenset({"image_bytes", "image_id", "row", "shard"})
"""Bytes are no metadata, and which image it is, or where it lies, is no property of it."""


class Where:
    """A checked predicate.

    Args:
        text: The SQL expression.

    Raises:
        SnapshotError: It is more than one expression over one row.
    """

    def __init__(self, text: str) -> None:
        self._expression: Expression = parse_expression("where", text, None, "where")

    @property
    def sql(self) -> str:
        """The expression, with whitespace outside quotes collapsed."""
        return self._expression.sql

    def reads(self) -> tuple[str, ...]:
        """Return the logical names of the columns that it reads.

        Raises:
            ConfigError: A column is neither of images nor named by a stage.
        """
        return tuple(_logical(name) for name in sorted(self._expression.columns))

    def check(self, types: Mapping[str, pa.DataType]) -> None:
        """Refuse a predicate that does not fit its columns.

        Args:
            types: Logical column -> type.

        Raises:
            ConfigError: It cannot be computed, or is not true or false.
        """
        # A row of nulls, so that what is constant is computed.
        row = pa.table({name: pa.nulls(1, types[name]) for name in self.reads()})
        try:
            found = self._run(row).type
        except QueryError as error:
            message = f"where: {error}"
            raise ConfigError(message) from error
        if not pa.types.is_boolean(found):
            message = (
                f"where: the expression is {found}, expected true or false; compare it with "
                "something"
            )
            raise ConfigError(message)

    def evaluate(self, rows: pa.Table) -> list[bool]:
        """Return for each row whether it is encoded; where the answer is null, it is not.

        Args:
            rows: Has the columns of `reads`, by logical name.

        Raises:
            QueryError: It cannot be computed for some value.
        """
        return [found is True for found in self._run(rows).to_pylist()]

    def _run(self, rows: pa.Table) -> Any:
        columns = {name: rows[_logical(name)] for name in sorted(self._expression.columns)}
        if not columns:
            columns["row"] = pa.chunked_array([pa.array(range(len(rows)), pa.int32())])
        with connect() as connection:
            connection.register(ROWS, pa.table(columns))
            # DuckDB gives rows of a registered table in their order on one thread.
            return query(connection, f"SELECT ({self.sql}) AS v FROM {ROWS}")["v"]


def _logical(name: str) -> str:
    """Return `<stage>.<column>` for a column as it is written in SQL."""
    if name in IMAGES.names and name not in _HIDDEN:
        return f"images.{name}"
    stage, _, column = name.partition("_")
    if name in _HIDDEN or not column:
        message = (
            f"where: {name} is no column that may be asked for; expected a column of images or "
            "STAGE_COLUMN, such as aesthetic_score"
        )
        raise ConfigError(message)
    return f"{stage}.{column}"
