"""How sure a taxonomy may be of itself: its temperature, from labelled vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.calibration import Cut, cut_for
from curation.errors import UsageError
from stages.categorize import fixed_point, kmeans
from stages.categorize.beam import Branches, search
from stages.categorize.taxonomy_file import OTHER

TEMPERATURES = (0.05, 50.0)
"""Where the temperature is looked for."""


@dataclass(frozen=True)
class Calibration:
    """What labelled vectors say of a taxonomy and its model.

    Attributes:
        temperature: That under which the labels are most likely.
        loss_before: Mean of -log of the labels' probability, at the temperature as configured.
        loss_after: The same at the one found.
        accuracy: Share of vectors whose best leaf lies below or at their label.
        cut: Threshold for the precision asked for; null where none reaches it.
        num_rows: Labelled vectors, those labelled `other` among them.
        num_other: Those.
    """

    temperature: float
    loss_before: float
    loss_after: float
    accuracy: float
    cut: Cut | None
    num_rows: int
    num_other: int


def calibrate(
    vectors: NDArray[np.float16],
    labels: Sequence[str],
    nodes: Sequence[tuple[str, int]],
    centers: NDArray[np.int16],
    *,
    logit_scale: float,
    temperature: float,
    beam: int,
    precision: float,
) -> Calibration:
    """Find the temperature, then the threshold.

    Args:
        vectors: (n, dimension), of `embed`.
        labels: For each the path of a category, a leaf's or an inner one's, or `other` where none
            fits: that moves the threshold only.
        nodes: Path and number of the parent of each node, as in the artefact.
        centers: (nodes, dimension), of the artefact.
        logit_scale: Of the model.
        temperature: As configured so far.
        beam: Likewise.
        precision: Share of the images that get a category which shall have the right one.

    Raises:
        UsageError: A label is no category, or none but `other` is there.

    Source: Guo et al. 2017, "On calibration of modern neural networks": one temperature for all,
        of least negative log-likelihood. Here that of a path, the product of softmaxes over
        siblings; it is convex in the inverse of the temperature.
    """
    from scipy.optimize import minimize_scalar

    place = {path: number for number, (path, _) in enumerate(nodes)}
    if unknown := sorted(set(labels) - set(place) - {OTHER}):
        message = f"{unknown[0]!r} is no category of this taxonomy; write a path or `{OTHER}`"
        raise UsageError(message)
    rows = kmeans.quantize(vectors)
    tree = Branches.make(centers, [parent for _, parent in nodes])
    known = np.array([label != OTHER for label in labels])
    if not known.any():
        message = f"every label is `{OTHER}`; the temperature needs images that have a category"
        raise UsageError(message)
    choices = _choices(rows[known], [place[x] for x in labels if x != OTHER], nodes, tree)

    def loss(log_temperature: float) -> float:
        return _loss(choices, logit_scale / np.exp(log_temperature)) / int(known.sum())

    bounds = tuple(np.log(TEMPERATURES))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    best_temperature = float(f"{np.exp(found.x):.3g}")
    factor = fixed_point.scale_factor(logit_scale / best_temperature)
    best = search(rows, tree, factor, beam)
    paths = [nodes[leaf][0] for leaf in best.leaf.tolist()]
    correct = np.array(
        [f"{path}/".startswith(f"{label}/") for path, label in zip(paths, labels, strict=True)]
    )
    scores = best.probability / fixed_point.ONE
    return Calibration(
        temperature=best_temperature,
        loss_before=loss(float(np.log(temperature))),
        loss_after=loss(float(np.log(best_temperature))),
        accuracy=float(correct[known].mean()),
        cut=cut_for(scores, correct, precision),
        num_rows=len(rows),
        num_other=int((~known).sum()),
    )


def _choices(
    rows: NDArray[np.int16],
    labels: Sequence[int],
    nodes: Sequence[tuple[str, int]],
    tree: Branches,
) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Return, for each parent on a label's path: the cosines of its children, and which is right.

    Shapes: (images below the parent, children) and (images,).
    """
    below: dict[int, list[tuple[int, int]]] = {}
    for row, node in enumerate(labels):
        while node >= 0:
            parent = nodes[node][1]
            below.setdefault(parent, []).append((row, node))
            node = parent
    wide = rows.astype(np.float64) / kmeans.UNIT
    found = []
    for parent, members in sorted(below.items()):
        children = tree.children(parent)
        mine = np.array([row for row, _ in members])
        right = np.array([node for _, node in members]) - children.start
        found.append((wide[mine] @ (tree.vectors[children].T / kmeans.UNIT), right))
    return found


def _loss(choices: list[tuple[NDArray[np.float64], NDArray[np.int64]]], scale: float) -> float:
    total = 0.0
    for cosines, right in choices:
        logits = scale * cosines
        highest = logits.max(axis=1)
        whole = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        total += float((whole - logits[np.arange(len(right)), right]).sum())
    return total
