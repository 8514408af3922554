"""Stages that measure little, and one that does every bad thing a stage can do."""

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation.config import Config
from curation.errors import StorageError
from curation.pipeline.stage import FittedStage, RelationStage, Resources, Shard, Stage
from curation.pixels import PixelSpec
from schemas.columns import UUID, column, table
from schemas.error_codes import row_error
from tests.fakes import decode, faults, groups
from tests.fakes.weighed import WeighedStage

decode.install()
faults.install()
groups.install()

_ERROR = column("error", pa.string(), "Why there is no value.")


class LumaConfig(Config):
    """Settings of `luma`."""

    size_px: int = 16
    background: tuple[int, int, int] = (255, 255, 255)


class LumaStage(Stage[LumaConfig]):
    """The mean of all channels of a small view."""

    name = "luma"
    config_type = LumaConfig

    def reads(self) -> tuple[str, ...]:
        """Only pixels."""
        return ()

    def writes(self) -> pa.Schema:
        """The mean, and why there is none."""
        return table("luma", column("mean", pa.int32(), "Mean, in thousandths."), _ERROR)

    def pixels(self) -> PixelSpec:
        """A small view."""
        return PixelSpec(size_px=self.config.size_px, background=self.config.background)

    def process(self, shard: Shard) -> pa.Table:
        """Average each view."""
        means: list[int | None] = []
        errors: list[str | None] = []
        for view in shard.views():
            if isinstance(view, str):
                means.append(None)
                errors.append(view)
            else:
                means.append(int(view.pixels.mean() * 1000))
                errors.append(None)
        return pa.table({"mean": pa.array(means, pa.int32()), "error": pa.array(errors)}).cast(
            pa.schema([("mean", pa.int32()), ("error", pa.string())])
        )


class DoubleConfig(Config):
    """Settings of `double`."""

    factor: int = 2


class DoubleStage(Stage[DoubleConfig]):
    """Multiplies what `luma` wrote."""

    name = "double"
    config_type = DoubleConfig

    def reads(self) -> tuple[str, ...]:
        """The mean."""
        return ("luma.mean",)

    def writes(self) -> pa.Schema:
        """The product."""
        return table("double", column("value", pa.int32(), "Mean times factor."), _ERROR)

    def process(self, shard: Shard) -> pa.Table:
        """Multiply."""
        mean = shard.column("luma.mean")
        missing = row_error("missing_input", column="luma.mean")
        errors = pc.if_else(pc.is_null(mean), missing, pa.scalar(None, pa.string()))
        return pa.table({"value": pc.multiply(mean, self.config.factor), "error": errors}).cast(
            pa.schema([("value", pa.int32()), ("error", pa.string())])
        )


class BadConfig(Config):
    """Settings of `bad`.

    Attributes:
        what: What it does. `hang_in_company` hangs unless the row is alone, `setup` and what begins
            with it happens there, `refused` is what a full store says.
        key: To rows whose key contains this; empty for the whole shard, outside the row loop.
        shard: To this shard only; -1 for all.
        once: A file that it makes the first time; while it is there, nothing bad happens.
    """

    what: Literal[
        "nothing",
        "segfault",
        "hang",
        "hang_in_company",
        "eat_memory",
        "exit",
        "raise",
        "kill_parent",
        "drop_row",
        "nan",
        "wrong_type",
        "refused",
        "sigkill",
        "sigterm",
        "setup",
        "setup_exit",
        "setup_hang",
        "setup_memory",
    ] = "nothing"
    key: str = ""
    shard: int = -1
    once: str = ""
    reads_luma: bool = False


class BadStage(Stage[BadConfig]):
    """Does what stages must not do, where it is told to."""

    name = "bad"
    config_type = BadConfig

    def reads(self) -> tuple[str, ...]:
        """The key, to choose victims by."""
        return (
            ("images.source_key", "luma.mean") if self.config.reads_luma else ("images.source_key",)
        )

    def writes(self) -> pa.Schema:
        """The length of the key."""
        return table("bad", column("length", pa.float32(), "Length of the key."), _ERROR)

    def setup(self) -> None:
        """Fail, if that is what it is told to."""
        what = self.config.what
        if what == "setup":
            message = "told to"
            raise ValueError(message)
        if what == "setup_exit":
            os._exit(3)
        if what == "setup_hang":
            time.sleep(3600)
        if what == "setup_memory":
            bytearray(1 << 45)

    def process(self, shard: Shard) -> pa.Table:
        """Measure keys, until the chosen row or shard comes."""
        config = self.config
        keys = shard.column("images.source_key").to_pylist()
        here = config.shard in (-1, shard.number) and not self._is_over()
        if here and not config.key:
            self._misbehave(len(keys))
        values = []
        for position in shard.rows():
            if here and config.key and config.key in keys[position]:
                self._misbehave(len(keys))
            values.append(float(len(keys[position])))
        if here and config.what == "nan" and values:
            values[0] = float("nan")
        if here and config.what == "drop_row":
            values = values[1:]
        kind = pa.float64() if here and config.what == "wrong_type" else pa.float32()
        nothing = pa.nulls(len(values), pa.string())
        return pa.table({"length": pa.array(values, kind), "error": nothing})

    def _is_over(self) -> bool:
        if not self.config.once:
            return False
        if Path(self.config.once).exists():
            return True
        Path(self.config.once).touch()
        return False

    def _misbehave(self, num_rows: int) -> None:
        what = self.config.what
        if what == "segfault":
            ctypes.string_at(0)
        elif what == "hang" or (what == "hang_in_company" and num_rows > 1):
            time.sleep(3600)
        elif what == "eat_memory":
            bytearray(1 << 45)
        elif what == "exit":
            os._exit(3)
        elif what == "raise":
            message = "told to"
            raise ValueError(message)
        elif what == "refused":
            message = "no space is left; free some"
            raise StorageError(message)
        elif what == "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        elif what == "kill_parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)


class EchoStage(Stage[Config]):
    """Repeats what `bad` wrote, so that there is somebody to wait for it."""

    name = "echo"
    config_type = Config

    def reads(self) -> tuple[str, ...]:
        """The length."""
        return ("bad.length",)

    def writes(self) -> pa.Schema:
        """The length again."""
        return table("echo", column("length", pa.float32(), "Length of the key."), _ERROR)

    def process(self, shard: Shard) -> pa.Table:
        """Repeat."""
        length = shard.column("bad.length")
        missing = row_error("missing_input", column="bad.length")
        errors = pc.if_else(pc.is_null(length), missing, pa.scalar(None, pa.string()))
        return pa.table({"length": length, "error": errors})


class SlowConfig(Config):
    """Settings of `slow`."""

    seconds: float = 0.05


class SlowStage(Stage[SlowConfig]):
    """Takes its time over every row, so that a test can kill something meanwhile."""

    name = "slow"
    config_type = SlowConfig

    def reads(self) -> tuple[str, ...]:
        """The key."""
        return ("images.source_key",)

    def writes(self) -> pa.Schema:
        """The length of the key."""
        return table("slow", column("length", pa.int32(), "Length of the key."), _ERROR)

    def process(self, shard: Shard) -> pa.Table:
        """Sleep, then measure."""
        keys = shard.column("images.source_key").to_pylist()
        lengths = []
        for position in shard.rows():
            time.sleep(self.config.seconds)
            lengths.append(len(keys[position]))
        nothing = pa.nulls(len(lengths), pa.string())
        return pa.table({"length": pa.array(lengths, pa.int32()), "error": nothing})


class MiddleConfig(Config):
    """Settings of `middle`."""

    sample_rows: int = 1000
    seed: int = 0


class MiddleStage(FittedStage[MiddleConfig]):
    """Says whether an image is brighter than the median of the fitted sample."""

    name = "middle"
    config_type = MiddleConfig

    def reads(self) -> tuple[str, ...]:
        """The mean."""
        return ("luma.mean",)

    def fit_reads(self) -> tuple[str, ...]:
        """The mean."""
        return ("luma.mean",)

    def fit_sample(self) -> tuple[int, int]:
        """All, for small tests."""
        return self.config.sample_rows, self.config.seed

    def fit(self, sample: pa.Table) -> Mapping[str, bytes]:
        """Keep the median."""
        values = sorted(sample["luma.mean"].to_pylist())
        return {"median.json": json.dumps(values[len(values) // 2]).encode()}

    def writes(self) -> pa.Schema:
        """The side."""
        return table("middle", column("above", pa.bool_(), "Above the median."), _ERROR)

    def setup(self) -> None:
        """Read the median."""
        if self.artifact is not None:
            self.median = json.loads(self.artifact["median.json"])

    def process(self, shard: Shard) -> pa.Table:
        """Compare."""
        mean = shard.column("luma.mean")
        missing = row_error("missing_input", column="luma.mean")
        errors = pc.if_else(pc.is_null(mean), missing, pa.scalar(None, pa.string()))
        return pa.table({"above": pc.greater(mean, self.median), "error": errors}).cast(
            pa.schema([("above", pa.bool_()), ("error", pa.string())])
        )


class TwinsStage(RelationStage[Config]):
    """Groups rows of equal content."""

    name = "twins"
    config_type = Config

    def reads(self) -> tuple[str, ...]:
        """The content's hash."""
        return ("images.content_sha256",)

    def writes(self) -> pa.Schema:
        """The group."""
        field = column("group", UUID, "Smallest id of the group.", logical="uuid")
        return table("twins", field, _ERROR)

    def edge_schema(self) -> pa.Schema:
        """A pair."""
        return pa.schema([("a", UUID), ("b", UUID)])

    def edges(self, left: pa.Table, right: pa.Table | None) -> pa.Table:
        """Link every two rows of equal content."""
        other = left if right is None else right
        pairs = [
            (a["image_id"], b["image_id"])
            for a in left.to_pylist()
            for b in other.to_pylist()
            if a["images.content_sha256"] == b["images.content_sha256"]
            and a["image_id"] != b["image_id"]
        ]
        return pa.table([[a for a, _ in pairs], [b for _, b in pairs]], schema=self.edge_schema())

    def groups(
        self, rows: pa.Table, edges: Iterable[pa.Table]
    ) -> tuple[pa.Table, Mapping[str, Any]]:
        """Take the smallest id that a row is linked to."""
        smallest = {i: i for i in rows["image_id"].to_pylist()}
        num_edges = 0
        for part in edges:
            num_edges += len(part)
            for pair in part.to_pylist():
                low = min(pair["a"], pair["b"])
                for side in ("a", "b"):
                    smallest[pair[side]] = min(smallest[pair[side]], low)
        groups = [smallest[i] for i in rows["image_id"].to_pylist()]
        nothing = pa.nulls(len(rows), pa.string())
        return pa.table({"group": pa.array(groups, UUID), "error": nothing}), {"edges": num_edges}


class GreedyStage(TwinsStage):
    """As `twins`, with more memory than there is."""

    name = "greedy"

    def groups(
        self, rows: pa.Table, edges: Iterable[pa.Table]
    ) -> tuple[pa.Table, Mapping[str, Any]]:
        """Ask for it."""
        bytearray(1 << 45)
        return super().groups(rows, edges)


class EngineConfig(BadConfig):
    """Settings of `engine`.

    Attributes:
        company: Shards that must be in hand at once before anything is done; 0 for no such wish.
        met: A file that says that they have met, after which nobody waits for company.
        setups: A file that gets a line whenever the stage is set up.
        pause_s: What a shard takes at least.
    """

    company: int = 0
    met: str = ""
    setups: str = ""
    pause_s: float = 0.0


class EngineStage(BadStage):
    """As `bad`, with three shards in hand at once."""

    name = "engine"
    config_type = EngineConfig
    config: EngineConfig
    resources: ClassVar = Resources(own_pool=True, shards_in_flight=3)

    def writes(self) -> pa.Schema:
        """The length of the key."""
        return table("engine", column("length", pa.float32(), "Length of the key."), _ERROR)

    def setup(self) -> None:
        """Leave a trace, and be ready for company."""
        super().setup()
        if self.config.setups:
            with Path(self.config.setups).open("a") as file:
                file.write("set up\n")
        self._company = threading.Barrier(max(self.config.company, 1))

    def process(self, shard: Shard) -> pa.Table:
        """Wait for company, then do as `bad`."""
        if self.config.company and not Path(self.config.met).exists():
            self._company.wait(30)  # raises where nobody comes
            Path(self.config.met).touch()
        time.sleep(self.config.pause_s)
        return super().process(shard)


class ShyStage(SlowStage):
    """As `slow`, in a pool of its own, and not made for several threads: it raises there."""

    name = "shy"
    resources: ClassVar = Resources(own_pool=True)

    def writes(self) -> pa.Schema:
        """The length of the key."""
        return table("shy", column("length", pa.int32(), "Length of the key."), _ERROR)

    def setup(self) -> None:
        """Nobody is here."""
        self._is_busy = False

    def process(self, shard: Shard) -> pa.Table:
        """Raise where another thread is here."""
        assert not self._is_busy
        self._is_busy = True
        try:
            return super().process(shard)
        finally:
            self._is_busy = False


class GlowConfig(LumaConfig):
    """Settings of `glow`.

    Attributes:
        trace: A folder in which each set-up leaves a file with the GPUs that it sees.
        pause_s: What a slice takes at least; neither is meaning.
    """

    trace: str = Field(default="", exclude=True)
    pause_s: float = Field(default=0.0, exclude=True)


class GlowStage(LumaStage):
    """As `luma`, on a quarter of a GPU, where the CPU pool makes the views."""

    name = "glow"
    config_type = GlowConfig
    config: GlowConfig
    resources: ClassVar = Resources(cpus=0.25, gpus=0.25, own_pool=True)

    def writes(self) -> pa.Schema:
        """The mean, and why there is none."""
        return table("glow", column("mean", pa.int32(), "Mean, in thousandths."), _ERROR)

    def pixels(self) -> PixelSpec:
        """A small view of fixed size."""
        return super().pixels().model_copy(update={"fit": "squash"})

    def setup(self) -> None:
        """Say which GPUs there are."""
        if self.config.trace:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
            (Path(self.config.trace) / str(os.getpid())).write_text(
                f"{self.execution.device} {seen}"
            )

    def process(self, shard: Shard) -> pa.Table:
        """Take its time, then average."""
        time.sleep(self.config.pause_s)
        return super().process(shard)


class HeavyStage(DoubleStage):
    """As `double`, in a pool of its own."""

    name = "heavy"
    resources: ClassVar = Resources(own_pool=True)

    def writes(self) -> pa.Schema:
        """The product."""
        return table("heavy", column("value", pa.int32(), "Mean times factor."), _ERROR)


STAGES: dict[str, type[Stage[Any]]] = {
    stage.name: stage
    for stage in (
        LumaStage,
        DoubleStage,
        BadStage,
        EchoStage,
        SlowStage,
        MiddleStage,
        TwinsStage,
        GreedyStage,
        EngineStage,
        ShyStage,
        GlowStage,
        HeavyStage,
        WeighedStage,
    )
}
"""The registry that tests give to plans and runners."""
