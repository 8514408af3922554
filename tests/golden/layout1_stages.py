"""The stages of the checked-in dataset. They stay as they are, as long as layout 1 is read."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.config import Config
from curation.pipeline.stage import FittedStage, RelationStage, Shard, Stage
from schemas.columns import UUID, column, table
from schemas.error_codes import row_error

_ERROR = column("error", pa.string(), "Why there is no value.")


class SizeConfig(Config):
    """Settings of `size`."""

    unit_bytes: int = 8


class SizeStage(Stage[SizeConfig]):
    """Files measured in units, in the types that a column can have."""

    name = "size"
    config_type = SizeConfig

    def reads(self) -> tuple[str, ...]:
        """The size and the name."""
        return ("images.num_bytes", "images.source_key")

    def writes(self) -> pa.Schema:
        """A number, a fraction, a list and a vector."""
        return table(
            "size",
            column("units", pa.int32(), "Whole units."),
            column("fraction", pa.float32(), "What is left of a unit.", unit="0..1", version=2),
            column("words", pa.list_(pa.string()), "Parts of the key."),
            column("vector", pa.list_(pa.float32(), 2), "Units and fraction."),
            column("large", pa.bool_(), "More than five units."),
            _ERROR,
        )

    def process(self, shard: Shard) -> pa.Table:
        """Divide."""
        rows: list[dict[str, Any]] = []
        keys = shard.column("images.source_key").to_pylist()
        for key, size in zip(keys, shard.column("images.num_bytes").to_pylist(), strict=True):
            if size is None:
                rows.append({"error": row_error("missing_input", column="images.num_bytes")})
                continue
            units, rest = divmod(size, self.config.unit_bytes)
            fraction = rest / self.config.unit_bytes
            words = key.replace(".", "/").split("/")
            vector = [float(units), fraction]
            row = {"units": units, "fraction": fraction, "words": words, "vector": vector}
            rows.append({**row, "large": units > 5})
        plain = pa.schema([(f.name, f.type) for f in self.writes()])
        return pa.Table.from_pylist(rows, schema=plain)


class RankConfig(Config):
    """Settings of `rank`."""

    sample_rows: int = 4


class RankStage(FittedStage[RankConfig]):
    """Compares with the largest of the fitted sample."""

    name = "rank"
    config_type = RankConfig

    def reads(self) -> tuple[str, ...]:
        """The units."""
        return ("size.units",)

    def fit_reads(self) -> tuple[str, ...]:
        """The units."""
        return ("size.units",)

    def fit_sample(self) -> tuple[int, int]:
        """A few rows."""
        return self.config.sample_rows, 7

    def fit(self, sample: pa.Table) -> Mapping[str, bytes]:
        """Keep the largest."""
        return {"largest.txt": str(pc.max(sample["size.units"]).as_py()).encode()}

    def writes(self) -> pa.Schema:
        """The difference."""
        return table("rank", column("below", pa.int32(), "Units below the largest."), _ERROR)

    def setup(self) -> None:
        """Read the largest."""
        if self.artifact is not None:
            self.largest = int(self.artifact["largest.txt"])

    def process(self, shard: Shard) -> pa.Table:
        """Subtract."""
        units = shard.column("size.units")
        missing = row_error("missing_input", column="size.units")
        errors = pc.if_else(pc.is_null(units), missing, pa.scalar(None, pa.string()))
        below = pc.subtract(pa.scalar(self.largest, pa.int32()), units)
        return pa.table({"below": below, "error": errors})


class PickyStage(Stage[Config]):
    """Fails at the second shard."""

    name = "picky"
    config_type = Config

    def reads(self) -> tuple[str, ...]:
        """The units."""
        return ("size.units",)

    def writes(self) -> pa.Schema:
        """Only whether something went wrong."""
        return table("picky", _ERROR)

    def process(self, shard: Shard) -> pa.Table:
        """Fail, or find nothing."""
        if shard.number == 1:
            message = "not this one"
            raise ValueError(message)
        return pa.table({"error": pa.nulls(len(shard), pa.string())})


class TwinsStage(RelationStage[Config]):
    """Groups rows of equal content."""

    name = "twins"
    config_type = Config

    def reads(self) -> tuple[str, ...]:
        """The content's hash."""
        return ("images.content_sha256",)

    def writes(self) -> pa.Schema:
        """The group."""
        return table("twins", column("group", UUID, "Smallest id of the group.", logical="uuid"))

    def edge_schema(self) -> pa.Schema:
        """A pair."""
        return pa.schema([("a", UUID), ("b", UUID)])

    def edges(self, left: pa.Table, right: pa.Table | None) -> pa.Table:
        """Link rows of equal content, the smaller id first."""
        found = {
            tuple(sorted((a["image_id"], b["image_id"])))
            for a in left.to_pylist()
            for b in (left if right is None else right).to_pylist()
            if a["images.content_sha256"] is not None
            and a["images.content_sha256"] == b["images.content_sha256"]
            and a["image_id"] != b["image_id"]
        }
        pairs = sorted(found)
        columns = [[a for a, _ in pairs], [b for _, b in pairs]]
        return pa.table(columns, schema=self.edge_schema())

    def groups(
        self, rows: pa.Table, edges: Iterable[pa.Table]
    ) -> tuple[pa.Table, Mapping[str, Any]]:
        """Take the smallest id that a row is linked to."""
        smallest = {i: i for i in rows["image_id"].to_pylist()}
        for part in edges:
            for pair in part.to_pylist():
                smallest[pair["b"]] = min(smallest[pair["b"]], pair["a"])
        groups = [smallest[i] for i in rows["image_id"].to_pylist()]
        facts = {"groups": len(set(groups))}
        return pa.table({"group": pa.array(groups, UUID)}), facts


LAYOUT1_STAGES: dict[str, type[Stage[Any]]] = {
    stage.name: stage for stage in (SizeStage, RankStage, PickyStage, TwinsStage)
}
