"""The stage `aesthetic`: a score from 0 to 100."""

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import pyarrow as pa

from curation.errors import ConfigError
from curation.pipeline.stage import Finding, Shard, Stage
from curation.pixels import PixelSpec
from schemas.aesthetic import AESTHETIC, AESTHETIC_CASCADE
from schemas.error_codes import row_error
from stages.aesthetic.cascade import INSIDE, Band
from stages.aesthetic.scorer import AestheticConfig, ColumnScorer, Image, ImageScorer, Scorer
from stages.aesthetic.scorers import SCORERS

_SCORE_BEFORE = "aesthetic.score"

Outcome = float | str | None
"""A score, the error of a row, or nothing yet."""


class AestheticStage(Stage[AestheticConfig]):
    """Write one score an image; what it is worth depends on the scorer, so read its docstring.

    A row in which a column that the scorer reads is null has no score and says which. A scorer that
    is asked `after` another one writes `band` too; `stages.aesthetic.cascade` says what for.
    """

    name = "aesthetic"
    config_type = AestheticConfig
    backend_key = "scorer"
    backends = SCORERS
    default_backend = "heuristic"

    def __init__(
        self, config: AestheticConfig, artifact: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(config, artifact)
        self._scorer = cast(Scorer, self.backend(config))
        self._after = cast(Band | None, getattr(config, "after", None))

    def reads(self) -> tuple[str, ...]:
        before = () if self._after is None else (_SCORE_BEFORE,)
        return (*self._scorer.reads, *before)

    def writes(self) -> pa.Schema:
        return AESTHETIC if self._after is None else AESTHETIC_CASCADE

    def pixels(self) -> PixelSpec | None:
        return self._scorer.pixels() if isinstance(self._scorer, ImageScorer) else None

    def digests(self) -> Mapping[str, str]:
        return self._scorer.digests()

    def weights(self) -> Mapping[str, str]:
        return self._scorer.weights()

    def check(self) -> None:
        before = self.upstream.get("aesthetic")
        if before is not None and "band" in before.writes().names:
            message = (
                "after: the instance before is a cascade itself and leaves out scores; name the "
                "one that scores every image under `inputs`"
            )
            raise ConfigError(message)
        self._scorer.check(self)

    def probe(self) -> Iterable[Finding]:
        return self._scorer.probe(self)

    def setup(self) -> None:
        self._scorer.setup(self)

    def process(self, shard: Shard) -> pa.Table:
        outcomes = _missing_inputs(shard, self.reads())
        bands = self._bands(shard, outcomes)
        asked = [
            outcome is None and band in (INSIDE, None)
            for outcome, band in zip(outcomes, bands, strict=True)
        ]
        if isinstance(self._scorer, ImageScorer):
            _look(self._scorer, shard, asked, outcomes)
        else:
            _calculate(cast(ColumnScorer, self._scorer), shard, asked, outcomes)
        columns = {
            "score": [outcome if isinstance(outcome, float) else None for outcome in outcomes],
            "error": [outcome if isinstance(outcome, str) else None for outcome in outcomes],
        }
        if self._after is not None:
            columns["band"] = [
                None if isinstance(outcome, str) else band
                for outcome, band in zip(outcomes, bands, strict=True)
            ]
        return pa.Table.from_pydict(columns, schema=self.writes())

    def _bands(self, shard: Shard, outcomes: list[Outcome]) -> list[str | None]:
        """Return where the score before lies; null for bad rows, and without a cascade."""
        if self._after is None:
            return [None] * len(shard)
        scores = shard.column(_SCORE_BEFORE).to_pylist()
        return [
            self._after.place(score) if outcome is None else None
            for score, outcome in zip(scores, outcomes, strict=True)
        ]


def _missing_inputs(shard: Shard, names: tuple[str, ...]) -> list[Outcome]:
    outcomes: list[Outcome] = [None] * len(shard)
    for name in reversed(names):
        missing = shard.column(name).is_null().to_pylist()
        for position, is_missing in enumerate(missing):
            if is_missing:
                outcomes[position] = row_error("missing_input", column=name)
    return outcomes


def _calculate(
    scorer: ColumnScorer, shard: Shard, asked: list[bool], outcomes: list[Outcome]
) -> None:
    """Let a scorer judge the rows that it is asked about by their columns."""
    positions = [position for position, is_asked in enumerate(asked) if is_asked]
    found = scorer.score(shard.table.take(pa.array(positions, pa.int64())))
    for position, score in zip(positions, found.tolist(), strict=True):
        outcomes[position] = _outcome(score)


def _look(scorer: ImageScorer, shard: Shard, asked: list[bool], outcomes: list[Outcome]) -> None:
    """Show a scorer the images that it is asked about, and no other, in batches."""
    waiting: list[int] = []
    images: list[Image] = []

    def score_waiting() -> None:
        found = scorer.score(images) if images else []
        for position, score in zip(waiting, found, strict=True):
            outcomes[position] = _outcome(score)
        waiting.clear()
        images.clear()

    for position, view in enumerate(shard.views()):
        if isinstance(view, str):
            # An image that cannot be seen has no score, whatever was thought of it before.
            outcomes[position] = view
        elif asked[position]:
            waiting.append(position)
            images.append(view.pixels)
            if len(images) == scorer.batch_size:
                score_waiting()
    score_waiting()


def _outcome(score: float | str) -> Outcome:
    if isinstance(score, float) and not np.isfinite(score):
        return row_error("nonfinite", column="score")
    return score
