"""From a pipeline file to a runner."""

import pytest

from curation.errors import ResourceError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from jobs import sessions

CONFIG = parse_pipeline("name: a\ndataset: data\n", "a.yaml")


def test_ray_that_is_not_installed_is_said_when_it_is_needed(monkeypatch):
    """The light core plans, asks and runs by itself without it."""
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    make = sessions.runner_factory("ray", CONFIG)

    with pytest.raises(ResourceError, match=r"pip install 'longtail\[ray\]'.*--runner local"):
        make()
    assert sessions.runner_factory("local", CONFIG) is LocalRunner


def test_the_ray_runner_is_made_where_there_is_ray():
    """Nothing is started by making it."""
    from jobs.ray_runner import RayRunner

    assert isinstance(sessions.runner_factory("ray", CONFIG)(), RayRunner)
