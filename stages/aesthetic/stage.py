"""The stage `aesthetic`: a score from 0 to 100."""

from collections.abc import Mapping
from typing import Literal, cast

import pyarrow as pa

from curation.config import Config
from curation.pipeline.stage import Shard, Stage
from schemas.aesthetic import AESTHETIC
from schemas.error_codes import row_error
from stages.aesthetic.scorers import SCORERS, Scorer


class AestheticConfig(Config):
    """How images are judged.

    Attributes:
        scorer: `heuristic`: measured statistics, without a model.
    """

    scorer: Literal["heuristic"] = "heuristic"


class AestheticStage(Stage[AestheticConfig]):
    """Write one score an image; what it is worth depends on the scorer, so read its docstring.

    A row in which a column that the scorer reads is null has no score and says which.
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
        self._scorer = cast(Scorer, self.backend())

    def reads(self) -> tuple[str, ...]:
        return self._scorer.reads

    def writes(self) -> pa.Schema:
        return AESTHETIC

    def process(self, shard: Shard) -> pa.Table:
        errors: list[str | None] = [None] * len(shard)
        for name in reversed(self.reads()):
            missing = shard.column(name).is_null().to_pylist()
            for position, is_missing in enumerate(missing):
                if is_missing:
                    errors[position] = row_error("missing_input", column=name)
        good = [position for position, error in enumerate(errors) if error is None]
        scores: list[float | None] = [None] * len(shard)
        found = self._scorer.score(shard.table.take(pa.array(good, pa.int64())))
        for position, score in zip(good, found.tolist(), strict=True):
            scores[position] = score
        return pa.Table.from_pydict({"score": scores, "error": errors}, schema=AESTHETIC)
