"""Hierarchical sampling: shares for categories, then draws within each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.config import validate
from curation.snapshot.sampler import UNKNOWN_CATEGORY, Candidates, CategoryCount, Sample
from stages.sample.config import SampleConfig
from stages.sample.draws import draw_keys, inclusion_weights, round_weights, take_largest
from stages.sample.tree import Category, build_tree, share_out, walk


class HierarchicalSampler:
    """Sample over the category tree, the long tail first, better images likelier.

    From the root down, the children of one category share its draws by `n ** alpha *
    exp(gamma * z)`, none above its images times `repeat_cap`. A leaf that gets fewer draws than it
    has images draws that many different ones; a leaf that gets more keeps all of them and draws
    repeats with the rest. So no image is repeated while another of its category is left out.

    Source: the two levels (between and within categories) of the ERNIE-Image report
    (arXiv 2605.25347), which gives no formula. We deviate in that better images repeat more only
    once their category is used up.
    """

    def parse(self, value: Mapping[str, Any], where: str) -> SampleConfig:
        """Check the `sample:` section of a snapshot."""
        return validate(SampleConfig, value, where)

    def draw(self, config: SampleConfig, candidates: Candidates) -> Sample:
        """Choose at most `config.size` draws among `candidates`; their order does not matter."""
        total = min(config.size, len(candidates) * config.repeat_cap)
        if len(candidates) == 0:
            empty = np.zeros(0)
            return Sample(empty.astype(np.int32), empty, (), config.size)
        leaf, paths = _leaves(candidates)
        sizes = np.bincount(leaf, minlength=len(paths))
        num_scored = np.bincount(leaf[candidates.has_score], minlength=len(paths))
        score_sums = _exact_sums(leaf, candidates, len(paths))
        root = build_tree(
            {
                path: (int(sizes[i]), int(num_scored[i]), score_sums[i])
                for i, path in enumerate(paths)
            }
        )
        share_out(root, total, config)
        nodes = walk(root)
        by_path = {node.path.removesuffix("/"): node for node in nodes if not node.children}
        num_draws = np.array([by_path[path].num_draws for path in paths], np.int64)
        score = _filled_scores(leaf, candidates, num_scored, score_sums)
        repeat, weight = _draw_leaves(config, candidates, leaf, score, sizes, num_draws)
        chosen = np.bincount(leaf[repeat > 0], minlength=len(paths))
        tree = _report(nodes, {by_path[p].path: int(chosen[i]) for i, p in enumerate(paths)})
        return Sample(repeat, weight, tree, config.size - total)


def _leaves(candidates: Candidates) -> tuple[NDArray[np.int32], list[str]]:
    """Number the categories that have candidates, in order of their cleaned path."""
    cleaned = ["/".join(part for part in path.split("/") if part) for path in candidates.paths]
    slots = [path or UNKNOWN_CATEGORY for path in [*cleaned, ""]]
    used = np.bincount(candidates.category + 1, minlength=len(slots))
    # Slot -1 (no category) is counted first and stands last in `slots`.
    present = [*used[1:], used[0]]
    paths = sorted({path for path, count in zip(slots, present, strict=True) if count})
    numbers = {path: number for number, path in enumerate(paths)}
    lookup = np.array([numbers.get(path, -1) for path in slots], np.int32)
    return lookup[candidates.category], paths


def _exact_sums(leaf: NDArray[np.int32], candidates: Candidates, num_leaves: int) -> list[int]:
    sums = np.zeros(num_leaves, np.int64)
    np.add.at(sums, leaf, np.where(candidates.has_score, candidates.score, 0))
    return [int(value) for value in sums]


def _filled_scores(
    leaf: NDArray[np.int32],
    candidates: Candidates,
    num_scored: NDArray[Any],
    score_sums: list[int],
) -> NDArray[np.int64]:
    """Give images without a score the mean of their category, so that they are as likely as it."""
    sums = np.array(score_sums, np.int64)
    means = sums // np.maximum(num_scored, 1)
    return np.where(candidates.has_score, candidates.score, means[leaf])


def _draw_leaves(
    config: SampleConfig,
    candidates: Candidates,
    leaf: NDArray[np.int32],
    score: NDArray[np.int64],
    sizes: NDArray[Any],
    num_draws: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    ids = candidates.image_id
    keys = draw_keys(ids, score, config.temperature, config.seed)
    first, threshold = take_largest(leaf, keys, ids, np.minimum(num_draws, sizes))
    repeat = first.astype(np.int32)
    whole = num_draws >= sizes
    extra = np.flatnonzero((num_draws > sizes)[leaf])
    if len(extra):
        copies = range(1, config.repeat_cap)
        more_keys = [
            draw_keys(ids[extra], score[extra], config.temperature, config.seed, copy)
            for copy in copies
        ]
        items = np.tile(extra, len(copies))
        wanted = np.where(whole, num_draws - sizes, 0)
        taken, _ = take_largest(leaf[items], np.concatenate(more_keys), ids[items], wanted)
        np.add.at(repeat, items[taken], 1)
    weight = np.zeros(len(repeat))
    partial = first & ~whole[leaf]
    weight[partial] = inclusion_weights(
        score[partial], threshold[leaf[partial]], config.temperature
    )
    complete = whole[leaf] & first
    weight[complete] = round_weights(1.0 / repeat[complete])
    return repeat, weight


def _report(nodes: list[Category], chosen: dict[str, int]) -> tuple[CategoryCount, ...]:
    """Add up the chosen images from the leaves to the root."""
    totals: dict[str, int] = {}
    for node in reversed(nodes):
        below = sum(totals[child] for child in node.children)
        totals[node.path] = below if node.children else chosen[node.path]
    return tuple(
        CategoryCount(node.path, node.num_images, totals[node.path], node.num_draws)
        for node in nodes
    )
