"""The embedded captioner: sentences filled with what other stages found."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.pixels import PixelSpec
from stages.caption import wording
from stages.caption.captioner import Caption, CaptionConfig, Captioner, Outcome, at_once
from stages.caption.colors import main_colors

Variant = Literal["tags", "short", "long"]


class TemplateConfig(CaptionConfig):
    """Sentences filled with what other stages found.

    Attributes:
        variants: What to write: `tags`, words and names in a row; `short`, one sentence; `long`,
            everything that is known.
        category: Say the names of the image's category; needs a `categorize` stage.
        ocr: Quote the text in the image; needs an `ocr` stage.
        max_pixels: Width times height above which a file is refused as a bomb; where it is what
            `inspect` has, both share one view of every image.
    """

    captioner: Literal["template"] = "template"
    variants: tuple[Variant, ...] = Field(default=("tags", "short", "long"), min_length=1)
    category: bool = True
    ocr: bool = False
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)


class TemplateCaptioner(Captioner):
    """The embedded captioner: fills sentences with facts, and sees nothing but main colours.

    It names the category that the image's cluster got from its neighbours' paths and texts, which
    may be wrong for the image, and quotes the alt text and the text in the image. It stands in for
    a captioning model, to try a pipeline out; a model trained on it learns the templates.
    """

    version = 1
    config_type = TemplateConfig

    def __init__(self, config: TemplateConfig) -> None:
        self._config = config

    def reads(self) -> tuple[str, ...]:
        measured = ("width", "height", "mean_luma", "contrast", "colorfulness")
        return (*(f"inspect.{name}" for name in measured), *self.optional())

    def optional(self) -> tuple[str, ...]:
        found = ["images.alt_text"]
        if self._config.category:
            found.append("categorize.name")
        if self._config.ocr:
            found.append("ocr.text")
        return tuple(found)

    def pixels(self) -> PixelSpec:
        # The view that `inspect` asks for by default: sixty thousand pixels tell the colours.
        return PixelSpec(
            size_px=256, fit="inside", filter="linear", max_pixels=self._config.max_pixels
        )

    def start(self, pixels: NDArray[np.uint8], facts: Mapping[str, Any]) -> Future[Outcome]:
        size = (facts["inspect.width"], facts["inspect.height"])
        picture = _Picture(
            shape=wording.orientation(*size),
            aspect=wording.aspect(*size),
            light=wording.light(
                *(facts[f"inspect.{name}"] for name in ("mean_luma", "contrast", "colorfulness"))
            ),
            colors=main_colors(pixels),
            categories=category_words(facts.get("categorize.name")),
            alt_text=wording.quoted(facts["images.alt_text"]),
            text=wording.quoted(facts.get("ocr.text")),
        )
        write = {"tags": picture.tags, "short": picture.short, "long": picture.long}
        captions = [Caption(variant, "en", write[variant]()) for variant in self._config.variants]
        return at_once(Outcome("ok", tuple(captions)))


def category_words(name: str | None) -> list[str]:
    """Return the names along a category, from the leaf up; parts such as `c003` are none."""
    parts = [
        " ".join(word for word in part.split() if word.isalpha())
        for part in reversed((name or "").split("/"))
    ]
    return list(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True)
class _Picture:
    """What is to be said of one image; empty where nothing is known."""

    shape: str
    aspect: str
    light: list[str]
    colors: list[str]
    categories: list[str]
    alt_text: str
    text: str

    def tags(self) -> str:
        words = [*self.categories, *self.colors, *self.light, self.shape]
        if self.text:
            words.append(f"text {self.text}")
        return ", ".join(dict.fromkeys(words))

    def short(self) -> str:
        subject = f" of {self.categories[0]}" if self.categories else ""
        reading = f", with the text {self.text}" if self.text else ""
        kind = " ".join([*self.light[:1], self.shape])
        return f"A {kind} picture{subject} in {wording.listed(self.colors)}{reading}."

    def long(self) -> str:
        kind = " ".join([", ".join(self.light), self.shape]).strip()
        sentences = [f"A {kind} picture in the proportions {self.aspect}."]
        if self.categories:
            sentences.append(f"It belongs to the category {', '.join(reversed(self.categories))}.")
        many = len(self.colors) > 1
        colors = wording.listed(self.colors)
        sentences.append(f"Its main color{'s are' if many else ' is'} {colors}.")
        if self.alt_text:
            sentences.append(f"Its source describes it as {self.alt_text}.")
        if self.text:
            sentences.append(f"The text in it reads {self.text}.")
        return " ".join(sentences)
