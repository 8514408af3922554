"""Evidence is resumable, and its page says what the runs found."""

import json

import pytest

from benchmarks.evidence import page
from benchmarks.evidence.parts import read_result, run_part
from benchmarks.evidence.ring_part import RingConfig, RingPart
from benchmarks.evidence.shapes_part import ShapesConfig, ShapesPart
from curation.errors import UsageError
from training.loop import Loop, LoopConfig
from training.model import ModelConfig


class KilledError(Exception):
    pass


def ring_part(**changes):
    loop = LoopConfig(steps=12, checkpoint_every=5, log_every=2)
    given = {"points": 256, "batch": 16, "samples": 200, "ode_steps": 3, "sampler_steps": 3}
    return RingPart(RingConfig(seed=0, loop=loop, clouds=1, **given | changes))


def shapes_part():
    return ShapesPart(
        ShapesConfig(
            pictures=64,
            held_out=16,
            batch=8,
            model=ModelConfig.model_validate({"preset": "tiny", "num_layers": 1}),
            loop=LoopConfig(steps=4, checkpoint_every=2, log_every=2),
            evaluate_every=2,
            drawn=24,
            sampler_steps=2,
        )
    )


def silent(line):
    pass


def stop_at(monkeypatch, step):
    """Let the loop be ended by a kill after a step."""
    run = Loop.run

    def killed(self, on_step):
        def after(now):
            on_step(now)
            if now == step:
                raise KilledError

        run(self, after)

    monkeypatch.setattr(Loop, "run", killed)


def test_a_part_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """Its figures are those of a part that never stopped, and its steps are not made again."""
    straight = run_part(ring_part(), tmp_path / "straight", silent)
    with monkeypatch.context() as context:
        stop_at(context, 7)
        with pytest.raises(KilledError):
            run_part(ring_part(), tmp_path / "stopped", silent)
    steps = []
    run = Loop.run

    def noted(self, on_step):
        steps.append(self.step)
        run(self, on_step)

    monkeypatch.setattr(Loop, "run", noted)

    resumed = run_part(ring_part(), tmp_path / "stopped", silent)

    assert steps == [5]
    for name, value in straight["figures"].items():
        if name != "processor_seconds":
            assert resumed["figures"][name] == value, name


def test_a_part_that_is_done_is_not_run_again(tmp_path, monkeypatch):
    """The second call gives the first one's result."""
    first = run_part(ring_part(), tmp_path, silent)
    monkeypatch.setattr(RingPart, "run", lambda self, folder: pytest.fail("ran again"))

    assert run_part(ring_part(), tmp_path, silent) == first


def test_other_settings_do_not_pass_for_these(tmp_path):
    """Results of other settings are refused in a sentence, done or not."""
    run_part(ring_part(), tmp_path, silent)

    with pytest.raises(UsageError, match="other settings"):
        run_part(ring_part(batch=32), tmp_path, silent)


def test_a_part_without_a_result_has_no_page(tmp_path):
    """Numbers are never left out in silence."""
    with pytest.raises(UsageError, match=r"result\.json"):
        read_result(ring_part(), tmp_path)


def test_the_page_says_what_was_found(tmp_path):
    """All parts, tiny: the page shows their figures and pictures, and judges by the worst seed."""
    parts = [ring_part(), shapes_part()]
    out, pages = tmp_path / "out", tmp_path / "pages"
    results = {part.name: run_part(part, out, silent) for part in parts}

    written = page.write_page(parts, results, out, pages).read_text(encoding="utf-8")

    assert f"{results['ring-0']['figures']['nll']:.3f}" in written
    assert f"{results['shapes']['figures']['drawn'][-1]['all']['both']:.3f}" in written
    for name in ("ring-0-samples.png", "shapes-drawn.png", "shapes-real.png"):
        assert (pages / "train" / name).exists()
        assert f"](train/{name})" in written
    kept = json.loads((pages / "train" / "results.json").read_text(encoding="utf-8"))
    assert kept == [results["ring-0"], results["shapes"]]
    losses = results["shapes"]["figures"]["held_out_loss"]
    assert [step for step, _ in losses] == [0, 2, 4]
    figures = page.summary(results)
    assert figures["oracle_on_rendered"] == 1.0
    assert not page.is_met(figures)  # 12 steps teach a ring nothing
