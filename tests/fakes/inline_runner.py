"""A runner without processes: tasks are done where the run is driven, one after the other."""

import time
from collections.abc import Callable, Sequence

from curation.pipeline.dispatch import Dispatch
from curation.pipeline.execute import Executor
from curation.pipeline.progress import Progress
from curation.pipeline.runner import Feed, Pool
from curation.pipeline.tasks import WorkerSpec


class InlineRunner:
    """Runs stages that do not crash; see `curation.pipeline.runner.Runner`."""

    def check(self, pools: Sequence[Pool]) -> None:
        """Take any pools."""

    def run(
        self,
        spec: WorkerSpec,
        pools: Sequence[Pool],
        dispatch: Dispatch,
        feed: Feed | None,
        on_tick: Callable[[], None],
    ) -> None:
        """Work until `dispatch` is idle and `feed` is done."""
        progress = Progress.create()
        executor = Executor(spec, progress)
        while True:
            for new in feed.poll() if feed is not None else []:
                dispatch.add(new)
            on_tick()
            handed = [dispatch.next("inline", pool.name, alone=True) for pool in pools]
            for task in handed:
                if task is not None:
                    dispatch.finished(task.key, executor.run(task, {}), "inline")
            if not any(handed):
                if dispatch.is_idle and (feed is None or feed.is_done):
                    break
                if feed is not None and not feed.is_done:
                    feed.wait(0.01)
                else:
                    time.sleep(0.01)
        progress.close()

    def close(self) -> None:
        """Nothing runs."""
