"""The summary in a browser: readable, whole, and nothing leaves it."""

import json
import math
import random

import numpy as np
import pytest
import torch

from curation.storage import Store
from training.journal import Journal
from training.recipe import parse_recipe
from training.record import RECORD
from training.run import train
from training.summary import SUMMARY, write_summary

pytestmark = pytest.mark.slow

TOUCHING = """() => [...document.querySelectorAll("svg")].flatMap((drawing) => {
  const boxes = [...drawing.querySelectorAll("text")].map((text) =>
    ({ text: text.textContent, box: text.getBoundingClientRect() }));
  return boxes.flatMap((one, place) => boxes.slice(place + 1)
    .filter((two) => one.box.left < two.box.right && two.box.left < one.box.right
      && one.box.top < two.box.bottom && two.box.top < one.box.bottom)
    .map((two) => [drawing.getAttribute("aria-label"), one.text, two.text]));
})"""
OUTSIDE = """() => [...document.querySelectorAll("svg")].flatMap((drawing) => {
  const frame = drawing.getBoundingClientRect();
  return [...drawing.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map((text) => [drawing.getAttribute("aria-label"), text.textContent]);
})"""


@pytest.fixture(scope="module", params=["short", "long", "stopped"])
def url(request, corpus, tmp_path_factory):
    """A run of four steps; one of 200,000; one that stopped itself."""
    output = tmp_path_factory.mktemp("run")
    text = (
        f"name: toy\ndataset: {corpus.parent / 'dataset'}\noutput: {output}\n"
        "model: {preset: tiny, num_layers: 2}\n"
        "data: {edge_px: 32, batch: {size: 6}, micro_size: 6}\n"
        "loop: {steps: 4, log_every: 1}\n"
        "evaluation: {every: 2, prompts: [a red picture, a blue picture], steps: 2}\n"
    )
    train(parse_recipe(text, "toy.yaml"), device=torch.device("cpu"))
    if request.param != "short":
        pretend(output, 200_000 if request.param == "long" else 1234, request.param == "stopped")
    return (output / SUMMARY).as_uri()


def pretend(output, last, is_stopped):
    """Give a run the journal of a long one, with figures of every size."""
    record = json.loads((output / RECORD).read_text())
    record["recipe"]["loop"]["steps"] = 200_000
    (output / RECORD).write_text(json.dumps(record))
    rng = random.Random(0)
    journal = Journal(output, 4)
    every = max(last // 4000, 1)
    for step in range(5, last + 1, every):
        falling = 0.3 + 1.7 * math.exp(-step / (last / 6))
        figures = {"model/loss": falling * rng.uniform(0.8, 1.2), "model/lr": 1e-5}
        figures |= {
            f"model/loss_sigma_{n / 8:.3f}": falling * (n + 1) / 4 * rng.uniform(0.7, 1.3)
            for n in range(8)
        }
        figures |= {
            "model/grad_norm": rng.lognormvariate(0, 1.5),
            "model/grad_norm_max": rng.lognormvariate(2, 1.5),
            "model/steps": every,
            "model/accuracy": rng.random(),
            "tokens_per_s": rng.uniform(900_000, 1_100_000),
            "padding_share": rng.uniform(0.02, 0.2),
            "wait_share": rng.uniform(0, 0.01),
            "mfu": rng.uniform(0.39, 0.42),
            "hfu": rng.uniform(0.5, 0.55),
            "step_s": rng.uniform(1.1, 1.2),
            "device_memory_bytes": 120 << 30,
            "samples": 1024 * step,
            "epoch": step // 1000,
        }
        journal.write(step, figures)
    for step in range(5, last, max(last // 30, 1)):
        journal.picture(step, np.full((1024, 2052, 3), rng.randrange(256), np.uint8))
        looked = {f"held_out/loss_sigma_{n / 8:.3f}": rng.uniform(0.2, 2) for n in range(8)}
        journal.write(step, {"held_out/loss": rng.uniform(0.5, 0.6), **looked})
    if is_stopped:
        samples = [
            {
                "image_id": f"{n:032x}",
                "domain": "people/portraits" if n % 2 else "default",
                "loss": None if n < 2 else 9.0 / n,
                "sigma": 0.5,
                "is_finite": n >= 2,
            }
            for n in range(64)
        ]
        reason = f"step {last + 1:,}: the loss is nan and the gradient's norm nan; nothing changed"
        journal.event(last + 1, "stopped", {"reason": reason, "samples": samples})
    write_summary(Store(str(output)))


@pytest.mark.parametrize("width", [1320, 390])
def test_it_is_readable(browser, url, width):
    """Labels neither touch nor leave their drawing, nothing is wider than the window, no errors."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)

    assert page.evaluate(TOUCHING) == []
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert messages == []
    assert [r for r in requests if not r.startswith(("file:", "data:"))] == []
    context.close()


def test_it_has_two_themes(browser, url):
    """Dark where the system is, and where it is chosen."""
    found = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(url)
        for _ in range(2):
            found.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            page.locator("label", has=page.locator("#theme-dark")).click()
        context.close()
    light, *dark = found
    assert len(set(dark)) == 1
    assert light not in dark
