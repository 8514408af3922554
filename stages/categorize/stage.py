"""The stage `categorize`: vectors in, category paths out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.pipeline.stage import FittedStage, Shard
from curation.weights import local_weights
from schemas.categorize import CATEGORIZE, CATEGORIZE_SCORED
from schemas.error_codes import row_error
from stages.categorize.categorizer import (
    CategorizeConfig,
    Categorizer,
    FittedCategorizer,
    FittedConfig,
    Leaf,
)
from stages.categorize.categorizers import CATEGORIZERS
from stages.categorize.columns import NAME_COLUMNS, VECTOR, vectors_of, words_of_rows


class CategorizeStage(FittedStage[CategorizeConfig]):
    """The category of every image that has a vector: found on a sample, or given from outside."""

    name = "categorize"
    config_type = CategorizeConfig
    backend_key = "categorizer"
    backends = CATEGORIZERS
    default_backend = "clusters"

    def __init__(
        self, config: CategorizeConfig, artifact: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(config, artifact)
        self._categorizer = cast(Categorizer, self.backend(config))
        self._leaves: Sequence[Leaf] = ()

    def reads(self) -> tuple[str, ...]:
        return (VECTOR,)

    def writes(self) -> pa.Schema:
        return CATEGORIZE_SCORED if self._categorizer.is_scored else CATEGORIZE

    def weights(self) -> Mapping[str, str]:
        return self._categorizer.weights()

    def digests(self) -> Mapping[str, str]:
        return self._categorizer.digests()

    def learn(self) -> Mapping[str, Any]:
        facts = super().learn()
        paths = {
            role: local_weights(reference, facts["weights"][role])
            for role, reference in self.weights().items()
        }
        return {**facts, **self._categorizer.learn(paths)}

    def check(self) -> None:
        self._categorizer.check(self)

    def needs_fit(self) -> bool:
        return isinstance(self._categorizer, FittedCategorizer)

    def fit_reads(self) -> tuple[str, ...]:
        return (VECTOR, *self.fit_optional())

    def fit_optional(self) -> tuple[str, ...]:
        sources = self.config.names_from if isinstance(self.config, FittedConfig) else ()
        return tuple(NAME_COLUMNS[source] for source in dict.fromkeys(sources))

    def fit_ignores(self) -> frozenset[str]:
        if not isinstance(self._categorizer, FittedCategorizer):
            return frozenset()
        return self._categorizer.fit_ignores

    def fit_with(self) -> str | None:
        assert isinstance(self._categorizer, FittedCategorizer), "`needs_fit` says so"
        return self._categorizer.fits_with

    def fit_sample(self) -> tuple[int, int]:
        if isinstance(self.config, FittedConfig):
            return self.config.sample_rows, self.config.seed
        return 1, 0  # the contract wants a row, though nothing looks at it

    def fit(self, sample: pa.Table) -> Mapping[str, bytes]:
        assert len(sample), "the contract promises a row"
        assert isinstance(self._categorizer, FittedCategorizer), "`needs_fit` says so"
        self._categorizer.prepare(self)
        return self._categorizer.fit(
            vectors_of(sample[VECTOR]), words_of_rows(sample, self.fit_optional())
        )

    def setup(self) -> None:
        self._leaves = self._categorizer.setup(self)

    def process(self, shard: Shard) -> pa.Table:
        column = shard.column(VECTOR)
        known = column.is_valid().to_numpy()
        found = self._categorizer.assign(vectors_of(column.drop_null()))
        leaves = _spread(found.leaves, known)
        error = row_error("missing_input", column=VECTOR)
        values = {
            "path": pa.array([leaf.path for leaf in self._leaves], pa.string()).take(leaves),
            "name": pa.array([leaf.name for leaf in self._leaves], pa.string()).take(leaves),
            "leaf": leaves,
            "distance": _spread(found.distances, known),
            "error": pa.array([None if there else error for there in known], pa.string()),
        }
        if self._categorizer.is_scored:
            assert found.scores is not None, "the contract promises them"
            assert found.margins is not None, "the contract promises them"
            values["score"] = _spread(found.scores, known)
            values["margin"] = _spread(found.margins, known)
        schema = self.writes()
        return pa.table([values[name] for name in schema.names], schema=schema)


def _spread(values: NDArray[Any], known: NDArray[np.bool_]) -> pa.Array:
    """Return `values`, one for each known row, with nulls in the other rows."""
    whole = np.zeros(len(known), values.dtype)
    whole[known] = values
    return pa.array(whole, mask=~known)
