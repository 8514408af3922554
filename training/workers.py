"""How many processes train together, and what each of them holds."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from curation.config import Config
from curation.pipeline.config import NodeLimit


class WorkersConfig(Config):
    """The processes that train together; never part of a run's meaning.

    All but `timeout_s` are for `--ray`: torchrun has options of its own.

    Attributes:
        count: Processes.
        least: Go on with so few where nodes were lost; null for never fewer than `count`.
        gpus: GPUs of each: 1, or 0 to compute on its cores.
        cpus: Cores of each, as Ray counts.
        resources: Custom resources of each, name -> amount.
        placement: `PACK` puts them on few nodes, `SPREAD` on many.
        restarts: Failures without a new checkpoint between them after which a run is given up.
        start_timeout_s: Time that they may take to start; null for 60 s, or 900 s where an
            autoscaler can add nodes.
        max_nodes: Node type -> how many nodes of it the autoscaler may have, as a number or with
            their size (`{count: 8, cpus: 64, gpus: 8}`), which a type needs that starts at zero.
        timeout_s: Time that a process waits for the others before it gives the run up.
    """

    count: int = Field(default=1, ge=1)
    least: int | None = Field(default=None, ge=1)
    gpus: Literal[0, 1] = 1
    cpus: float = Field(default=1.0, gt=0)
    resources: dict[str, Annotated[float, Field(gt=0)]] = {}
    placement: Literal["PACK", "SPREAD"] = "PACK"
    restarts: int = Field(default=3, ge=0)
    start_timeout_s: float | None = Field(default=None, gt=0)
    max_nodes: dict[str, NodeLimit] = {}
    timeout_s: float = Field(default=1800.0, gt=0)

    @model_validator(mode="after")
    def _least_of_count(self) -> "WorkersConfig":
        if self.least is not None and self.least > self.count:
            message = f"workers.least is {self.least}, more than workers.count {self.count}"
            raise ValueError(message)
        return self

    @property
    def fewest(self) -> int:
        """The smallest number of processes that may go on."""
        return self.count if self.least is None else self.least
