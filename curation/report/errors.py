"""Rows without values: which codes each instance gave, how often, and where to look."""

from dataclasses import dataclass

from curation import duck
from curation.report.source import Source
from schemas.error_codes import ERROR_CODES

EXAMPLES = 3


@dataclass(frozen=True)
class ErrorCount:
    """One code of one instance.

    Attributes:
        instance: Who gave it; `source` is ingest.
        code: The code.
        is_transient: Whether `--retry-transient` may help.
        num_rows: Rows.
        text: The words of the first of them.
        keys: The first of them, by shard and row.
    """

    instance: str
    code: str
    is_transient: bool
    num_rows: int
    text: str
    keys: tuple[str, ...]


def count_errors(source: Source) -> list[ErrorCount]:
    """Count the errors of ingest and every instance, most frequent first within each."""
    columns = [("source", "source_error")]
    columns += [(i.name, f"{i.name}_error") for i in source.instances]
    found = []
    for instance, name in columns:
        if not source.has(name):
            continue
        error = f"r.{duck.quoted(name)}"
        place = "r.shard::BIGINT << 32 | r.row::BIGINT"
        rows = source.ask(
            f"SELECT split_part({error}, ':', 1) AS code, count(*) AS n, "
            f"arg_min({error}, {place}) AS example, "
            f"arg_min(r.source_key, {place}, {EXAMPLES}) AS keys "
            f"{source.scope} AND {error} IS NOT NULL GROUP BY code ORDER BY n DESC, code"
        )
        for row in rows:
            known = ERROR_CODES.get(row["code"])
            found.append(
                ErrorCount(
                    instance,
                    row["code"],
                    known is not None and known.transient,
                    row["n"],
                    row["example"].partition(": ")[2],
                    tuple(row["keys"]),
                )
            )
    return found
