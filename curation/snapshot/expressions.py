"""SQL expressions of a user's, checked on DuckDB's own syntax tree before anything is read.

An expression is one value computed from one row. What is allowed is listed, and all else refused:
subqueries, aggregates, windows, table functions, parameters, `*`, and functions that DuckDB does
not call consistent, such as `random()` and `now()`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from curation.config import nearest
from curation.duck import connect, query, syntax_tree
from curation.errors import QueryError, SnapshotError

ROWS = "rows"
"""The table that expressions are over."""

_CLASSES = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "OPERATOR",
        "TYPE",
    }
)
"""Kinds of nodes that compute a value from a row."""

_WORDS = {
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column by number",
    "STAR": "`*`",
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
}

_TOKENS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\s+|--|/\*|\$|.""", re.DOTALL)
_ESCAPE_PREFIX = re.compile(r"(?:^|[^A-Za-z0-9_])[eE]$")


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        name: What it is called in errors and, for a predicate, in reasons.
        sql: Its text with whitespace outside quotes collapsed.
        columns: The columns that it reads.
    """

    name: str
    sql: str
    columns: frozenset[str]


def parse_expression(name: str, text: str, known: Collection[str] | None, where: str) -> Expression:
    """Check one expression.

    Args:
        name: Its name.
        text: SQL.
        known: The columns that it may read; null for any, where its reader refuses others.
        where: The path that errors begin with, for example `snapshot.where.size`.

    Raises:
        SnapshotError: It is not exactly one allowed expression over known columns.
    """
    sql = collapse_whitespace(text, where)
    try:
        # The line break ends nothing: comments are refused. It keeps DuckDB's places right.
        tree = syntax_tree(f"SELECT ({sql}\n) FROM {ROWS}")
    except QueryError as error:
        message = f"{where}: {error}; expected one SQL expression, such as inspect_width >= 512"
        raise SnapshotError(message) from error
    checker = _Checker(where, None if known is None else frozenset(known))
    checker.check(_only_value(tree, where), frozenset())
    return Expression(name, sql, frozenset(checker.columns))


def collapse_whitespace(text: str, where: str) -> str:
    """Put one space for each run of whitespace outside quotes, so that layout is no difference.

    Raises:
        SnapshotError: There is a comment, an E'' string or a `$`, whose ends this cannot tell.
    """
    parts: list[str] = []
    for token in _TOKENS.findall(text):
        if token.startswith("'") and _ESCAPE_PREFIX.search("".join(parts[-2:])):
            message = f"{where}: E'...' strings are refused; write the characters themselves"
            raise SnapshotError(message)
        if token in ("--", "/*"):
            message = f"{where}: comments are refused in SQL; write them in the YAML, after a #"
            raise SnapshotError(message)
        if token == "$":
            message = f"{where}: `$` is refused outside quotes; write the value itself"
            raise SnapshotError(message)
        parts.append(" " if token.isspace() else token)
    sql = "".join(parts).strip()
    if not sql:
        message = f"{where}: expected one SQL expression, found nothing"
        raise SnapshotError(message)
    return sql


def _only_value(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the one value that the statement selects, if it is the statement that we wrote."""
    nodes = [statement["node"] for statement in tree["statements"]]
    values = nodes[0].get("select_list", []) if len(nodes) == 1 else []
    if len(values) != 1 or not _is_plain(nodes[0]):
        message = f"{where}: expected one SQL expression, found more than that"
        raise SnapshotError(message)
    return dict(values[0])


def _is_plain(node: Mapping[str, Any]) -> bool:
    source = node.get("from_table", {})
    parts = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    return (
        node["type"] == "SELECT_NODE"
        and source.get("type") == "BASE_TABLE"
        and source.get("table_name") == ROWS
        and not any(node.get(part) for part in parts)
        and not node.get("cte_map", {}).get("map")
    )


class _Checker:
    """Walks a tree, refuses what is not allowed, and collects columns."""

    def __init__(self, where: str, known: frozenset[str] | None) -> None:
        self.where = where
        self.known = known
        self.columns: set[str] = set()

    def check(self, value: Any, bound: frozenset[str]) -> None:
        """Check a node or list of nodes; `bound` are the parameters of the lambdas around it."""
        if isinstance(value, list):
            for item in value:
                self.check(item, bound)
        if not isinstance(value, dict):
            return
        kind = value.get("class")
        if kind is not None and kind not in _CLASSES:
            self._refuse(_WORDS.get(kind, str(kind).lower()))
        if kind == "COLUMN_REF":
            self._column([str(name) for name in value["column_names"]], bound)
        elif kind == "FUNCTION":
            self._function(value)
        elif kind == "LAMBDA":
            bound = bound | _names(value["lhs"])
        for item in value.values():
            self.check(item, bound)

    def _refuse(self, what: str) -> None:
        message = (
            f"{self.where}: {what} is refused; a predicate is one expression over one row, "
            "the same whenever it is computed"
        )
        raise SnapshotError(message)

    def _column(self, names: list[str], bound: frozenset[str]) -> None:
        name = names[0].lower()
        if name in bound:
            return
        if self.known is not None and name not in self.known:
            hint = nearest(name, sorted(self.known))
            message = f"{self.where}: there is no column {'.'.join(names)}{hint}"
            raise SnapshotError(message)
        self.columns.add(name)

    def _function(self, node: Mapping[str, Any]) -> None:
        name = str(node["function_name"]).lower()
        if node.get("schema") or node.get("catalog"):
            self._refuse(f"{'.'.join(node['qualified_name']['path'])}()")
        if node.get("filter") or node.get("distinct") or node["order_bys"]["orders"]:
            self._refuse(f"an aggregate, {name}()")
        if reason := _function_fault(name):
            hint = nearest(name, _function_names()) if reason == "unknown" else ""
            self._refuse(f"{name}(), {_FAULTS[reason]}{hint},")


_FAULTS = {
    "unknown": "which DuckDB does not have",
    "many": "which reads or makes many rows",
    "inconsistent": "which may give another value each time",
}


def _names(tree: Any) -> frozenset[str]:
    """Return the parameters of a lambda from its left side: a name or a row of names."""
    if tree["class"] == "COLUMN_REF":
        return frozenset(str(name).lower() for name in tree["column_names"])
    return frozenset().union(*(_names(a["expression"]) for a in tree.get("arguments", [])))


@cache
def _functions() -> dict[str, list[dict[str, Any]]]:
    """Return what DuckDB says about each of its functions, one entry an overload."""
    with connect() as connection:
        table = query(
            connection,
            "SELECT DISTINCT function_name, function_type, stability, parameters, macro_definition "
            "FROM duckdb_functions() ORDER BY ALL",
        )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["function_name"].lower(), []).append(row)
    return found


@cache
def _function_names() -> list[str]:
    return sorted(name for name in _functions() if _function_fault(name) is None)


@cache
def _function_fault(name: str) -> str | None:
    """Return a key of `_FAULTS`, or null for a function of one row that is consistent."""
    overloads = _functions().get(name)
    if overloads is None:
        return "unknown"
    scalars = [o for o in overloads if o["function_type"] == "scalar"]
    macros = [o for o in overloads if o["function_type"] == "macro"]
    if not scalars and not macros:
        return "many"
    if any(o["stability"] != "CONSISTENT" for o in scalars):
        return "inconsistent"
    for macro in macros:
        checker = _Checker(name, frozenset(p.lower() for p in macro["parameters"]))
        try:
            tree = syntax_tree(f"SELECT ({macro['macro_definition']}) FROM {ROWS}")
            checker.check(_only_value(tree, name), frozenset())
        except (QueryError, SnapshotError):
            # A macro is as good as its definition; this one holds something that is refused.
            return "inconsistent"
    return None
