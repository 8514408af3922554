"""What a sampler gets and gives: arrays, so that it knows nothing of files or shards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.config import Config

SCORE_SCALE = 10_000
"""Scores are integers in units of 1/10,000: sums of them are exact in any order."""

UNKNOWN_CATEGORY = "unknown"
"""The category of an image that has none."""


@dataclass(frozen=True)
class Candidates:
    """The images that a sampler may choose from, in any order: it must not matter.

    Attributes:
        image_id: uint8, (N, 16); no two are equal.
        category: int32, (N,); position in `paths`, -1 for an image without category.
        paths: Category paths, `/`-separated from the root of the tree down.
        score: int64, (N,); in units of 1 / `SCORE_SCALE`; 0 where there is none.
        has_score: bool, (N,).
    """

    image_id: NDArray[np.uint8]
    category: NDArray[np.int32]
    paths: tuple[str, ...]
    score: NDArray[np.int64]
    has_score: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image_id)


@dataclass(frozen=True)
class CategoryCount:
    """One node of the category tree before and after sampling.

    Attributes:
        path: From the root down; `""` is the root. `animal/` stands for the images that lie at
            `animal` itself where it also has categories below it.
        num_candidates: Images that could be chosen.
        num_chosen: Images chosen at least once.
        num_draws: Their repeats, added up.
    """

    path: str
    num_candidates: int
    num_chosen: int
    num_draws: int


@dataclass(frozen=True)
class Sample:
    """What a sampler chose.

    Attributes:
        repeat: int32, (N,); how often the image stands in one epoch, 0 where it was not chosen.
        weight: float64, (N,); sampling weight: `repeat * weight`, summed over any set of images,
            estimates without bias how many candidates the set had. 0 where not chosen.
        tree: Counts for every node of the category tree, parents before children, in order of path.
        num_missing: How many draws the candidates could not give, at most `repeat_cap` times each.
    """

    repeat: NDArray[np.int32]
    weight: NDArray[np.float64]
    tree: tuple[CategoryCount, ...] = field(default=())
    num_missing: int = 0


class Sampler(Protocol):
    """Chooses among the survivors of a snapshot; `stages.sample` has ours."""

    def parse(self, value: Mapping[str, Any], where: str) -> Config:
        """Check the `sample:` section; `where` is the path that errors begin with.

        Raises:
            ConfigError: A key is unknown or a value is wrong.
        """
        ...

    def draw(self, config: Any, candidates: Candidates) -> Sample:
        """Choose; a pure function of the configuration and the set of candidates."""
        ...


def count_categories(
    candidates: Candidates, repeat: NDArray[np.int32]
) -> tuple[CategoryCount, ...]:
    """Count before and after by category path as given, for snapshots without sampling."""
    num_paths = len(candidates.paths)
    slots = np.where(candidates.category < 0, num_paths, candidates.category)
    before = np.bincount(slots, minlength=num_paths + 1)
    chosen = np.bincount(slots[repeat > 0], minlength=num_paths + 1)
    draws = np.bincount(slots, weights=repeat, minlength=num_paths + 1)
    names = [*candidates.paths, UNKNOWN_CATEGORY]
    found = [
        CategoryCount(name, int(before[slot]), int(chosen[slot]), int(draws[slot]))
        for slot, name in enumerate(names)
        if before[slot]
    ]
    return tuple(sorted(found, key=lambda count: count.path))
