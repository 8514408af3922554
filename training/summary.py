"""`summary.html`: what a run learnt so far, as one file that needs no server and no network.

It is made from the run's output alone, so it can be made while the run goes on, and of one that was
killed.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from curation.config import validate
from curation.errors import UsageError
from curation.pixels import PixelSpec, views
from curation.pixels.encode import encode_webp
from curation.report import wording
from curation.report.render import content_policy, make_environment, read_template
from curation.storage import Store
from training.charts import Chart, Points, draw_chart
from training.checkpoint import Checkpoints, step_folder
from training.journal import SAMPLES, read_lines, sample_step
from training.objectives.flow import NUM_BINS
from training.recipe import Recipe
from training.record import RECORD, read_record

SUMMARY = "summary.html"
SHEETS = 11
"""Sheets of pictures that are shown, spread evenly over the run."""

_PACKAGE = "training"
# Our own files: as large as the sampler made them.
_SHEET = PixelSpec(size_px=1600, fit="inside", filter="bicubic", max_pixels=(1 << 31) - 1)
_SMALL_PX = 640
_QUALITY = 86

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """Pictures that were drawn at a step.

    Attributes:
        step: The step.
        uri: `data:` URI.
        width: In pixels.
        height: In pixels.
        is_small: Whether it is enlarged without smoothing: its pictures are a few pixels wide.
        problem: Why it cannot be shown; else empty.
    """

    step: int
    uri: str
    width: int
    height: int
    is_small: bool
    problem: str = ""


@dataclass(frozen=True)
class Stop:
    """Why a run ended itself.

    Attributes:
        step: The step that was not made.
        reason: In words.
        samples: Its images, the worst first.
    """

    step: int
    reason: str
    samples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Summary:
    """The content of the page."""

    record: Mapping[str, Any]
    recipe: Recipe
    step: int
    stop: Stop | None
    figures: tuple[tuple[str, str], ...]
    losses: tuple[Chart, ...]
    devices: tuple[Chart, ...]
    others: tuple[Chart, ...]
    sheets: tuple[Sheet, ...]
    num_sheets: int
    checkpoints: tuple[tuple[int, bool], ...]
    commands: tuple[tuple[str, str], ...]
    data_link: str
    facts: Mapping[str, tuple[tuple[str, str], ...]]
    resolved: str

    @property
    def is_finished(self) -> bool:
        """Whether the last step was made."""
        return self.step >= self.recipe.loop.steps


def write_summary(store: Store) -> None:
    """Write `summary.html` into a run's output.

    Args:
        store: The output.

    Raises:
        UsageError: There is no run.
    """
    store.put(SUMMARY, render(make_summary(store)).encode())


def render(summary: Summary) -> str:
    """Return the page; every value in it is escaped, and it runs no script."""
    css = read_template("report.css", "curation.report") + read_template("summary.css", _PACKAGE)
    template = make_environment(_PACKAGE).get_template("summary.html.j2")
    return template.render(page=summary, css=Markup(css), policy=content_policy(css, None))


def make_summary(store: Store) -> Summary:
    """Collect what a run's output says.

    Raises:
        UsageError: There is no run.
    """
    record = read_record(store)
    if record is None:
        message = f"{store.url}: holds no {RECORD}, so no run; name the output of a recipe"
        raise UsageError(message)
    told = {**record["recipe"], **record["places"]}
    recipe = validate(Recipe, told, f"{store.uri(RECORD)}: recipe")
    lines = read_lines(store)
    figures = [line for line in lines if "event" not in line]
    step = max((line["step"] for line in figures), default=0)
    names = sorted(store.names(SAMPLES), key=sample_step)
    names = [name for name in names if sample_step(name) >= 0]
    series = _Series(figures)
    roles = [name.removesuffix("/steps") for name in series.names if name.endswith("/steps")]
    draw = _Drawing(series, max(step, 1))
    losses, devices = _losses(draw, roles), _devices(draw, roles, record)
    checkpoints = _checkpoints(store)
    return Summary(
        record=record,
        recipe=recipe,
        step=step,
        stop=_stop(lines),
        figures=_headline(record, series, roles, step),
        losses=losses,
        devices=devices,
        others=draw.rest(),
        sheets=tuple(_sheet(store, name) for name in _spread(names, SHEETS)),
        num_sheets=len(names),
        checkpoints=checkpoints,
        commands=_commands(store, recipe, [s for s, is_whole in checkpoints if is_whole]),
        data_link=_link(record["dataset"]),
        facts=_facts(record),
        resolved=yaml.safe_dump(record["recipe"], sort_keys=False, allow_unicode=True),
    )


class _Series:
    """The figures by name."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._found: dict[str, list[tuple[float, float]]] = {}
        for line in lines:
            for name, value in line.items():
                if name not in {"step", "time"} and isinstance(value, int | float):
                    self._found.setdefault(name, []).append((line["step"], value))

    @property
    def names(self) -> list[str]:
        return list(self._found)

    def get(self, name: str) -> Points:
        return self._found.get(name, ())

    def last(self, name: str) -> float | None:
        return self._found[name][-1][1] if name in self._found else None


class _Drawing:
    """Draws charts, and knows what was not drawn yet."""

    def __init__(self, series: _Series, last_step: int) -> None:
        self._series = series
        self._last = last_step
        self._used = {"samples", "epoch", "samples_per_s", "evaluation_s"}

    def chart(self, title: str, names: Mapping[str, str], *, size: float = 1, **how: Any) -> Chart:
        """Draw figures, by their names in words, in units of `size`."""
        self._used.update(names)
        points = {
            words: [(step, value / size) for step, value in self._series.get(name)]
            for name, words in names.items()
        }
        return draw_chart(title, points, last_step=self._last, **how)

    def levels(self, title: str, prefix: str, **how: Any) -> Chart:
        """Draw a loss by noise level, from data to noise."""
        names = sorted(name for name in self._series.names if name.startswith(f"{prefix}_sigma_"))
        starts = [float(name.rsplit("_", 1)[1]) for name in names]
        words = {
            name: f"{start:.3g}\N{EN DASH}{start + 1 / NUM_BINS:.3g}"
            for name, start in zip(names, starts, strict=True)
        }
        styles = [f"level{int(NUM_BINS * start)}" for start in starts]
        return self.chart(title, words, styles=styles, **how)

    def rest(self) -> tuple[Chart, ...]:
        """Draw what an objective measured besides, a chart each."""
        left = [
            name
            for name in self._series.names
            if name not in self._used and not name.endswith("/steps")
        ]
        return tuple(self.chart(name, {name: name}, may_be_log=False) for name in sorted(left))


def _losses(draw: _Drawing, roles: Sequence[str]) -> tuple[Chart, ...]:
    charts = []
    for role in roles or ["model"]:
        names = {f"{role}/loss": "training"}
        styles = ["line0"]
        if role == "model":
            names["held_out/loss"] = "held out, averaged weights"
            styles.append("line1")
        title = "Loss" if role == "model" else f"Loss of {role}"
        charts.append(draw.chart(title, names, styles=styles))
    nothing = "No held-out image was looked at yet."
    charts.append(draw.levels("Held-out loss by noise level", "held_out/loss", empty=nothing))
    for role in roles or ["model"]:
        whose = "" if role == "model" else f" of {role}"
        title = f"Training loss by noise level{whose}"
        charts.append(draw.levels(title, f"{role}/loss", columns=60, with_band=False))
    for role in roles or ["model"]:
        whose = "" if role == "model" else f" of {role}"
        names = {f"{role}/grad_norm_max": "largest", f"{role}/grad_norm": "mean"}
        charts.append(draw.chart(f"Gradient norm{whose}", names, note="Before it was scaled down."))
    rates = {f"{role}/lr": role for role in roles}
    charts.append(draw.chart("Learning rate", rates, from_zero=True, words="{:.3g}".format))
    return tuple(charts)


def _devices(draw: _Drawing, roles: Sequence[str], record: Line) -> tuple[Chart, ...]:
    shares: dict[str, Any] = {"from_zero": True, "words": _percent}
    unknown = (
        f"No peak is known of {record['device']} at this precision; state journal.peak_tflops."
    )
    charts = [
        draw.chart(
            "Useful tokens",
            {"tokens_per_s": "tokens/s"},
            unit="a second",
            from_zero=True,
            note="Image tokens, and text tokens that are no padding; all ranks together.",
        ),
        draw.chart("Time of a step", {"step_s": "seconds"}, unit="s", from_zero=True),
        draw.chart(
            "Lost to padding, and to waiting for data",
            {"padding_share": "padding, of all tokens", "wait_share": "waiting, of the time"},
            **shares,
        ),
        draw.chart(
            "Use of the devices",
            {"mfu": "MFU", "hfu": "HFU"},
            note="MFU counts useful tokens; HFU also padding and what is computed twice.",
            empty=unknown,
            **shares,
        ),
    ]
    memory = draw.chart(
        "Device memory",
        {"device_memory_bytes": "most in use, of any rank"},
        size=1 << 30,
        unit="GiB",
        from_zero=True,
    )
    return (*charts, memory) if memory.lines else tuple(charts)


def _headline(
    record: Line, series: _Series, roles: Sequence[str], step: int
) -> tuple[tuple[str, str], ...]:
    found = [("images", wording.count(record["num_images"]))]
    samples = series.last("samples")
    if samples is not None:
        found.append(("samples seen", wording.count(int(samples))))
        found.append(("epochs", f"{samples / record['num_visits']:,.2f}"))
    held_out = series.get("held_out/loss")
    if held_out:
        said = f"{held_out[-1][1]:.4g}"
        if len(held_out) > 1:
            said = f"{held_out[0][1]:.4g} → {said}"
        found.append(("held-out loss", said))
    found.append(("parameters", wording.count(record["num_parameters"])))
    steps = {s: n for role in roles for s, n in series.get(f"{role}/steps")}
    seconds = sum(steps.get(s, 0) * value for s, value in series.get("step_s"))
    if step:
        found.append(("time in steps", wording.duration(seconds)))
    return tuple(found)


def _stop(lines: Sequence[Line]) -> Stop | None:
    found = [line for line in lines if line.get("event") == "stopped"]
    if not found:
        return None
    return Stop(found[-1]["step"], found[-1]["reason"], tuple(found[-1]["samples"]))


def _checkpoints(store: Store) -> tuple[tuple[int, bool], ...]:
    """Return (step, whether it is whole) of what is there; the newest first."""
    whole = set(Checkpoints(store.url).steps())
    prefix = step_folder(0)[: -len("00000000")]
    there = {
        int(name.removeprefix(prefix))
        for name in store.names("")
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    }
    return tuple((step, step in whole) for step in sorted(there | whole, reverse=True))


def _commands(store: Store, recipe: Recipe, whole: Sequence[int]) -> tuple[tuple[str, str], ...]:
    output = shlex.quote(store.url)
    found = []
    if not whole:
        found.append(("begin anew, since there is no whole checkpoint", "longtail train RECIPE"))
    elif whole[0] < recipe.loop.steps:
        found.append((f"go on from step {whole[0]:,}", "longtail train RECIPE --resume"))
    if whole:
        prompt = shlex.quote(recipe.evaluation.prompts[0] if recipe.evaluation.prompts else "...")
        found.append(("draw", f"longtail generate {output} --prompt {prompt} --out drawn.png"))
        found.append(("hand on", f"longtail export {output}/{step_folder(whole[0])} FOLDER"))
    found.append(("make this page anew", f"longtail train-summary {output}"))
    return tuple(found)


def _facts(record: Line) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what the run is made of: heading -> names and values."""
    dataset = shlex.quote(record["dataset"])
    report = f"longtail report {dataset} --snapshot {record['snapshot']} -o snapshot.html"
    resumed = [f"step {r['step']:,} at {_moment(r['at'])}" for r in record["resumed"]]
    return {
        "data": (
            ("snapshot", record["snapshot"]),
            ("dataset's id", record["dataset_id"]),
            ("images", wording.count(record["num_images"])),
            ("visits an epoch", wording.count(record["num_visits"])),
            ("held out", wording.count(record["num_held_out"])),
            ("under a tombstone, so not learnt from", wording.count(record["num_forbidden"])),
            ("how they were chosen", report),
        ),
        **{
            {"codec": "images become latents", "text": "captions become features"}[part]: tuple(
                (name, str(value)) for name, value in identity.items()
            )
            for part, identity in record["encoders"].items()
        },
        "computed": (
            ("device", record["device"]),
            ("ranks", wording.count(record["num_ranks"])),
            ("began", _moment(record["began_at"])),
            ("gone on", "; ".join(resumed) or "never"),
            *record["versions"].items(),
            ("run", record["id"]),
        ),
    }


def _sheet(store: Store, name: str) -> Sheet:
    data = store.read(f"{SAMPLES}/{name}")
    (view,) = views(data, [_SHEET])
    if isinstance(view, str):
        return Sheet(sample_step(name), "", 0, 0, is_small=False, problem=view)
    height, width = view.pixels.shape[:2]
    is_small = width <= _SMALL_PX
    kind = "png" if is_small else "webp"
    shown = data if is_small else encode_webp(view.pixels, _QUALITY)
    uri = f"data:image/{kind};base64,{base64.b64encode(shown).decode()}"
    return Sheet(sample_step(name), uri, width, height, is_small)


def _spread(names: Sequence[str], most: int) -> list[str]:
    """Return at most so many, evenly, with the first and the last."""
    if len(names) <= most:
        return list(names)
    return [names[round(n * (len(names) - 1) / (most - 1))] for n in range(most)]


def _link(url: str) -> str:
    """Return what a browser opens; empty for a store that it does not know."""
    return "" if "://" in url else Path(url).absolute().as_uri()


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%"


def _moment(text: str) -> str:
    return text.replace("T", " ").replace("+00:00", " UTC")
