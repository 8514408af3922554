"""What is looked at while a run goes on: held-out loss, and pictures for fixed prompts."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.stages import of_stage
from training.draws import SampleKey, draw_normals
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder, pad
from training.figures import MetricSums
from training.journal import Journal
from training.loop import Loop
from training.model import VelocityModel
from training.recipe import EvaluationConfig
from training.sampler import sample, sigmas

if TYPE_CHECKING:
    from training.run import Run

_COLUMNS = 8


class Evaluation:
    """Looks at a run with the averaged weights, where there are some.

    Args:
        run: The run.
        loop: Its loop.
        journal: Where pictures go.
    """

    def __init__(self, run: "Run", loop: Loop, journal: Journal) -> None:
        self._run = run
        self._loop = loop
        self._journal = journal

    def at(self, step: int) -> dict[str, float]:
        """Return the figures of a step, and leave its pictures in `samples/`."""
        begun = time.perf_counter()
        trained = self._loop.trained["model"]
        trained.module.eval()
        figures: dict[str, float] = {}
        if trained.ema is None:
            figures = self._figures(step)
        else:
            with trained.ema.applied():
                figures = self._figures(step)
        figures["evaluation_s"] = time.perf_counter() - begun
        figures["time"] = round(time.time(), 3)
        return figures

    def _figures(self, step: int) -> dict[str, float]:
        config = self._run.recipe.evaluation
        figures = self._held_out(config.images) if config.images else {}
        if config.prompts:  # on every rank: a sharded model draws on all of them or none
            run = self._run
            pixels = draw_pictures(
                self._loop.trained["model"].module,
                run.codec,
                run.texts,
                config,
                config.prompts,
                size=run.buckets[self._loop.stage][0],
                device=run.device,
            )
            self._journal.picture(step, contact_sheet(pixels))
        return figures

    @torch.no_grad()
    def _held_out(self, limit: int) -> dict[str, float]:
        """Return losses of held-out images, by noise level too.

        Draws are keyed by the image, so levels and noise are the same at every step: what changes
        between two evaluations is the model.
        """
        run, objective = self._run, self._loop.objective
        if not len(run.held_out):
            return {}
        sums = MetricSums()
        phase = objective.next_phase({})
        stage = self._loop.stage
        for batch in run.source(run.held_out, held_out=True, stage=stage).once(limit):
            metrics = objective.update(phase, of_stage(batch, run.stages[stage])).metrics
            sums.add({f"held_out/{name}": metric for name, metric in metrics.items()})
        return sums.close()


def draw_pictures(
    model: VelocityModel,
    codec: LatentCodec,
    texts: TextEncoder,
    config: EvaluationConfig,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    device: torch.device,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return (len(prompts), height, width, 3) pictures, the same for the same weights.

    Args:
        model: Predicts velocities.
        codec: Turns latents into pictures.
        texts: Turns prompts into features.
        config: The sampler's settings.
        prompts: Texts.
        size: Width and height in pixels.
        device: Where it computes.
        seed: Of the noise.
    """
    width, height = size
    keys = [SampleKey(0, number.to_bytes(16, "little"), 0) for number in range(len(prompts))]
    shape = (codec.channels, height // codec.stride, width // codec.stride)
    text_BTD, text_lens_B = pad(texts.encode(prompts, device))
    latent_BCHW = sample(
        model,
        draw_normals(seed, keys, "picture", shape).to(device),
        text_BTD,
        text_lens_B,
        texts.encode([""], device)[0],
        levels=sigmas(config.steps, config.shift),
        guidance=config.guidance,
    )
    return np.asarray(codec.decode(latent_BCHW).cpu().numpy(), np.uint8)


def contact_sheet(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures of one size side by side, eight to a row, on white."""
    count, height, width, _ = pixels.shape
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 4) - 4, columns * (width + 4) - 4, 3), 255, np.uint8)
    for number in range(count):
        top, left = number // columns * (height + 4), number % columns * (width + 4)
        sheet[top : top + height, left : left + width] = pixels[number]
    return sheet
