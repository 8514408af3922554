"""What a scene is asked to paint."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from curation.demo.drawing.photographs import Shot


@dataclass(frozen=True)
class Job:
    """One picture to paint.

    Attributes:
        size: Width and height of the picture in pixels.
        layout: Draws the template: palette, arrangement, typefaces.
        content: Draws what fills the template: data, words, pictures.
        shot: The window that the planner reserved in a photograph, for scenes that show little
            else; None for all other scenes.
    """

    size: tuple[int, int]
    layout: Random
    content: Random
    shot: Shot | None = None

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.size[1]

    @property
    def window(self) -> Shot:
        """The reserved window of a scene that cannot do without one."""
        assert self.shot is not None, "this scene is planned with a window in a photograph"
        return self.shot


Scene = Callable[[Job], Image.Image]
