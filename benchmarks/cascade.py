"""A cascade against scoring every image, on corpora whose scores are all known.

    python -m benchmarks.cascade [--quick] [--images 200000] [--sample 4000]

What a cascade saves depends on how well the cheap scores tell the dear ones, and on how many images
are kept; so scores are drawn for several rank correlations and thresholds. `calibrated` finds its
band on a random sample that has both scores, as a user does, and promises that at most
`max changed` of the decisions differ. `exact` saves as much as can be without changing a single
decision of this corpus: it takes somebody who knew all scores before. Bands are as the stage writes
them, and decisions are made by DuckDB, with the predicate that the documentation gives.

The scores are made up. What a real pair of scorers saves, `longtail cascade` says.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from scipy.stats import norm, spearmanr

from benchmarks.conditions import print_conditions
from stages.aesthetic.cascade import INSIDE, Band, Scores, calibrate

CORRELATIONS = (0.3, 0.6, 0.8, 0.95)
KEPT_SHARES = (0.1, 0.5)
MAX_CHANGED = 0.01
CONFIDENCE = 0.95

DECISIONS = """
SELECT avg((band <> 'inside')::INT) AS saved,
  avg(((band = 'above' OR (band = 'inside' AND score >= $threshold)) <> (dear >= $threshold))::INT)
  AS changed
FROM corpus
"""


@dataclass(frozen=True)
class Outcome:
    """What one band did to one corpus."""

    correlation: float
    kept: float
    how: str
    band: Band | None
    saved: float
    changed: float


def main() -> int:
    """Measure and print; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="20,000 images, one correlation")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=4_000)
    arguments = parser.parse_args()
    images = 20_000 if arguments.quick else arguments.images
    correlations = CORRELATIONS[2:3] if arguments.quick else CORRELATIONS
    print_conditions(
        images=images,
        sample=arguments.sample,
        max_changed=MAX_CHANGED,
        confidence=CONFIDENCE,
    )
    outcomes = [
        outcome
        for correlation in correlations
        for outcome in measure(correlation, images, arguments.sample)
    ]
    print("| rank correlation | kept | band | after | not scored by the model | changed |")
    print("| ---: | ---: | --- | --- | ---: | ---: |")
    for o in outcomes:
        after = "none" if o.band is None else o.band.model_dump_json(exclude_none=True)
        print(
            f"| {o.correlation:.2f} | {o.kept:.0%} | {o.how} | `{after}` | {o.saved:.1%} | "
            f"{o.changed:.3%} |"
        )
    print()
    worst = {
        how: max(o.changed for o in outcomes if o.how == how) for how in ("calibrated", "exact")
    }
    targets = {"calibrated_changed": MAX_CHANGED, "exact_changed": 0.0}
    met = worst["calibrated"] <= MAX_CHANGED and worst["exact"] == 0.0
    figures = {
        "calibrated_changed": worst["calibrated"],
        "exact_changed": worst["exact"],
        "saved": {f"{o.how} {o.correlation:.2f} {o.kept:.2f}": round(o.saved, 4) for o in outcomes},
    }
    print(json.dumps({"benchmark": "cascade", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


def measure(correlation: float, images: int, sample: int) -> Iterator[Outcome]:
    """Draw a corpus and decide on it by two bands for each threshold."""
    cheap, dear = corpus(correlation, images)
    found = float(spearmanr(cheap, dear).statistic)
    drawn = np.random.default_rng(1).choice(images, sample, replace=False)
    for kept in KEPT_SHARES:
        threshold = round(float(np.quantile(dear, 1 - kept)), 2)
        calibrated = calibrate(
            cheap[drawn],
            dear[drawn],
            threshold,
            max_changed=MAX_CHANGED,
            confidence=CONFIDENCE,
        )
        for how, band in (
            ("calibrated", calibrated.band),
            ("exact", exact_band(cheap, dear, threshold)),
        ):
            saved, changed = decide(band, cheap, dear, threshold)
            yield Outcome(found, kept, how, band, saved, changed)


def corpus(correlation: float, images: int) -> tuple[Scores, Scores]:
    """Draw cheap and dear scores with about this rank correlation, as columns store them."""
    rng = np.random.default_rng(0)
    pearson = 2 * np.sin(np.pi * correlation / 6)  # of the normal variables behind the ranks
    hidden = rng.normal(size=images)
    other = pearson * hidden + np.sqrt(1 - pearson**2) * rng.normal(size=images)
    return tuple(  # type: ignore[return-value]
        np.asarray(100 * norm.cdf(values), np.float32).astype(np.float64)
        for values in (other, hidden)
    )


def exact_band(cheap: Scores, dear: Scores, threshold: float) -> Band | None:
    """Return the narrowest band that changes no decision of this corpus."""
    passes = dear >= threshold
    least = float(cheap[passes].min())
    most = float(cheap[~passes].max())
    if least > most:
        least = most = (least + most) / 2
    units = 10_000  # to which the stage rounds
    return Band(least=np.floor(least * units) / units, most=np.ceil(most * units) / units)


def decide(band: Band | None, cheap: Scores, dear: Scores, threshold: float) -> tuple[float, float]:
    """Return the share of images that a band leaves out, and of decisions that it changes."""
    bands = [INSIDE if band is None else band.place(score) for score in cheap.tolist()]
    scores = [s if b == INSIDE else None for s, b in zip(dear.tolist(), bands, strict=True)]
    table = pa.table({"band": bands, "score": pa.array(scores, pa.float64()), "dear": dear})
    with duckdb.connect() as connection:
        connection.register("corpus", table)
        found = connection.execute(DECISIONS, {"threshold": threshold}).fetchone()
    assert found is not None
    saved, changed = found
    return float(saved), float(changed)


if __name__ == "__main__":
    raise SystemExit(main())
