"""Which of an image's captions a visit is shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from curation.config import Config
from training.draws import SampleKey, draw_uniform


class CaptionConfig(Config):
    """Which captions are trained on.

    Attributes:
        variants: Kind of caption -> how often it is drawn beside the others, for an image that has
            them all; an image that lacks some draws among those that it has.
        languages: Languages that are used; null for all. Captions of one kind in several of them
            are drawn evenly.
        dropout: Share of visits that are shown no text, for guidance without a classifier.
        without: What becomes of images that have no such caption: `refuse` the snapshot, or train
            them `unconditional`, without text.
    """

    variants: dict[str, float] = Field(
        default={"short": 1.0, "medium": 1.0, "long": 1.0}, min_length=1
    )
    languages: tuple[str, ...] | None = None
    dropout: float = Field(default=0.1, ge=0, lt=1)
    without: str = Field(default="refuse", pattern="refuse|unconditional")

    @field_validator("variants")
    @classmethod
    def _positive(cls, variants: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, weight in variants.items() if weight <= 0]:
            message = f"{wrong[0]}: expected a number above 0"
            raise ValueError(message)
        return variants


class CaptionDraw:
    """Draws captions; a pure function of the configuration, the captions and the visit.

    Args:
        config: What is wanted.
        seed: Of the draws.
    """

    def __init__(self, config: CaptionConfig, seed: int) -> None:
        self._config = config
        self._seed = seed

    def usable(self, captions: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
        """Return kind -> texts of an image that may be drawn, in the snapshot's order."""
        languages = self._config.languages
        found: dict[str, list[str]] = {}
        for caption in captions:
            known = caption["variant"] in self._config.variants
            if known and (languages is None or caption["language"] in languages):
                found.setdefault(caption["variant"], []).append(caption["text"])
        return found

    def draw(self, usable: Mapping[str, Sequence[str]], key: SampleKey) -> str:
        """Return the text that a visit is shown; empty where it is dropped, or there is none."""
        if not usable or draw_uniform(self._seed, key, "dropout") < self._config.dropout:
            return ""
        weights = {n: w for n, w in self._config.variants.items() if n in usable}
        left = draw_uniform(self._seed, key, "caption") * sum(weights.values())
        for name, weight in weights.items():
            if left < weight:
                texts = usable[name]
                return texts[min(int(left / weight * len(texts)), len(texts) - 1)]
            left -= weight
        return usable[name][-1]  # rounding
