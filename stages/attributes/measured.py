"""The questions that measured statistics can answer."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.attributes.prober import AttributesConfig, Prober

Knots = Sequence[tuple[float, float]]

# Input -> response between 0 and 1, interpolated between the knots.
PLAIN_FRAME: Knots = ((1, 1.0), (9, 0.8), (36, 0.3), (100, 0.0))
"""Of `inspect.border_variance`: JPEG leaves a level or two in a plain frame."""
SOMETHING_INSIDE: Knots = ((4, 0.0), (12, 1.0))
"""Of `inspect.contrast`: a picture of one colour has no border, it has nothing else."""
BLURRED: Knots = ((10, 1.0), (40, 0.6), (150, 0.0))
"""Of `inspect.sharpness`."""
TINY: Knots = ((96, 1.0), (192, 0.7), (384, 0.0))
"""Of the shorter edge in pixels."""
CLIPPED: Knots = ((0.3, 0.0), (0.6, 0.6), (0.9, 1.0))
"""Of the share of pixels that are black or white."""
FLAT: Knots = ((6, 1.0), (15, 0.5), (25, 0.0))
"""Of `inspect.contrast`."""


class MeasuredConfig(AttributesConfig):
    """Questions that measured statistics can answer: `border` and `low_quality`."""

    prober: Literal["measured"] = "measured"


class MeasuredProber(Prober):
    """What `inspect` measured, read as answers; no model, and no probabilities.

    `border`: the outermost 1/32 of the picture is of one luma, and the rest is not. `low_quality`:
    the worst of four faults, blurred, tiny, clipped, without contrast. A fog is low in contrast and
    a drawing on white is clipped; both are called poor here, and a portrait before a plain wall may
    be called framed. Watermarks, logos, nudity and what a model made cannot be measured so: that
    takes `zero_shot`, or a classifier.

    Source: the knots are ours, set by hand; the measurements have theirs in `stages.inspect`.
    """

    version = 1
    config_type = MeasuredConfig
    reads: ClassVar[tuple[str, ...]] = (
        "inspect.width",
        "inspect.height",
        "inspect.dark_share",
        "inspect.bright_share",
        "inspect.contrast",
        "inspect.sharpness",
        "inspect.border_variance",
    )

    def __init__(self, config: MeasuredConfig) -> None:
        self._config = config

    def questions(self) -> Mapping[str, str]:
        return {
            "border": "How far a plain frame surrounds something that is not plain; measured, no "
            "probability.",
            "low_quality": "The worst of four faults: blurred, tiny, clipped, without contrast; "
            "measured, no probability.",
        }

    def answer(self, table: pa.Table) -> NDArray[np.float32]:
        column = {name.partition(".")[2]: _numbers(table[name]) for name in self.reads}
        contrast = column["contrast"]
        clipped = column["dark_share"] + column["bright_share"]
        border = _response(column["border_variance"], PLAIN_FRAME)
        faults = [
            _response(column["sharpness"], BLURRED),
            _response(np.minimum(column["width"], column["height"]), TINY),
            _response(clipped, CLIPPED),
            _response(contrast, FLAT),
        ]
        answers = [border * _response(contrast, SOMETHING_INSIDE), np.max(faults, axis=0)]
        return np.stack(answers, axis=1).astype(np.float32)


def _response(values: NDArray[np.float64], knots: Knots) -> NDArray[np.float64]:
    return np.interp(values, [x for x, _ in knots], [y for _, y in knots])


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)
