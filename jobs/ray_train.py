"""A training run under Ray Train, which starts its processes and says when one is gone.

Checkpoints, figures and resuming stay the trainer's own, as under torchrun; nothing is reported to
Ray Train, which therefore stores nothing.
"""

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import ray
from ray.train.torch import TorchConfig
from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from curation.errors import LongtailError, ResourceError
from jobs.connect import connect
from jobs.restarts import GroupLostError, keep_going
from jobs.train_failures import explain
from jobs.train_rooms import admit_training, most_workers, needs
from jobs.train_worker import LOOK_S, DeskActor, work
from training.checkpoint import Checkpoints
from training.launch import CPU_BACKEND, GPU_BACKEND
from training.progress import Hear
from training.recipe import Recipe
from training.stopping import StopSignals, stop_signals


class RayTraining:
    """One run on a cluster, from its newest checkpoint to its end.

    Args:
        recipe: With the snapshot's id, and with places that mean the same everywhere.
        checkpoints: Those of the run.
        hear: Told figures as they come.
        say: Told what happens to the machines.
    """

    def __init__(
        self, recipe: Recipe, checkpoints: Checkpoints, hear: Hear, say: Callable[[str], None]
    ) -> None:
        self._recipe = recipe
        self._config = recipe.workers
        self._checkpoints = checkpoints
        self._hear = hear
        self._say = say
        self._has_begun = False
        self._start_timeout_s = 60.0

    def run(self, address: str | None) -> tuple[int, int]:
        """Train; return the last step and the exit code.

        Raises:
            UsageError: The cluster cannot hold the processes, or they find another dataset or
                output than this machine does.
            TrainingLostError: The processes were lost again and again.
            TrainingStoppedError: A loss was no number, or rose out of all proportion.
        """
        owns_ray = not ray.is_initialized() and connect(address, shows_logs=False)
        store, marker = self._checkpoints.store, f".tmp-{uuid.uuid4().hex}"
        try:
            may_grow = admit_training(self._config, ray.nodes())
            self._start_timeout_s = self._config.start_timeout_s or (900.0 if may_grow else 60.0)
            store.put(marker, b"")
            # After Ray is connected: that takes SIGTERM for itself.
            with stop_signals(at_once=_interrupt) as stop:
                stopped_at = keep_going(
                    self._config,
                    lambda size: self._attempt(size, marker, stop),
                    newest=self._newest,
                    room=self._room,
                    say=self._say,
                )
            if stopped_at is None:
                return self._recipe.loop.steps, 0
            return stopped_at, stop.exit_code
        finally:
            if owns_ray:
                ray.shutdown()
            if store.exists(marker):
                store.delete(marker)

    def _newest(self) -> int | None:
        steps = self._checkpoints.steps()
        return steps[-1] if steps else None

    # Machines ----------------------------------------------------------------------------------

    def _room(self, only_alive: bool) -> int:
        """Wait until all processes fit again, or as long as they may take to start."""
        limits = {} if only_alive else self._config.max_nodes
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            fits = most_workers(self._config, ray.nodes(), limits)
            if fits >= self._config.count or time.monotonic() > deadline:
                return fits
            time.sleep(LOOK_S)

    # One group ---------------------------------------------------------------------------------

    def _attempt(self, size: int, marker: str, stop: StopSignals) -> int | None:
        """Train with `size` processes; return the step after which a signal stopped them."""
        if stop():
            return self._newest() or 0
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk = DeskActor.options(scheduling_strategy=here).remote()
        try:
            with tempfile.TemporaryDirectory(prefix="longtail-train-") as folder:
                trainer = self._trainer(size, folder, {"desk": desk, "marker": marker})
                fitting = _Fitting(trainer, self._start_timeout_s)
                while not fitting.wait(LOOK_S):
                    self._pass_on(desk, stop)
                self._pass_on(desk, stop)
        finally:
            ray.kill(desk)  # a group that still trains takes this as the request to stop
        if fitting.error is None:
            return fitting.stopped_at
        raise self._explained(fitting.error) from fitting.error

    def _trainer(self, size: int, folder: str, told: Mapping[str, Any]) -> TorchTrainer:
        config = self._config
        resources = {"CPU": config.cpus, **config.resources}
        if config.gpus:
            resources["GPU"] = config.gpus
        return TorchTrainer(
            work,
            train_loop_config={"recipe": self._recipe, **told},
            torch_config=TorchConfig(
                backend=GPU_BACKEND if config.gpus else CPU_BACKEND,
                timeout_s=max(1, round(config.timeout_s)),
            ),
            scaling_config=ScalingConfig(
                num_workers=size,
                use_gpu=bool(config.gpus),
                resources_per_worker=resources,
                placement_strategy=config.placement,
            ),
            run_config=RunConfig(
                name=self._recipe.name,
                storage_path=folder,  # it insists on one; without reports it stays empty
                failure_config=FailureConfig(
                    max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                ),
                logging_config=LoggingConfig(log_level="CRITICAL"),  # we say it in a sentence
            ),
        )

    def _pass_on(self, desk: Any, stop: StopSignals) -> None:
        lines: list[tuple[int, dict[str, float]]] = ray.get(desk.look.remote(stop()))
        for step, figures in lines:
            self._has_begun = True
            self._hear(step, figures)

    def _explained(self, error: TrainingFailedError) -> LongtailError:
        """Return what a failure means; say what nobody else would show."""
        meant = explain(error)
        if isinstance(meant, GroupLostError):
            if meant.details:
                self._say(meant.details)
            if meant.is_late and not self._has_begun:
                message = (
                    f"{self._config.count} worker(s) with {needs(self._config)} each: {meant}; "
                    f"waited {self._start_timeout_s:g} s; free resources or raise "
                    "workers.start_timeout_s"
                )
                return ResourceError(message)
        self._has_begun = True
        return meant


class _Fitting:
    """Ray Train at work in a thread, so that the main one hears signals.

    Args:
        trainer: What is to be fitted.
        start_timeout_s: Time that its processes may take to start.

    Attributes:
        error: Why it ended early.
        stopped_at: The step after which it was stopped; null at the run's end.
    """

    def __init__(self, trainer: TorchTrainer, start_timeout_s: float) -> None:
        self.error: TrainingFailedError | None = None
        self.stopped_at: int | None = None
        self._trainer = trainer
        self._other: BaseException | None = None
        # Ray Train has no other way to be told.
        os.environ[WORKER_GROUP_START_TIMEOUT_S_ENV_VAR] = f"{start_timeout_s:g}"
        self._thread = threading.Thread(target=self._fit, name="ray train", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end at most so long; say whether it has come."""
        self._thread.join(timeout_s)
        if self._other is not None:
            raise self._other
        return not self._thread.is_alive()

    def _fit(self) -> None:
        try:
            result: Any = self._trainer.fit()
            self.stopped_at = result.return_value
        except TrainingFailedError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            self._other = error


def _interrupt(code: int) -> NoReturn:
    """End the driver at once; its processes end with it."""
    raise KeyboardInterrupt(code)
