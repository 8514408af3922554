"""Whether a run learnt anything: its held-out loss, and its pictures beside held-out ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curation.pixels import as_pillow
from training.data.captions import CaptionDraw
from training.draws import SampleKey, draw_bits
from training.evaluate import contact_sheet, draw_pictures
from training.journal import read_journal
from training.quality import low_pass, shuffled_pixels, sliced_wasserstein
from training.run import Run
from training.trained import load_trained

MOST = 0.5
"""Drawn pictures may be this far from held-out ones, beside pictures of shuffled pixels."""


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        first_loss: Held-out loss of the first evaluation.
        last_loss: Of the last one.
        distance: Sliced Wasserstein distance of drawn pictures to held-out ones, of their layout
            and colour alone.
        baseline: The same of held-out pictures with shuffled pixels.
        floor: The same of pictures of the training split, as many as are held out: what real
            pictures that were not copied reach. It falls as more are held out.
        num_pictures: Pictures drawn, one for each held-out image.
    """

    first_loss: float
    last_loss: float
    distance: float
    baseline: float
    floor: float
    num_pictures: int

    @property
    def has_fallen(self) -> bool:
        """Whether the held-out loss fell."""
        return self.last_loss < self.first_loss

    @property
    def is_near(self) -> bool:
        """Whether drawn pictures are near to real ones."""
        return self.distance <= MOST * self.baseline


def judge(run: Run, folder: Path) -> Verdict:
    """Judge the newest checkpoint of a run; leaves `drawn.png` and `held-out.png` in its output.

    Args:
        run: A run with a split of held-out images.
        folder: The run's output.
    """
    losses = [line["held_out/loss"] for line in read_journal(folder) if "held_out/loss" in line]
    trained = load_trained(str(folder), run.device)
    # All of them as squares: a few of one shape would say little.
    table = replace(run.held_out, aspect=np.zeros_like(run.held_out.aspect))
    square = list(range(len(table)))
    real = run.pictures(table, square)
    others = _some(run, len(square))
    drawn = draw_pictures(
        trained.model,
        trained.codec,
        trained.texts,
        run.recipe.evaluation,
        held_out_texts(run),
        size=trained.square,
        device=run.device,
    )
    as_pillow(contact_sheet(drawn)).save(folder / "drawn.png")
    as_pillow(contact_sheet(real)).save(folder / "held-out.png")
    shown = torch.from_numpy(real)
    features = low_pass(shown)
    return Verdict(
        losses[0],
        losses[-1],
        sliced_wasserstein(low_pass(torch.from_numpy(drawn)), features),
        sliced_wasserstein(low_pass(shuffled_pixels(shown)), features),
        sliced_wasserstein(low_pass(torch.from_numpy(others)), features),
        len(square),
    )


def held_out_texts(run: Run) -> list[str]:
    """Return a caption of each held-out image, of the kinds that the run was shown."""
    captions = run.recipe.data.captions.model_copy(update={"dropout": 0.0})
    draw = CaptionDraw(captions, run.recipe.seed)
    return [
        draw.draw(draw.usable(given or ()), SampleKey(0, image_id.tobytes(), 0))
        for given, image_id in zip(
            run.held_out.captions.to_pylist(), run.held_out.image_ids, strict=True
        )
    ]


def _some(run: Run, count: int) -> NDArray[np.uint8]:
    """Return `count` pictures of the training split as squares, or all where there are fewer."""
    table = replace(run.table, aspect=np.zeros_like(run.table.aspect))
    keys = [SampleKey(0, image_id.tobytes(), 0) for image_id in table.image_ids]
    order = sorted(
        range(len(keys)), key=lambda n: draw_bits(run.recipe.seed, keys[n], "beside held out")
    )
    return run.pictures(table, order[:count])
