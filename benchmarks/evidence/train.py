"""What the trainer learns where the truth is known: a ring of Gaussians, and rendered shapes.

    python -m benchmarks.evidence.train [--out evidence/train] [--report-only]

Each part trains with the trainer's own loop, from its newest checkpoint if it was stopped; a part
that is done is not run again. At the end `docs/evidence/train.md` is written from the results.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from curation.errors import LongtailError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and write the page; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("evidence/train"))
    parser.add_argument("--pages", type=Path, default=Path("docs/evidence"))
    parser.add_argument("--part", action="append", help="run these alone, and write no page")
    parser.add_argument("--report-only", action="store_true", help="run nothing, write the page")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from benchmarks.evidence.page import TARGETS, is_met, summary, write_page
    from benchmarks.evidence.parts import Part, read_result, run_part
    from benchmarks.evidence.ring_part import RingConfig, RingPart
    from benchmarks.evidence.shapes_part import ShapesConfig, ShapesPart

    torch.set_num_threads(1)
    parts: list[Part] = [RingPart(RingConfig(seed=seed)) for seed in range(3)]
    parts.append(ShapesPart(ShapesConfig()))
    chosen = [part for part in parts if not given.part or part.name in given.part]
    try:
        if not given.report_only:
            for part in chosen:
                run_part(part, given.out, say=lambda line: print(line, flush=True))
        if given.part:
            return 0
        results = {part.name: read_result(part, given.out) for part in parts}
    except LongtailError as error:
        print(error)
        return 2
    print(f"wrote {write_page(parts, results, given.out, given.pages)}")
    figures = summary(results)
    met = is_met(figures)
    print(
        json.dumps(
            {"benchmark": "evidence.train", "figures": figures, "targets": TARGETS, "met": met}
        )
    )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
