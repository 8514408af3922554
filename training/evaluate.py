"""What is looked at while a run goes on: held-out loss, and pictures for fixed prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from curation.pixels import as_pillow
from training.draws import SampleKey, draw_normals
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder, pad
from training.loop import Loop, over_ranks
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
        folder: Where pictures go; null for none.
    """

    def __init__(self, run: "Run", loop: Loop, folder: Path | None) -> None:
        self._run = run
        self._loop = loop
        self._folder = folder

    def at(self, step: int) -> dict[str, float]:
        """Return the figures of a step, and leave its pictures in `samples/`."""
        trained = self._loop.trained["model"]
        trained.module.eval()
        figures: dict[str, float] = {}
        if trained.ema is None:
            figures = self._figures(step)
        else:
            with trained.ema.applied():
                figures = self._figures(step)
        return figures

    def _figures(self, step: int) -> dict[str, float]:
        config = self._run.recipe.evaluation
        figures = self._held_out(config.images) if config.images else {}
        run = self._run
        if config.prompts and run.checkpoints.store.is_local:
            # Every rank draws, even though one writes: a sharded model answers to all or to none.
            pixels = draw_pictures(
                self._loop.trained["model"].module,
                run.codec,
                run.texts,
                config,
                config.prompts,
                size=run.buckets[0],
                device=run.device,
            )
            if self._folder is not None:
                folder = self._folder / "samples"
                folder.mkdir(parents=True, exist_ok=True)
                as_pillow(contact_sheet(pixels)).save(folder / f"step-{step:08d}.png")
        return figures

    @torch.no_grad()
    def _held_out(self, limit: int) -> dict[str, float]:
        run, objective = self._run, self._loop.objective
        if not len(run.held_out):
            return {}
        sums: dict[str, list[float]] = {}
        phase = objective.next_phase({})
        for batch in run.source(run.held_out, held_out=True).once(limit):
            for name, metric in objective.update(phase, batch).metrics.items():
                total = sums.setdefault(f"held_out/{name}", [0.0, 0.0])
                total[0] += over_ranks(metric.total)
                total[1] += over_ranks(metric.weight)
        return {name: total / weight for name, (total, weight) in sums.items() if weight}


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
