"""Thresholds that can be drawn: predicates that compare columns with numbers and nothing else."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from curation.snapshot.manifest import Predicate

_COMPARISON = r"\s*([a-z_][a-z0-9_]*)\s*(>=|<=|>|<)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*"
_WHOLE = re.compile(f"{_COMPARISON}(?:\\sAND\\s{_COMPARISON})*", re.IGNORECASE)
_EACH = re.compile(_COMPARISON, re.IGNORECASE)


@dataclass(frozen=True)
class Threshold:
    """One side of a column that a predicate leaves out.

    Attributes:
        predicate: Its name.
        column: The column on disk.
        operator: What a value must be to stay: `>=`, `>`, `<=` or `<`.
        value: The limit.
    """

    predicate: str
    column: str
    operator: str
    value: float

    @property
    def is_lower(self) -> bool:
        """Whether values below the limit are out."""
        return self.operator.startswith(">")


def find_thresholds(predicates: Iterable[Predicate]) -> dict[str, list[Threshold]]:
    """Return column -> its thresholds.

    A predicate counts only if it is comparisons joined by AND from end to end: of anything else a
    single line in a histogram would tell half the truth.
    """
    found: dict[str, list[Threshold]] = {}
    for predicate in predicates:
        if _WHOLE.fullmatch(predicate.sql):
            for column, operator, value in _EACH.findall(predicate.sql):
                threshold = Threshold(
                    predicate.name, column.lower(), operator, float(value.replace("_", ""))
                )
                found.setdefault(threshold.column, []).append(threshold)
    return found
