"""The page that says what the evidence of the trainer found: all numbers are the results'."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.parts import Part
from benchmarks.evidence.shapes import OUTLINES, SHIFTS_PX, SIZES_PX
from curation.fingerprint import pretty_json

Result = dict[str, Any]

TARGETS = {
    "distance_over_floor": 0.02,
    "nll_from_true": 0.05,
    "validity": 0.97,
    "oracle_on_rendered": 0.999,
}
"""At most, at most, at least, at least: of the worst seed."""

_HEAD = """# Evidence: the trainer

`make evidence-train` writes this page and what lies in `train/` from runs that it keeps and goes on
with; none of the numbers was typed. Everything is trained by the trainer's own loop, objective,
draws, checkpoints and sampler; only the batches come from memory rather than from a snapshot.
"""

_RING = """## A ring of Gaussians

Eight Gaussians of deviation 0.15 on a ring of radius 2, even and odd modes are two classes; a small
net (three layers of {width}) is trained on {points:,} points, {steps:,} steps of {batch}, class
dropout {dropout:g}, sigma {law}, AdamW at {lr:g}, averaged weights. {samples:,} samples by
{sampler_steps} Euler steps, without guidance, beside data that was never trained on.

- *distance*: sliced Wasserstein-1 ({directions} directions), mean over {clouds} clouds of data;
  *floor*: the same between pairs of clouds of data.
- *NLL*: nats a point given its class, by the probability flow with the exact trace ({ode_steps}
  Heun steps); *true*: of the Gaussians themselves, on the same points.
- *valid*: within 3.5 deviations of a mode of the right class; *deviation*: around that mode.
"""

_SHAPES = """## Coloured shapes

Pictures of 32 x 32 px: one of four forms in one of six colours, {sizes} sizes, {places} places, on
a plain grey between two levels; the text says form and colour. The tiny transformer, {width} wide
({parameters:,} parameters), learns from {pictures:,} of them for {steps:,} steps of {batch}: text
dropout {dropout:g}, sigma {law} with shift {shift:g}, AdamW at {lr:g}, {schedule}; averages of
weights with decay {ema:g}. Encoders are the embedded ones: `{codec}`, which compresses nothing, and
`{text}`. Training took {minutes:.0f} minutes of one processor.

The oracle tries all {outlines} outlines by least squares and takes the nearest colour of the
palette. What it says of {held_out:,} rendered pictures, with noise of a deviation in levels of 0 to
255:
"""

_DRAWN = """
{drawn:,} pictures drawn from prompts that ask for each form in each colour as often, by
{sampler_steps} Euler steps, shift {shift:g}. *Explained* is the share of a picture's variance that
its best outline, in one colour on one ground, explains: 1 for a clean picture.
"""


_TOLD_APART = ("loop", "optimizer", "objective", "encoders")
"""Settings that are not put into a sentence by their own name."""


def write_page(
    parts: Sequence[Part], results: Mapping[str, Result], out: Path, pages: Path
) -> Path:
    """Write the page, the results and the pictures; return the page's file.

    Args:
        parts: What was run.
        results: Name of a part -> its result.
        out: Where the parts left their pictures.
        pages: Folder of the pages.
    """
    folder = pages / "train"
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for name in part.pictures:
            shutil.copyfile(out / part.name / name, folder / f"{part.name}-{name}")
    (folder / "results.json").write_bytes(pretty_json([results[part.name] for part in parts]))
    rings = [results[part.name] for part in parts if part.name.startswith("ring")]
    page = pages / "train.md"
    sections = [_HEAD, _ring(rings), _shapes(results["shapes"]), _conditions(results)]
    page.write_text("\n".join(sections), encoding="utf-8")
    return page


def summary(results: Mapping[str, Result]) -> dict[str, float]:
    """Return the figures that have targets: of the worst seed."""
    rings = [r["figures"] for name, r in results.items() if name.startswith("ring")]
    rendered = next(o for o in results["shapes"]["figures"]["oracle"] if o["noise"] == 0)
    return {
        "distance_over_floor": round(max(f["distance"] - f["floor"] for f in rings), 4),
        "nll_from_true": round(max(abs(f["nll"] - f["nll_true"]) for f in rings), 4),
        "validity": round(min(f["validity"] for f in rings), 4),
        "oracle_on_rendered": rendered["both"],
    }


def is_met(figures: Mapping[str, float]) -> bool:
    """Say whether every target is met."""
    return (
        figures["distance_over_floor"] <= TARGETS["distance_over_floor"]
        and figures["nll_from_true"] <= TARGETS["nll_from_true"]
        and figures["validity"] >= TARGETS["validity"]
        and figures["oracle_on_rendered"] >= TARGETS["oracle_on_rendered"]
    )


def _ring(rings: Sequence[Result]) -> str:
    settings = rings[0]["settings"]
    text = _RING.format(
        width=128,
        steps=settings["loop"]["steps"],
        lr=settings["optimizer"]["lr"],
        law=settings["objective"]["sigma"]["law"].replace("_", "-"),
        **{name: value for name, value in settings.items() if name not in _TOLD_APART},
    )
    rows = []
    for result in rings:
        f = result["figures"]
        rows.append(
            (
                str(result["settings"]["seed"]),
                f"{f['distance']:.3f}",
                f"{f['floor']:.3f}",
                f"{f['nll']:.3f}",
                f"{f['nll_true']:.3f}",
                f"{f['validity']:.3f}",
                f"{f['validity_true']:.3f}",
                f"{f['deviation']:.3f}",
                f"{f['deviation_true']:.3f}",
                f"{f['processor_seconds']} s",
            )
        )
    rows.append(
        (
            "target",
            f"<= floor + {TARGETS['distance_over_floor']:g}",
            "",
            f"within {TARGETS['nll_from_true']:g}",
            "",
            f">= {TARGETS['validity']:g}",
            *("",) * 4,
        )
    )
    header = (
        "seed",
        "distance",
        "floor",
        "NLL",
        "true",
        "valid",
        "of data",
        "deviation",
        "of data",
        "processor",
    )
    pictures = [f"![seed {r['settings']['seed']}](train/{r['part']}-samples.png)" for r in rings]
    return "\n".join([text, *_table(header, rows), "", *pictures, ""])


def _shapes(result: Result) -> str:
    settings, figures = result["settings"], result["figures"]
    text = _SHAPES.format(
        sizes=len(SIZES_PX),
        places=len(SHIFTS_PX) ** 2,
        outlines=len(OUTLINES),
        width=settings["model"]["hidden_size"],
        parameters=figures["parameters"],
        pictures=settings["pictures"],
        held_out=settings["held_out"],
        batch=settings["batch"],
        dropout=settings["dropout"],
        steps=settings["loop"]["steps"],
        lr=settings["optimizer"]["lr"],
        schedule=settings["optimizer"]["schedule"],
        ema=settings["optimizer"]["ema_decay"],
        codec=settings["codec"]["codec"],
        text=settings["text"]["encoder"],
        law=settings["objective"]["sigma"]["law"].replace("_", "-"),
        shift=settings["objective"]["sigma"]["shift"],
        minutes=figures["processor_seconds"] / 60,
    )
    names = ("form", "color", "both", "explained")
    oracle = _table(
        ("noise", "form", "colour", "both", "explained"),
        [(str(o["noise"]), *(f"{o[name]:.3f}" for name in names)) for o in figures["oracle"]],
    )
    drawn = _DRAWN.format(
        drawn=settings["drawn"],
        sampler_steps=settings["sampler_steps"],
        shift=settings["sampler_shift"],
    )
    table = _table(
        ("guidance", "form", "colour", "both", "explained"),
        [
            (f"{d['guidance']:g}", *(f"{d['all'][name]:.3f}" for name in names))
            for d in figures["drawn"]
        ],
    )
    last = figures["drawn"][-1]
    kinds = [
        (kind, name, *(f"{score[part]:.3f}" for part in names))
        for kind, key in (("form", "by_form"), ("colour", "by_color"), ("domain", "by_domain"))
        for name, score in last[key].items()
    ]
    by_kind = _table(
        ("", f"guidance {last['guidance']:g}", "form", "colour", "both", "explained"), kinds
    )
    losses = figures["held_out_loss"]
    curve = _table(
        ("step", *(f"{step:,}" for step, _ in losses)),
        [("held-out flow loss", *(f"{loss:.3f}" for _, loss in losses))],
    )
    return "\n".join(
        [
            text,
            *oracle,
            drawn,
            *table,
            "",
            *by_kind,
            "",
            *curve,
            "",
            f"Drawn, guidance {last['guidance']:g}, two of each prompt:",
            "",
            "![drawn](train/shapes-drawn.png)",
            "",
            "Rendered:",
            "",
            "![rendered](train/shapes-real.png)",
            "",
        ]
    )


def _conditions(results: Mapping[str, Result]) -> str:
    lines = [
        "## Conditions",
        "",
        "One torch thread. The load is that before a part's last start.",
        "",
    ]
    rows = [
        (name, c["date"], c["machine"], c["load"], c["versions"])
        for name, c in ((name, r["conditions"]) for name, r in results.items())
    ]
    return "\n".join([*lines, *_table(("part", "date", "machine", "load", "versions"), rows), ""])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
