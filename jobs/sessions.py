"""From a pipeline file to a session and a runner: what the command line and the Ray jobs share."""

import uuid
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from curation.config import read_text
from curation.dataset import Dataset
from curation.errors import ResourceError
from curation.pipeline.config import PipelineConfig, parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.plan import Plan
from curation.pipeline.runner import Runner
from curation.pipeline.session import Session
from curation.pipeline.summary import RunSummary
from curation.pipeline.watch import Event
from curation.storage import Store
from stages.registry import STAGES


def read_pipeline(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read and check a pipeline file, but for what its stages need."""
    return parse_pipeline(read_text(path), str(path), overrides)


def open_session(path: Path, overrides: Sequence[str] = ()) -> Session:
    """Read and check a pipeline file."""
    text = read_text(path)
    config = parse_pipeline(text, str(path), overrides)
    return Session(config, config.to_yaml() if overrides else text, STAGES)


def plan_pipeline(path: Path, overrides: Sequence[str] = ()) -> tuple[Plan, bool]:
    """Say what a run would do now; the source is not listed, and nothing is written.

    Returns:
        The plan, and whether there is a dataset; where there is none yet, the plan is that of an
        empty one.
    """
    session = open_session(path, overrides)
    url = session.config.dataset
    if not Store(url).names(""):
        url = f"memory://{uuid.uuid4().hex}"
        return session.plan(Dataset.open_or_create(url)), False
    return session.plan(Dataset.open(url)), True


def curate(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    runner: str = "ray",
    workers: int | None = None,
    retry_quarantined: bool = False,
    retry_transient: bool = False,
    address: str | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> RunSummary:
    """Run a pipeline file; see `Session.run`."""
    session = open_session(path, overrides)
    return session.run(
        runner_factory(runner, session.config, address),
        runner_name=runner,
        workers=workers,
        retry_quarantined=retry_quarantined,
        retry_transient=retry_transient,
        on_event=on_event,
    )


def runner_factory(
    runner: str, config: PipelineConfig, address: str | None = None
) -> Callable[[], Runner]:
    """Return what makes the runner; Ray is imported only when it is called.

    The one for Ray raises `ResourceError` where Ray is not installed.
    """
    if runner == "local":
        return LocalRunner

    def make() -> Runner:
        if find_spec("ray") is None:
            message = (
                "Ray is not installed here; run `pip install 'longtail[ray]'`, or go without it on "
                "this machine alone: --runner local"
            )
            raise ResourceError(message)
        from jobs.ray_runner import RayRunner

        run = config.run
        return RayRunner(address, start_timeout_s=run.start_timeout_s, max_nodes=run.max_nodes)

    return make
