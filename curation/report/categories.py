"""The category tree before and after: what curation did to the long tail."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from curation import duck
from curation.report.category_names import CategoryNames, read_names
from curation.report.source import Source
from curation.snapshot.manifest import SnapshotManifest

HEAD_SHOWN = 10
"""Categories listed from either end; those between are listed on request."""

MIDDLE_SHOWN = 60
"""Categories listed of those between."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Category:
    """A leaf of the category tree.

    Attributes:
        path: From the root down.
        rank: Its place by size before, from 1.
        before: Images that could be chosen.
        kept: Images that were.
        draws: How often they stand in one epoch, added up.
    """

    path: str
    rank: int
    before: int
    kept: int
    draws: int

    @property
    def rate(self) -> float:
        """Draws for each image before."""
        return self.draws / self.before if self.before else 0.0


@dataclass(frozen=True)
class Spread:
    """How even the categories are, before or after.

    Attributes:
        total: Images or draws.
        num_present: Categories that have any.
        effective: Number of equal categories with the same entropy.
        largest_tenth: Share of the largest tenth of the categories, as ranked before.
        smallest_half: Share of the smaller half of them.
    """

    total: int
    num_present: int
    effective: float
    largest_tenth: float
    smallest_half: float


@dataclass(frozen=True)
class Categories:
    """The tree's leaves, the largest first, and what they say together.

    Attributes:
        leaves: All leaves, by rank.
        before: Their spread before.
        after: Their spread after; null without a snapshot.
        is_sampled: Whether a sampler chose, so that `before` are its candidates; otherwise all
            images that have a category.
        head: Leaves listed first.
        middle: Leaves listed on request.
        tail: Leaves listed last.
        num_skipped: Leaves between that are not listed at all.
        names: What they are called.
    """

    leaves: tuple[Category, ...]
    before: Spread
    after: Spread | None
    is_sampled: bool
    head: tuple[Category, ...]
    middle: tuple[Category, ...]
    tail: tuple[Category, ...]
    num_skipped: int
    names: CategoryNames = field(default_factory=CategoryNames)

    @property
    def shown(self) -> tuple[Category, ...]:
        """Every leaf that is listed."""
        return (*self.head, *self.middle, *self.tail)

    @property
    def most_before(self) -> int:
        """Size of the largest category before."""
        return self.leaves[0].before

    @property
    def most_draws(self) -> int:
        """The most draws of any category."""
        return max(leaf.draws for leaf in self.leaves)


def make_categories(source: Source) -> Categories | None:
    """Count the leaves; null where nothing has a category."""
    manifest = source.manifest
    is_sampled = manifest is not None and manifest.content.sample is not None
    if manifest is None:
        counts = _all_images(source)
    elif is_sampled:
        counts = _from_tree(manifest)
    else:
        counts = _from_decisions(source)
    named = [path for path in counts if path != UNKNOWN]
    if not named:
        return None
    order = sorted(counts, key=lambda path: (-counts[path][0], path))
    leaves = [Category(path, rank, *counts[path]) for rank, path in enumerate(order, start=1)]
    head, middle, tail = split(leaves)
    shown = _evenly(middle, MIDDLE_SHOWN)
    return Categories(
        tuple(leaves),
        measure_spread([leaf.before for leaf in leaves]),
        None if manifest is None else measure_spread([leaf.draws for leaf in leaves]),
        is_sampled,
        tuple(head),
        tuple(shown),
        tuple(tail),
        len(middle) - len(shown),
        read_names(source),
    )


def split(
    leaves: Sequence[Category],
) -> tuple[Sequence[Category], Sequence[Category], Sequence[Category]]:
    """Return head, middle and tail; a short list is all head."""
    if len(leaves) <= 2 * HEAD_SHOWN + 2:
        return leaves, (), ()
    return leaves[:HEAD_SHOWN], leaves[HEAD_SHOWN:-HEAD_SHOWN], leaves[-HEAD_SHOWN:]


def measure_spread(counts: Sequence[int]) -> Spread:
    """Measure how even counts are; they are ranked by size before.

    Source: the effective number is the exponential of Shannon's entropy (Hill 1973, order 1).
    """
    total = sum(counts)
    shares = [count / total for count in counts if count] if total else []
    entropy = -math.fsum(share * math.log(share) for share in shares)
    tenth = max(1, round(len(counts) / 10))
    half = len(counts) // 2
    return Spread(
        total,
        len(shares),
        math.exp(entropy) if shares else 0.0,
        sum(counts[:tenth]) / total if total else 0.0,
        sum(counts[len(counts) - half :]) / total if total else 0.0,
    )


def leaves_of(paths: Iterable[str]) -> list[str]:
    """Return the paths that have none below them; the root, `""`, is no leaf."""
    found = list(paths)
    parents = {path.rsplit("/", 1)[0] for path in found if "/" in path}
    return [path for path in found if path and path not in parents]


def _from_tree(manifest: SnapshotManifest) -> dict[str, tuple[int, int, int]]:
    nodes = manifest.categories
    return {
        path: (nodes[path].before, nodes[path].kept, nodes[path].draws) for path in leaves_of(nodes)
    }


def _from_decisions(source: Source) -> dict[str, tuple[int, int, int]]:
    """Count by category over all decisions: nothing was sampled, so this is what changed."""
    rows = source.ask(
        f"SELECT coalesce(d.category_path, {duck.text_literal(UNKNOWN)}) AS path, "
        "count(*) AS n, count(*) FILTER (WHERE d.kept) AS kept, sum(d.repeat)::BIGINT AS draws "
        f"{source.decided} AND (d.category_path IS NOT NULL OR d.kept) GROUP BY path"
    )
    return {row["path"]: (row["n"], row["kept"], row["draws"]) for row in rows}


def _all_images(source: Source) -> Mapping[str, tuple[int, int, int]]:
    column = source.column("categorize", "path")
    if column is None:
        return {}
    path = f"r.{duck.quoted(column)}"
    rows = source.ask(
        f"SELECT {path} AS path, count(*) AS n {source.scope} AND {path} IS NOT NULL GROUP BY path"
    )
    return {row["path"]: (row["n"], 0, 0) for row in rows}


def _evenly(leaves: Sequence[Category], most: int) -> Sequence[Category]:
    """Return at most `most` of them, at even distances."""
    if len(leaves) <= most:
        return leaves
    return [leaves[number * len(leaves) // most] for number in range(most)]
