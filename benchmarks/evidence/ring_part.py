"""Evidence from the ring: does the trainer learn a distribution, and its density?"""

from pathlib import Path
from typing import Any

import torch

from benchmarks.evidence import ring
from benchmarks.evidence.charts import scatter
from benchmarks.evidence.density import log_likelihood
from benchmarks.evidence.parts import Figures
from benchmarks.evidence.runs import averaged, processor_seconds, seeded, train
from curation.config import Config
from training.data.memory import MemorySource
from training.data.plan import BatchConfig
from training.loop import LoopConfig
from training.objectives.flow import FlowConfig, FlowObjective, SigmaConfig
from training.optimizers import OptimizerConfig
from training.quality import sliced_wasserstein
from training.sampler import sample, sigmas

SAMPLES = "samples.png"


class RingConfig(Config):
    """The training and the measurement of one seed.

    Attributes:
        seed: Of the data, the first weights, the order and the draws.
        points: Points that are trained on.
        batch: Points of a step.
        dropout: Share of points that are shown without their class.
        loop: How long.
        optimizer: How.
        objective: What is minimised.
        sampler_steps: Euler steps of a sample.
        ode_steps: Heun steps of a likelihood.
        samples: Points of each cloud that is compared, and whose likelihood is taken.
        clouds: Clouds of data that the samples are compared with; and pairs of them make the floor.
        directions: Of the sliced Wasserstein distance.
    """

    seed: int
    points: int = 65_536
    batch: int = 512
    dropout: float = 0.1
    loop: LoopConfig = LoopConfig(steps=6000, checkpoint_every=1000, keep_last=1, log_every=100)
    optimizer: OptimizerConfig = OptimizerConfig(
        lr=3e-3, warmup_steps=100, schedule="cosine", ema_decay=0.999
    )
    # Modes are narrow, so that low levels count: logit-normal levels leave them too flat.
    objective: FlowConfig = FlowConfig(sigma=SigmaConfig(law="uniform"))
    sampler_steps: int = 50
    ode_steps: int = 100
    samples: int = 8000
    clouds: int = 4
    directions: int = 256


class RingPart:
    """One seed of the ring.

    Attributes:
        name: Of the part.
        pictures: What it leaves besides its figures.
        config: Its settings.
    """

    pictures: tuple[str, ...] = (SAMPLES,)

    def __init__(self, config: RingConfig) -> None:
        self.name = f"ring-{config.seed}"
        self.config = config

    @property
    def encoders(self) -> dict[str, Any]:
        return {}

    def run(self, folder: Path) -> Figures:
        """Train, measure with the averaged weights, and leave a picture of samples over data."""
        config = self.config
        with seeded(config.seed):
            model = ring.RingModel()
        loop = train(
            folder,
            FlowObjective(config.objective, model),
            self._source(),
            config.loop,
            config.optimizer,
        )
        with averaged(loop):
            found = self._measure(model, folder)
        return {**found, "processor_seconds": round(processor_seconds(folder))}

    def _source(self) -> MemorySource:
        config = self.config
        data = ring.draw(config.points, config.seed)
        return MemorySource(
            data.latent_NCHW,
            ring.texts_NTD(data.class_N),
            torch.ones(len(data), dtype=torch.long),
            ring.NULL_1D,
            batch=BatchConfig(size=config.batch),
            seed=config.seed,
            dropout=config.dropout,
        )

    def _measure(self, model: ring.RingModel, folder: Path) -> Figures:
        config = self.config
        count = config.samples
        first = 1000 * (config.seed + 1)  # of the seeds of data that was never trained on
        clouds = [ring.draw(count, first + number) for number in range(2 * config.clouds)]
        with seeded(first):
            noise = torch.randn(count, 2, 1, 1)
        shown = clouds[0]
        drawn = sample(
            model,
            noise,
            ring.texts_NTD(shown.class_N),
            torch.ones(count, dtype=torch.long),
            ring.NULL_1D,
            levels=sigmas(config.sampler_steps, shift=1.0),
        )
        points = ring.Points(drawn.flatten(1), shown.class_N)
        likelihood = log_likelihood(
            model,
            shown.latent_NCHW,
            ring.texts_NTD(shown.class_N),
            torch.ones(count, dtype=torch.long),
            steps=config.ode_steps,
        )
        scatter(folder / SAMPLES, shown, points)
        half = config.clouds
        return {
            "distance": self._distance([(points, cloud) for cloud in clouds[:half]]),
            "floor": self._distance(list(zip(clouds[:half], clouds[half:], strict=True))),
            "nll": -float(likelihood.mean()),
            "nll_true": -float(ring.true_log_likelihood(shown).mean()),
            "validity": ring.validity(points),
            "validity_true": ring.validity(shown),
            "deviation": ring.within_deviation(points),
            "deviation_true": ring.within_deviation(shown),
        }

    def _distance(self, pairs: list[tuple[ring.Points, ring.Points]]) -> float:
        """Return the mean distance of pairs of clouds."""
        found = [
            sliced_wasserstein(one.at_N2, other.at_N2, num_directions=self.config.directions)
            for one, other in pairs
        ]
        return sum(found) / len(found)
