"""Evidence from rendered shapes: does the trainer learn to draw what a text says?

Shape suffixes: B batch, T text tokens, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.evidence import oracle, shapes
from benchmarks.evidence.parts import Figures
from benchmarks.evidence.runs import averaged, processor_seconds, seeded, train
from curation.config import Config
from curation.pixels import as_pillow
from training.data.memory import MemorySource
from training.data.plan import BatchConfig, Cursor
from training.encoders.latents import BlockDctConfig, LatentCodec, make_codec
from training.encoders.texts import HashedTokensConfig, TextEncoder, make_text_encoder, pad
from training.evaluate import contact_sheet
from training.journal import read_journal
from training.loop import Loop, LoopConfig
from training.model import Dit, ModelConfig, VelocityModel, count_parameters
from training.objectives.base import Phase
from training.objectives.flow import FlowConfig, FlowObjective, SigmaConfig
from training.optimizers import OptimizerConfig
from training.sampler import sample, sigmas

GRID = "drawn.png"
REAL = "real.png"
_CPU = torch.device("cpu")
_LOSS = "held_out/loss"
_TIMES = 2  # bigger, so that a page shows the pixels


class ShapesConfig(Config):
    """The training and the measurement.

    Attributes:
        seed: Of the pictures, the first weights, the order and the draws.
        pictures: Pictures that are trained on.
        held_out: Pictures for the loss and for the oracle's own test.
        batch: Pictures of a step.
        dropout: Share of pictures that are shown without their text.
        model: What is trained.
        codec: Pictures to latents.
        text: Texts to features.
        objective: What is minimised.
        optimizer: How.
        loop: How long.
        evaluate_every: Steps between held-out losses.
        drawn: Pictures drawn for each guidance; every pair of colour and form as often.
        sampler_steps: Euler steps of a picture.
        sampler_shift: Of the sampler's levels.
        guidances: Strengths of guidance that are tried; the last one is the one that is stated.
        noises: Deviations of noise, in levels of 0 to 255, that the oracle is tried under.
    """

    seed: int = 0
    pictures: int = 8192
    held_out: int = 1024
    batch: int = 32
    dropout: float = 0.1
    model: ModelConfig = ModelConfig.model_validate(
        # Wider than the codec's 192 channels: a narrower one cannot even pass the noise through.
        {"preset": "tiny", "hidden_size": 256, "num_attention_heads": 8, "ffn_hidden_size": 512}
    )
    codec: BlockDctConfig = BlockDctConfig()
    text: HashedTokensConfig = HashedTokensConfig()
    # What a picture shows is decided where most is noise, for its 3,072 numbers hang together.
    objective: FlowConfig = FlowConfig(sigma=SigmaConfig(shift=3.0))
    optimizer: OptimizerConfig = OptimizerConfig(
        lr=1e-3, warmup_steps=100, schedule="cosine", ema_decay=0.999
    )
    loop: LoopConfig = LoopConfig(steps=8_000, checkpoint_every=500, keep_last=2, log_every=50)
    evaluate_every: int = 1000
    drawn: int = 960
    sampler_steps: int = 30
    sampler_shift: float = 3.0
    guidances: tuple[float, ...] = (1.0, 2.0)
    noises: tuple[int, ...] = (0, 20, 40, 80)


class ShapesPart:
    """A tiny transformer that learns to draw shapes.

    Attributes:
        name: Of the part.
        pictures: What it leaves besides its figures.
        config: Its settings.
    """

    name = "shapes"
    pictures: tuple[str, ...] = (GRID, REAL)

    def __init__(self, config: ShapesConfig) -> None:
        self.config = config
        self._codec: LatentCodec = make_codec(config.codec)
        self._texts: TextEncoder = make_text_encoder(config.text)

    @property
    def encoders(self) -> dict[str, Any]:
        return {"codec": dict(self._codec.identity()), "text": dict(self._texts.identity())}

    def run(self, folder: Path) -> Figures:
        """Train, then measure with the averaged weights and leave pictures of each prompt."""
        config = self.config
        known = shapes.draw(config.pictures, 2 * config.seed)
        unknown = shapes.draw(config.held_out, 2 * config.seed + 1)
        with seeded(config.seed):
            model = Dit(config.model, self._codec.channels, self._texts.width)
        objective = FlowObjective(config.objective, model)
        held_out = self.source(unknown, dropout=0.0)

        def evaluate(loop: Loop) -> None:
            if loop.step % config.evaluate_every == 0 and loop.step < config.loop.steps:
                assert loop.journal is not None
                with averaged(loop):
                    loss = self._loss(objective, held_out)
                loop.journal.write(loop.step, {_LOSS: loss})

        first_loss = self._loss(objective, held_out)
        loop = train(folder, objective, self.source(known), config.loop, config.optimizer, evaluate)
        with averaged(loop):
            last_loss = self._loss(objective, held_out)
            measured = self._measure(model, folder)
        lines = read_journal(folder)
        curve = [(line["step"], line[_LOSS]) for line in lines if _LOSS in line]
        as_pillow(_grid(unknown.pixels_NYX3[:48])).save(folder / REAL)
        return {
            "parameters": count_parameters(model),
            "encoders": {
                "codec": dict(self._codec.identity()),
                "text": dict(self._texts.identity()),
            },
            "held_out_loss": [(0, first_loss), *curve, (config.loop.steps, last_loss)],
            "processor_seconds": round(processor_seconds(folder)),
            "oracle": [self._oracle(unknown, noise) for noise in config.noises],
            "drawn": measured,
        }

    def source(self, pictures: shapes.Pictures, dropout: float | None = None) -> MemorySource:
        """Return batches of pictures, each with its domain."""
        config = self.config
        text_NTD, text_lens_N = pad(
            self._texts.encode([prompt.text for prompt in pictures.prompts], _CPU)
        )
        return MemorySource(
            self._codec.encode(torch.from_numpy(pictures.pixels_NYX3)),
            text_NTD,
            text_lens_N,
            self._texts.encode([""], _CPU)[0],
            batch=BatchConfig(size=config.batch),
            seed=config.seed,
            dropout=config.dropout if dropout is None else dropout,
            domains=[prompt.domain for prompt in pictures.prompts],
        )

    def draw(
        self, model: VelocityModel, wanted: Sequence[shapes.Prompt], guidance: float
    ) -> NDArray[np.uint8]:
        """Return a picture for each prompt; the same noise for the same number of prompts."""
        config = self.config
        edge = shapes.EDGE_PX // self._codec.stride
        with seeded(config.seed):
            noise = torch.randn(len(wanted), self._codec.channels, edge, edge)
        text_BTD, text_lens_B = pad(self._texts.encode([prompt.text for prompt in wanted], _CPU))
        latent = sample(
            model,
            noise,
            text_BTD,
            text_lens_B,
            self._texts.encode([""], _CPU)[0],
            levels=sigmas(config.sampler_steps, config.sampler_shift),
            guidance=guidance,
        )
        return np.asarray(self._codec.decode(latent).numpy(), np.uint8)

    @torch.no_grad()
    def _loss(self, objective: FlowObjective, source: MemorySource) -> float:
        """Return the loss of every held-out picture, each with the same draws at every call."""
        total, count = 0.0, 0
        for batch in source.batches(Cursor()):
            for micro in batch.micro:
                metric = objective.update(Phase("model"), micro).metrics["loss"]
                total += float(metric.total)
                count += int(metric.weight)
            if count >= self.config.held_out // self.config.batch * self.config.batch:
                break
        return total / count

    def _measure(self, model: Dit, folder: Path) -> list[dict[str, Any]]:
        config = self.config
        wanted = shapes.prompts(config.drawn)
        found = []
        for guidance in config.guidances:
            pixels = self.draw(model, wanted, guidance)
            reading = oracle.read(pixels)
            as_pillow(_grid(pixels[:48])).save(folder / GRID)
            found.append(
                {
                    "guidance": guidance,
                    "all": asdict(oracle.score(reading, wanted)),
                    "by_form": _by(reading, wanted, lambda prompt: prompt.form),
                    "by_color": _by(reading, wanted, lambda prompt: prompt.color),
                    "by_domain": _by(reading, wanted, lambda prompt: prompt.domain),
                }
            )
        return found

    def _oracle(self, pictures: shapes.Pictures, noise: int) -> dict[str, Any]:
        """Return what the oracle says of rendered pictures under noise."""
        rng = np.random.default_rng(self.config.seed)
        shown = pictures.pixels_NYX3 + rng.normal(0, noise, pictures.pixels_NYX3.shape)
        reading = oracle.read(np.rint(shown).clip(0, 255).astype(np.uint8))
        return {"noise": noise, **asdict(oracle.score(reading, pictures.prompts))}


def _by(
    reading: oracle.Reading,
    wanted: Sequence[shapes.Prompt],
    kind: Callable[[shapes.Prompt], str],
) -> dict[str, Any]:
    return {name: asdict(found) for name, found in oracle.score_by(reading, wanted, kind).items()}


def _grid(pixels_NYX3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures side by side, each pixel `_TIMES` wide and high."""
    return contact_sheet(pixels_NYX3.repeat(_TIMES, 1).repeat(_TIMES, 2))
