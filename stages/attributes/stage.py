"""The stage `attributes`: yes or no questions about every image."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curation.pipeline.stage import FittedStage, Shard
from curation.weights import local_weights
from schemas.attributes import attributes_table
from schemas.error_codes import row_error
from stages.attributes.prober import AttributesConfig, Prober
from stages.attributes.probers import PROBERS


class AttributesStage(FittedStage[AttributesConfig]):
    """A number from 0, no, to 1, yes, for each question; what it is worth depends on the prober.

    The columns are called as the questions are, so that a snapshot's predicate reads
    `attributes_watermark < 0.5`. There is no column of yes and no: where to draw the line is the
    snapshot's business, and moving it computes nothing again.
    """

    name = "attributes"
    config_type = AttributesConfig
    backend_key = "prober"
    backends = PROBERS
    default_backend = "measured"

    def __init__(
        self, config: AttributesConfig, artifact: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(config, artifact)
        self._prober = cast(Prober, self.backend(config))

    def reads(self) -> tuple[str, ...]:
        return self._prober.reads

    def writes(self) -> pa.Schema:
        return attributes_table(self._prober.questions())

    def weights(self) -> Mapping[str, str]:
        return self._prober.weights()

    def learn(self) -> Mapping[str, Any]:
        facts = super().learn()
        paths = {
            role: local_weights(reference, facts["weights"][role])
            for role, reference in self.weights().items()
        }
        return {**facts, **self._prober.learn(paths)}

    def check(self) -> None:
        self._prober.check(self)

    def needs_fit(self) -> bool:
        return self._prober.is_fitted

    def fit_reads(self) -> tuple[str, ...]:
        return self._prober.reads

    def fit_sample(self) -> tuple[int, int]:
        return 1, 0  # the contract wants a row, though nothing looks at it

    def fit_ignores(self) -> frozenset[str]:
        return self._prober.fit_ignores

    def fit_with(self) -> str | None:
        return self._prober.fits_with

    def fit(self, sample: pa.Table) -> Mapping[str, bytes]:
        return self._prober.fit(self)

    def setup(self) -> None:
        self._prober.setup(self)

    def process(self, shard: Shard) -> pa.Table:
        errors: list[str | None] = [None] * len(shard)
        for name in reversed(self.reads()):
            missing = shard.column(name).is_null().to_pylist()
            for position, is_missing in enumerate(missing):
                if is_missing:
                    errors[position] = row_error("missing_input", column=name)
        good = np.array([error is None for error in errors], bool)
        answers = self._prober.answer(shard.table.filter(pa.array(good)))
        schema = self.writes()
        columns = []
        for number in range(len(schema) - 1):
            values = np.zeros(len(shard), np.float32)
            values[good] = answers[:, number]
            columns.append(pa.array(values, mask=~good))
        return pa.table([*columns, pa.array(errors, pa.string())], schema=schema)
