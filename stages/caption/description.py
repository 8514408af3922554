"""The structured description of an image: what fields there are, and what makes one valid.

The fields follow what the ERNIE-Image report says of its captions: kind of image, subjects and
scene, visual style, named entities, text word for word, elements of an interface.

Source: ERNIE-Image Technical Report (arXiv 2605.25347), section 2.1; the fields and their wording
    are ours.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ImageType = Literal[
    "photograph",
    "illustration",
    "painting",
    "anime_or_comic",
    "3d_render",
    "poster_or_advertisement",
    "document",
    "slide",
    "diagram_or_chart",
    "map",
    "app_or_web_screenshot",
    "game_screenshot",
    "film_or_video_frame",
    "logo_or_icon",
    "texture_or_pattern",
    "collage",
    "other",
]

EntityKind = Literal[
    "person", "character", "landmark", "place", "brand", "product", "app", "work", "species"
]


def _at_most(**limits: int) -> Any:
    """Return a field with limits for a grammar; a longer text that was not held to them is fine."""
    return Field(json_schema_extra=dict(limits))


class _Part(BaseModel):
    """A part of a description; other fields than these are refused, and so are wrong types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Subject(_Part):
    """Something that the image shows in its own right."""

    name: str = _at_most(maxLength=200)
    count: int = _at_most(minimum=1, maximum=10_000)
    position: str = _at_most(maxLength=200)
    pose: str = _at_most(maxLength=400)
    appearance: str = _at_most(maxLength=1000)


class Scene(_Part):
    """Where and when it is, and how it is arranged."""

    environment: str = _at_most(maxLength=600)
    weather: str = _at_most(maxLength=200)
    time: str = _at_most(maxLength=200)
    layout: str = _at_most(maxLength=1000)


class Style(_Part):
    """How it looks as a picture."""

    composition: str = _at_most(maxLength=600)
    light: str = _at_most(maxLength=400)
    tone: str = _at_most(maxLength=400)
    sharpness: str = _at_most(maxLength=300)
    medium: str = _at_most(maxLength=300)


class Entity(_Part):
    """Somebody or something with a name of its own, recognised for certain."""

    kind: EntityKind
    name: str = _at_most(maxLength=200)


class WrittenText(_Part):
    """A piece of writing in the image, letter by letter, in its own language."""

    text: str = _at_most(maxLength=4000)
    position: str = _at_most(maxLength=200)
    look: str = _at_most(maxLength=300)


class InterfaceElement(_Part):
    """A control or area of a user interface."""

    kind: str = _at_most(maxLength=100)
    label: str = _at_most(maxLength=300)
    position: str = _at_most(maxLength=200)
    state: str = _at_most(maxLength=100)


class Description(_Part):
    """What an image shows, field by field; empty where there is nothing of a kind."""

    image_type: ImageType
    subjects: list[Subject] = _at_most(maxItems=40)
    scene: Scene
    style: Style
    entities: list[Entity] = _at_most(maxItems=40)
    texts: list[WrittenText] = _at_most(maxItems=120)
    interface: list[InterfaceElement] = _at_most(maxItems=120)
