"""A stage that needs weights: a JSON file whose numbers it adds to what it reads."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.config import Config
from curation.errors import ConfigError
from curation.pipeline.stage import Finding, Shard, Stage
from curation.weights import WeightsReference, fetch
from schemas.columns import column, table
from schemas.error_codes import row_error


class WeighedConfig(Config):
    """Settings of `weighed`.

    Attributes:
        weights: A JSON list of numbers.
        scale: What they are multiplied by.
        package: A package that it cannot do without, and that is nowhere to be had.
        endpoint: A server that it would ask, and that does not answer.
    """

    weights: WeightsReference
    scale: int = 1
    package: str = ""
    endpoint: str = ""


class WeighedStage(Stage[WeighedConfig]):
    """Adds each weight to the mean: a vector whose length only the weights know."""

    name = "weighed"
    config_type = WeighedConfig

    def reads(self) -> tuple[str, ...]:
        """The mean."""
        return ("luma.mean",)

    def weights(self) -> Mapping[str, str]:
        """The list."""
        return {"numbers": self.config.weights}

    def learn(self) -> Mapping[str, Any]:
        """How long it is."""
        numbers = json.loads(fetch(self.config.weights).path.read_bytes())
        return {**super().learn(), "dimension": len(numbers)}

    def writes(self) -> pa.Schema:
        """The vector."""
        kind = pa.list_(pa.int32(), self.facts["dimension"])
        return table(
            "weighed",
            column("vector", kind, "Mean plus each number."),
            column("error", pa.string(), "Why there is no value."),
        )

    def check(self) -> None:
        """Refuse to work without the package."""
        if self.config.package:
            name = self.config.package
            message = f"{name} is not installed; run `pip install 'longtail[{name}]'`"
            raise ConfigError(message)

    def probe(self) -> Iterable[Finding]:
        """Nobody answers."""
        if self.config.endpoint:
            subject = f"endpoint {self.config.endpoint}"
            yield Finding(subject, False, "nothing answers", "start the server")

    def setup(self) -> None:
        """Read the list."""
        path: Path = self.weights_path("numbers")
        self.numbers = [number * self.config.scale for number in json.loads(path.read_bytes())]

    def process(self, shard: Shard) -> pa.Table:
        """Add."""
        means = shard.column("luma.mean").to_pylist()
        vectors = [None if m is None else [m + n for n in self.numbers] for m in means]
        missing = row_error("missing_input", column="luma.mean")
        mean = shard.column("luma.mean")
        errors = pc.if_else(pc.is_null(mean), missing, pa.scalar(None, pa.string()))
        kind = self.writes().field("vector").type
        return pa.table({"vector": pa.array(vectors, kind), "error": errors}).cast(
            pa.schema([("vector", kind), ("error", pa.string())])
        )
