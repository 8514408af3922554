"""The funnel: where every row of a snapshot went, step by step, in the order of the decision."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curation.report.source import Source
from curation.snapshot import reasons as why
from curation.snapshot.manifest import SnapshotManifest

_MEANINGS = {
    why.SUPERSEDED: "a later row of the same file replaced it, or the file vanished",
    why.TOMBSTONED: "must never be used again",
    why.UNREADABLE: "the file could not be taken in",
    why.SPLIT_MOVED: "an earlier snapshot has it in the other split",
    why.DUPLICATE: "another image stands for its duplicate group",
    why.UNSAMPLED: "hierarchical sampling did not draw it",
}
_GROUP_MEANINGS = {
    "pending": "a stage has not seen its shard yet",
    "quarantined": "its shard was given up after three tries",
}
_ALWAYS = (why.DUPLICATE, why.UNSAMPLED)
"""Steps that are shown even where they take nothing, like the predicates."""


@dataclass(frozen=True)
class Step:
    """One step of the funnel.

    Attributes:
        reason: Its name in `decisions`.
        meaning: What it is, for steps that are no predicate.
        sql: The predicate; empty for other steps.
        entered: Rows before it.
        removed: Rows that it takes out, as the first reason that applies.
        unknown: Those of them for which the predicate was null.
        failing: All rows to which the reason applies, whatever else does.
        alone: Rows to which nothing else applies: what comes back without this step.
    """

    reason: str
    meaning: str
    sql: str
    entered: int
    removed: int
    unknown: int
    failing: int
    alone: int

    @property
    def left(self) -> int:
        """Rows after it."""
        return self.entered - self.removed

    @property
    def anchor(self) -> str:
        """Name of the reason as an HTML id."""
        return f"out-{self.reason.replace(':', '-')}"


@dataclass(frozen=True)
class Funnel:
    """Where every row went.

    Attributes:
        images: All listed rows.
        steps: The steps that took rows, and every predicate.
        clean: Names of other steps, which took none.
        kept: Rows that are left.
    """

    images: int
    steps: tuple[Step, ...]
    clean: tuple[str, ...]
    kept: int


def make_funnel(source: Source) -> Funnel | None:
    """Count the steps; null without a snapshot."""
    if source.manifest is None:
        return None
    manifest = source.manifest
    counted = source.ask(
        "SELECT reason, count(*) AS n, count(*) FILTER (WHERE alone) AS alone "
        "FROM (SELECT unnest(d.reasons) AS reason, len(d.reasons) = 1 AS alone "
        f"{source.decided}) GROUP BY reason"
    )
    failing = {row["reason"]: row["n"] for row in counted}
    alone = {row["reason"]: row["alone"] for row in counted}
    steps, clean = [], []
    left = manifest.conservation.images
    for reason, meaning, sql in _order(manifest):
        names = [reason, why.unknown(reason)] if sql else [reason]
        removed = sum(manifest.reasons.get(name, 0) for name in names)
        step = Step(
            reason,
            meaning,
            sql,
            entered=left,
            removed=removed,
            unknown=manifest.reasons.get(why.unknown(reason), 0) if sql else 0,
            failing=sum(failing.get(name, 0) for name in names),
            alone=sum(alone.get(name, 0) for name in names),
        )
        if removed or sql or reason in _ALWAYS:
            steps.append(step)
        else:
            clean.append(reason)
        left = step.left
    kept = manifest.conservation.kept
    assert left == kept, f"{left} rows are left of the funnel, {kept} are kept"
    return Funnel(manifest.conservation.images, tuple(steps), tuple(clean), kept)


def _order(manifest: SnapshotManifest) -> Iterator[tuple[str, str, str]]:
    """Yield (reason, meaning, SQL) in the order of the decision, unknown forms left out."""
    for reason in (why.SUPERSEDED, why.TOMBSTONED, why.UNREADABLE):
        yield reason, _MEANINGS[reason], ""
    for group, meaning in _GROUP_MEANINGS.items():
        found = _grouped(manifest.reasons, group)
        for reason in found or [group]:
            yield reason, meaning, ""
    for predicate in manifest.content.where:
        yield predicate.name, "", predicate.sql
    yield why.SPLIT_MOVED, _MEANINGS[why.SPLIT_MOVED], ""
    yield why.DUPLICATE, _MEANINGS[why.DUPLICATE], ""
    yield why.UNSAMPLED, _MEANINGS[why.UNSAMPLED], ""


def _grouped(reasons: Mapping[str, int], group: str) -> list[str]:
    return sorted(name for name in reasons if name.startswith(f"{group}:"))
