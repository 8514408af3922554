"""What a user's statement may do, decided on its syntax tree.

DuckDB's own settings are not enough: a `COPY` inside a `WITH` is parsed as a SELECT, and it may
overwrite every file that the statement is allowed to read. So the tree is walked whole and whatever
is not known to be a plain read is refused: query nodes, table references and table functions by
lists of what is allowed, scalar functions by a list of what is not.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation.config import nearest
from curation.errors import QueryError

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_REFERENCES = frozenset(
    {
        "BASE_TABLE",
        "EMPTY",
        "EXPRESSION_LIST",
        "JOIN",
        "PIVOT",
        "SHOW_REF",
        "SUBQUERY",
        "TABLE_FUNCTION",
    }
)
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
_REFUSED_FUNCTIONS = frozenset(
    {
        "current_setting",
        "currval",
        "getenv",
        "getvariable",
        "nextval",
        "setval",
        "sleep_ms",
        "write_log",
    }
)
"""They tell of the machine, wait, or write; everything else that is scalar only computes."""


@dataclass(frozen=True)
class Uses:
    """What a checked statement reads.

    Attributes:
        tables: Names of the offered tables that stand in it.
        words: Every name and string in it, in lower case; a column that is not among them is not
            read. Null where columns may be read without being named (`*`, PIVOT, ...).
    """

    tables: frozenset[str]
    words: frozenset[str] | None

    def may_read(self, column: str) -> bool:
        """Say whether the statement may read `column`."""
        return self.words is None or column.lower() in self.words


def check_tree(tree: Mapping[str, Any], offered: Collection[str]) -> Uses:
    """Check a syntax tree, as `json_serialize_sql` gives it, and say what it reads.

    Args:
        tree: The tree of one SELECT.
        offered: Names of the tables that it may read, in lower case.

    Raises:
        QueryError: It writes, or reads something other than the offered tables.
    """
    nodes = list(_nodes(tree))
    local = {name.lower() for node in nodes for name in _local_names(node)}
    tables = set()
    for node in nodes:
        _check_node(node)
        if node.get("type") == "BASE_TABLE":
            name = _table_name(node)
            if name in offered:
                tables.add(name)
            elif name not in local:
                message = (
                    f"there is no table {name!r}{nearest(name, list(offered))}; "
                    f"the tables are {', '.join(offered)}"
                )
                raise QueryError(message)
    references = [node for node in nodes if _is_reference(node)]
    structs = tables | local | {str(node["alias"]).lower() for node in references}
    if any(_reads_unnamed(node, structs) for node in nodes):
        return Uses(frozenset(tables), None)
    return Uses(frozenset(tables), frozenset(word.lower() for word in _words(tree)))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the tree; without recursion, so depth is no limit."""
    stack = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _words(tree: Any) -> Iterator[str]:
    stack = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _local_names(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that `WITH` gives to queries."""
    entries = node.get("cte_map") or {}
    for entry in entries.get("map", []):
        yield str(entry["key"])
    if "cte_name" in node:
        yield str(node["cte_name"])


def _table_name(node: Mapping[str, Any]) -> str:
    path = [str(part) for part in node["qualified_name"]["path"]]
    if len(path) > 1 and path[:-1] != ["main"]:
        message = f"{'.'.join(path)}: only the dataset's own tables can be read"
        raise QueryError(message)
    return path[-1].lower()


def _check_node(node: Mapping[str, Any]) -> None:
    kind = node.get("type")
    kind = kind if isinstance(kind, str) else ""
    if "info_type" in node or (kind.endswith("_NODE") and kind not in _QUERY_NODES):
        verb = kind.removesuffix("_NODE").removesuffix("_QUERY") or str(node.get("info_type"))
        message = f"{verb} is refused: a query may only read, so use SELECT throughout"
        raise QueryError(message)
    if _is_reference(node) and kind not in _REFERENCES:
        message = f"{kind} is refused: read tables, subqueries and joins of them"
        raise QueryError(message)
    if kind == "SHOW_REF" and node.get("query") is None:
        message = "SHOW is refused; `longtail show DATASET` lists the tables"
        raise QueryError(message)
    if node.get("at_clause") is not None:
        message = "AT is refused: the tables have one version"
        raise QueryError(message)
    if kind == "TABLE_FUNCTION":
        name = _function_name(node["function"])
        if name not in _TABLE_FUNCTIONS:
            allowed = ", ".join(sorted(_TABLE_FUNCTIONS))
            message = f"{name}() is refused: only the dataset's tables can be read, and {allowed}"
            raise QueryError(message)
    if node.get("class") == "FUNCTION" and _function_name(node) in _REFUSED_FUNCTIONS:
        message = f"{_function_name(node)}() is refused: a query sees the dataset's tables only"
        raise QueryError(message)
    if node.get("class") == "PARAMETER":
        message = "parameters are refused: write the value itself"
        raise QueryError(message)


def _is_reference(node: Mapping[str, Any]) -> bool:
    """Say whether `node` is something that stands behind FROM."""
    return "alias" in node and "sample" in node


def _function_name(node: Mapping[str, Any]) -> str:
    return str(node.get("function_name", "")).lower()


def _reads_unnamed(node: Mapping[str, Any], structs: Collection[str]) -> bool:
    """Say whether `node` may read columns that it does not name.

    A table's own name, used as a column, is the whole row as a struct.
    """
    names = node.get("column_names")
    return (
        node.get("class") in ("STAR", "POSITIONAL_REFERENCE")
        or node.get("type") == "PIVOT"
        or node.get("ref_type") in ("NATURAL", "POSITIONAL")
        or bool(node.get("column_name_alias"))
        or (isinstance(names, list) and len(names) == 1 and str(names[0]).lower() in structs)
    )
