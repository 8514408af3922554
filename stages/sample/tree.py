"""The category tree: how many draws each category gets."""

import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.sample.allocation import allocate
from stages.sample.config import SampleConfig

_WEIGHT_BITS = 64
"""Category weights are integers of this many bits below the heaviest sibling's."""

_EXACT = decimal.Context(prec=40, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
"""`decimal` defines exp and ln as correctly rounded, so that weights are equal on every machine;
the C library's differ in the last bit from one to the next."""


@dataclass
class Category:
    """A node of the tree.

    Attributes:
        path: `/`-separated; ends in `/` for the images that lie at an inner node itself.
        num_images: Candidates in it and below.
        num_scored: Those with a score.
        score_sum: The sum of their scores, exact.
        children: By path.
        num_draws: What `share_out` gave it.
    """

    path: str
    num_images: int = 0
    num_scored: int = 0
    score_sum: int = 0
    children: dict[str, "Category"] = field(default_factory=dict)
    num_draws: int = 0


def build_tree(leaves: Mapping[str, tuple[int, int, int]]) -> Category:
    """Build the tree over category paths, every image in exactly one leaf.

    Args:
        leaves: Path -> (images, images with a score, sum of their scores); no count of images is 0.

    Returns:
        The root, whose path is empty. Leaves of the tree carry the paths given, with `/` at the end
        where a category also has categories below it.
    """
    inner = {""}
    for path in leaves:
        parts = path.split("/")
        inner.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    root = Category("")
    for path, (num_images, num_scored, score_sum) in sorted(leaves.items()):
        parts = path.split("/")
        steps = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        if path in inner:
            steps.append(f"{path}/")
        node = root
        for step in ["", *steps]:
            if step:
                node = node.children.setdefault(step, Category(step))
            node.num_images += num_images
            node.num_scored += num_scored
            node.score_sum += score_sum
    return root


def share_out(root: Category, total: int, config: SampleConfig) -> None:
    """Give every category its draws, from the root down; siblings compete.

    `total` is at most `repeat_cap` times the images. A category never gets more than that of its
    own, and what it cannot take goes to its siblings.
    """
    root.num_draws = total
    waiting = [root]
    while waiting:
        node = waiting.pop()
        children = sorted(node.children.values(), key=lambda child: child.path)
        if not children:
            continue
        caps = [child.num_images * config.repeat_cap for child in children]
        weights = category_weights(children, config)
        for child, share in zip(children, allocate(node.num_draws, weights, caps), strict=True):
            child.num_draws = share
        waiting.extend(children)


def category_weights(siblings: list[Category], config: SampleConfig) -> list[int]:
    """Weigh the children of one parent against each other: `n ** alpha * exp(gamma * z)`.

    z is the category's mean score, standardised over the siblings that have scores; 0 for a
    category without, and where all means are equal. The heaviest gets 2 ** 64; whoever is 2 ** 64
    times lighter or more gets 1, so that nobody is shut out.

    Source: the ERNIE-Image report (arXiv 2605.25347) says only that the weight joins a category's
    size and its aggregate aesthetic quality; the formula is ours.
    """
    alpha = decimal.Decimal(config.category_exponent)
    gamma = decimal.Decimal(config.aesthetic_exponent)
    with decimal.localcontext(_EXACT):
        logs = [
            alpha * decimal.Decimal(node.num_images).ln() + gamma * decimal.Decimal(z)
            for node, z in zip(siblings, _standardized_means(siblings), strict=True)
        ]
        heaviest = max(logs)
        scale = decimal.Decimal(1 << _WEIGHT_BITS)
        return [max(1, int(((log - heaviest).exp() * scale).to_integral_value())) for log in logs]


def _standardized_means(siblings: list[Category]) -> list[float]:
    """Return z of each sibling's mean score.

    Division, `math.fsum` and `math.sqrt` are correctly rounded, so this too is equal everywhere.
    """
    means = {
        node.path: node.score_sum / node.num_scored for node in siblings if node.num_scored > 0
    }
    if len(means) < 2:
        return [0.0] * len(siblings)
    center = math.fsum(means.values()) / len(means)
    variance = math.fsum((mean - center) * (mean - center) for mean in means.values()) / len(means)
    if variance == 0:
        return [0.0] * len(siblings)
    spread = math.sqrt(variance)
    return [(means[n.path] - center) / spread if n.path in means else 0.0 for n in siblings]


def walk(root: Category) -> list[Category]:
    """List all nodes, parents before children, siblings in order of path."""
    found = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(sorted(node.children.values(), key=lambda c: c.path, reverse=True))
    return found
