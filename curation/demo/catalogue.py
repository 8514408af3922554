"""The categories of the demo corpus, from the most to the least frequent, and who paints them."""

from dataclasses import dataclass

from curation.demo.drawing.photographs import SCENIC
from curation.demo.scenes import (
    app,
    art,
    cartoon,
    chart,
    collage,
    curve,
    document,
    game,
    graphic,
    illustration,
    music,
    photo,
    plan_view,
    poster,
    screen,
    sign,
)
from curation.demo.scenes.job import Scene

Aspects = tuple[tuple[int, int], ...]

_ANY: Aspects = ((1, 1), (4, 3), (3, 2), (16, 9), (5, 4), (3, 4), (2, 3), (4, 5), (9, 16))
_WIDE: Aspects = ((4, 3), (3, 2), (16, 10), (16, 9), (16, 9), (21, 9))
_TALL: Aspects = ((2, 3), (3, 4), (4, 5), (5, 7), (9, 16), (1, 1))
_SQUARE: Aspects = ((1, 1),)

_ALL = (*SCENIC, "cameraman", "tissue", "coins")


@dataclass(frozen=True)
class Leaf:
    """One category.

    Attributes:
        path: Two levels, true for everything that the scenes paint: "photo/cat".
        scenes: Painters; each image draws one of them.
        aspects: Shapes that such pictures have, width to height.
        photographs: For scenes that show one photograph and little else: those that may be shown.
            The planner reserves a window for each image, so that two images share few pixels.
        named: Whether the category is called after what the photographs are of, so that windows
            have to show it.
        flipped: Whether windows may be mirrored; not where text or a face would give it away.
        alpha: Whether the scenes paint on transparent ground.
        template: Whether one layout with two contents gives pictures that a person would tell
            apart at once: only those make fair hard negatives.
        scale: Pixels relative to an average image.
    """

    path: str
    scenes: tuple[Scene, ...]
    aspects: Aspects = _ANY
    photographs: tuple[str, ...] = ()
    named: bool = False
    flipped: bool = False
    alpha: bool = False
    template: bool = False
    scale: float = 1.0

    @property
    def name(self) -> str:
        """The last level of the path."""
        return self.path.rpartition("/")[2]


def _photo(path: str, *photographs: str) -> Leaf:
    return Leaf(path, (photo.photo,), photographs=photographs, named=True)


def _lab(path: str, *photographs: str) -> Leaf:
    return Leaf(path, (photo.instrument,), photographs=photographs, flipped=True)


LEAVES: tuple[Leaf, ...] = (
    Leaf("collage/panels", (collage.panels,), template=True),
    Leaf("poster/event", (poster.event_poster,), _TALL),
    Leaf("screen/web_page", (screen.web_page,), _WIDE, template=True),
    Leaf("graphic/geometric", (graphic.geometric,)),
    Leaf("collage/prints", (collage.prints,)),
    Leaf("illustration/landscape", (illustration.landscape,)),
    Leaf("art/cut_outs", (art.cut_outs,)),
    Leaf("document/magazine", (document.magazine,), template=True),
    Leaf("art/double_exposure", (art.double_exposure,)),
    Leaf("screen/dashboard", (app.dashboard,), _WIDE, template=True),
    Leaf("poster/quote", (poster.quote_card,), template=True),
    Leaf("graphic/gradient", (graphic.gradient,)),
    Leaf("chart/bar", (chart.bars,), template=True),
    Leaf("illustration/city", (illustration.city,)),
    Leaf("collage/film_strip", (collage.film_strip,), template=True),
    Leaf("screen/slide", (poster.slide,), _WIDE),
    Leaf("art/glitch", (art.glitch,)),
    Leaf("graphic/pattern", (graphic.truchet, graphic.stripes)),
    _photo("photo/portrait", "astronaut", "hopper"),
    Leaf("chart/line", (chart.lines,), template=True),
    Leaf("cartoon/comic", (cartoon.comic,), template=True),
    Leaf("poster/book_cover", (poster.book_cover,)),
    Leaf("screen/code_editor", (screen.code_editor,), _WIDE),
    Leaf("art/kaleidoscope", (art.kaleidoscope,)),
    Leaf("graphic/fractal", (curve.fractal,)),
    Leaf("map/town", (plan_view.streets, plan_view.transit)),
    _photo("photo/architecture", "pagoda"),
    Leaf("document/letter", (document.letter,)),
    Leaf("chart/scatter", (chart.scatter,), template=True),
    Leaf("game/cards", (game.cards,), template=True),
    Leaf("screen/conversation", (app.conversation,), template=True),
    _photo("photo/flower", "dahlia"),
    Leaf("collage/gallery_wall", (collage.gallery_wall,), _WIDE, template=True),
    Leaf("map/relief", (plan_view.relief,)),
    Leaf("document/invoice", (document.invoice,), _TALL),
    _photo("photo/cat", "cat"),
    Leaf("illustration/planets", (illustration.planets,)),
    Leaf("screen/spreadsheet", (app.spreadsheet,), _WIDE, template=True),
    Leaf("art/printed", (art.halftone, art.engraving, art.typed), photographs=_ALL),
    Leaf("graphic/stained_glass", (graphic.cells,)),
    _photo("photo/motorcycle", "motorcycle"),
    Leaf("chart/heat_map", (chart.heat_map,), template=True),
    Leaf("icon/silhouette", (sign.icon,), _SQUARE, alpha=True, scale=0.3),
    Leaf("document/sheet_music", (music.sheet_music,), _TALL),
    _photo("photo/rocket", "rocket"),
    Leaf("cartoon/pixel_art", (cartoon.pixel_scene, cartoon.sprites), scale=0.6),
    Leaf("poster/film", (poster.film_poster,), _TALL, photographs=_ALL),
    Leaf("graphic/curves", (curve.rosette, curve.flow, curve.ripples)),
    _photo("photo/coffee", "coffee"),
    Leaf("screen/terminal", (screen.terminal,), _WIDE),
    Leaf("art/facets", (art.low_poly, art.mosaic), photographs=_ALL),
    _lab("science/medicine", "tissue", "retina"),
    Leaf("screen/telephone", (app.telephone,)),
    Leaf("diagram/graph", (plan_view.network, plan_view.flow_chart)),
    _photo("photo/cameraman", "cameraman"),
    Leaf("document/paper", (document.paper,), _TALL),
    Leaf("game/puzzle", (game.chess, game.maze, game.crossword)),
    Leaf("texture/stone", (photo.texture,), photographs=("brick", "gravel"), flipped=True),
    _lab("science/sky", "galaxies", "moon"),
    Leaf("chart/share", (chart.shares,)),
    _photo("photo/coins", "coins"),
    Leaf("photo/postcard", (photo.postcard,), ((3, 2), (4, 3), (2, 3)), photographs=_ALL),
    Leaf("icon/badge", (sign.badge,), _SQUARE, alpha=True, scale=0.3),
    Leaf("texture/grass", (photo.texture,), photographs=("grass",), flipped=True),
    Leaf("scan/digits", (sign.digits,)),
    Leaf("scan/text", (photo.scan,), _WIDE, photographs=("print", "script")),
)


BANDS = "graphic/pattern"
"""The category of pictures of bands, which can be painted in any shape."""


def shares(count: int) -> list[int]:
    """Return how many of `count` images each leaf gets, the most frequent leaf first.

    A Zipf-Mandelbrot law, `1 / (rank + 3) ** 1.8`: at 1,600 images the head has some 330 and the
    last leaves have 1 to 3. Whole numbers by largest remainders; while there is one for each leaf,
    no leaf stays empty.

    Source: Mandelbrot, "An informational theory of the statistical structure of language", 1953.
    """
    weights = [(rank + 3.0) ** -1.8 for rank in range(1, len(LEAVES) + 1)]
    exact = [count * weight / sum(weights) for weight in weights]
    numbers = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda rank: (numbers[rank] - exact[rank], rank))
    for rank in by_remainder[: count - sum(numbers)]:
        numbers[rank] += 1
    if count >= 4 * len(LEAVES):
        for rank, number in enumerate(numbers):
            if number == 0:
                numbers[rank] = 1
                numbers[0] -= 1
    return numbers
