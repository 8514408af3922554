"""Makes a calibration: one sigmoid for each probe that people labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.calibration import Cut, Platt, cut_for, fit_platt, log_loss, ranking
from curation.errors import UsageError
from stages.attributes.calibration import ProbeCalibration
from stages.attributes.probes import Probe

LEAST = 5
"""Labels of each kind that a probe needs."""

_YES = frozenset({"1", "yes", "y", "true"})
_NO = frozenset({"0", "no", "n", "false"})
_HIGHEST = 16.0  # float32 knows no probability between that of this logit and 1


@dataclass(frozen=True)
class ProbeFigures:
    """What became of one probe.

    Attributes:
        calibration: Its sigmoid.
        ranking: Area under the ROC curve: how well the probe puts yes above no.
        loss_before: Mean of -log of the right answers' probability, as the scores came.
        loss_after: The same, calibrated. Both on the labels that the sigmoid was fitted to.
        cut: The smallest probability above which a share of `precision` is yes; null for none.
    """

    calibration: ProbeCalibration
    ranking: float
    loss_before: float
    loss_after: float
    cut: Cut | None


def calibrate_probe(
    name: str,
    probe: Probe,
    values: Sequence[float],
    labels: Sequence[str],
    *,
    former: Platt,
    precision: float,
) -> ProbeFigures:
    """Fit the sigmoid of one probe.

    Args:
        name: The probe, for messages.
        probe: Its texts.
        values: What `attributes` wrote, for each image.
        labels: `1` or `0`, `yes` or `no`; empty where nobody said.
        former: The sigmoid that the values went through.
        precision: For the cut.

    Raises:
        UsageError: Labels that are neither, too few of one kind, or a probe that knows nothing.
    """
    answers = [_answer(name, label) for label in labels]
    given = np.array([answer is not None for answer in answers], bool)
    yes: NDArray[np.bool_] = np.array([answer for answer in answers if answer is not None], bool)
    positives, negatives = int(yes.sum()), int((~yes).sum())
    if min(positives, negatives) < LEAST:
        message = (
            f"{name}: {positives} images are labelled 1 and {negatives} are 0; expected at least "
            f"{LEAST} of each, and some 50 for a calibration that holds"
        )
        raise UsageError(message)
    written = np.asarray(values, np.float64)[given]
    logits = (_logit(written) - former.bias) / former.slope
    found = fit_platt(logits, yes)
    if not found.slope > 0:
        message = (
            f"{name}: tells the labels no better than chance (area under the curve "
            f"{ranking(logits, yes):.2f}); give it other texts, or leave it out of the file"
        )
        raise UsageError(message)
    slope, bias = float(f"{found.slope:.6g}"), float(f"{found.bias:.6g}")
    probabilities = Platt(slope, bias)(logits)
    return ProbeFigures(
        ProbeCalibration(
            texts=probe.digest(), slope=slope, bias=bias, positives=positives, negatives=negatives
        ),
        ranking(logits, yes),
        log_loss(written, yes),
        log_loss(probabilities, yes),
        cut_for(probabilities, yes, precision),
    )


def labelled_probes(names: Sequence[str], probes: Mapping[str, Probe], where: str) -> list[str]:
    """Return the probes that a labelled file has columns for.

    Raises:
        UsageError: It has none.
    """
    found = [name for name in probes if name in names]
    if not found:
        message = f"{where}: has no column called like a probe: {', '.join(probes)}"
        raise UsageError(message)
    return found


def _answer(name: str, label: str) -> bool | None:
    text = label.strip().casefold()
    if text in _YES:
        return True
    if text in _NO:
        return False
    if text:
        message = f"{name}: {label[:40]!r} is no answer; write 1 or 0, or leave it empty"
        raise UsageError(message)
    return None


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    return np.asarray(np.clip(logits, -_HIGHEST, _HIGHEST), np.float64)
